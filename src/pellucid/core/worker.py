"""What a worker process runs: a function that scores, one batch after another. Imports nothing large."""

from __future__ import annotations

import pickle  # noqa: TID251 - between our own processes, over a pipe that nobody else writes to
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

READY = "ready"


@dataclass(frozen=True, slots=True)
class Failed:
    """What a function raised: the error where it can be sent, else nothing; its words; and where it happened."""

    error: Exception | None
    said: str
    where: str


def serve(link: Connection, written: bytes) -> None:
    """Answer batches until the other end is closed.

    written  the function, pickled; it is read here so that a failure can be told
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us
    try:
        score = pickle.loads(written)  # noqa: S301 - written by the process that started this one
    except Exception as error:  # noqa: BLE001 - whatever a stranger's module raises when it is imported
        link.send(failed(error))
        return
    link.send(READY)
    while True:
        try:
            batch = link.recv()
        except (EOFError, OSError):
            return
        try:
            link.send(plainly(score(batch)))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's model raises; it is sent home
            link.send(failed(error))


def plainly(scores: Any) -> Any:
    """Scores as they can be sent: tensors as arrays on the CPU, other things as they are."""
    return scores.detach().cpu().numpy() if hasattr(scores, "detach") else scores


def failed(error: Exception) -> Failed:
    """An error to be sent: itself, if it comes back as it was."""
    said, where = f"{type(error).__name__}: {error}", traceback.format_exc()
    try:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - written a moment ago
    except Exception:  # noqa: BLE001 - an error that cannot be written, or read
        return Failed(None, said, where)
    return Failed(error if str(again) == str(error) else None, said, where)
