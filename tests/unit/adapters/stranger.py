"""Functions that other processes can import."""

from __future__ import annotations

import os
import time
from typing import Any


def lengths(texts: list[str]) -> list[list[float]]:
    """Scores that depend on the text alone."""
    return [[float(len(text)), float(text.count("a"))] for text in texts]


def tensors(texts: list[str]) -> Any:
    import torch  # slow to import, and wanted here alone

    return torch.tensor(lengths(texts), requires_grad=True)


def whose(texts: list[str]) -> list[float]:
    """The process that answers."""
    time.sleep(0.05)
    return [float(os.getpid())] * len(texts)


def failing(texts: list[str]) -> list[float]:
    if any("fail" in text for text in texts):
        raise ZeroDivisionError("no such luck")
    return [1.0] * len(texts)


class Odd(Exception):
    """An error that cannot be built again from its words."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def odd(texts: list[str]) -> list[float]:
    raise Odd(1, 2)


def ending(texts: list[str]) -> list[float]:
    if any("end" in text for text in texts):
        os._exit(7)
    return [1.0] * len(texts)


def too_many(texts: list[str]) -> list[float]:
    return [1.0] * (len(texts) + 1)


def sleeping(texts: list[str]) -> list[float]:
    time.sleep(60)
    return [1.0] * len(texts)


class Missing:
    """What cannot be read where it arrives."""

    def __call__(self, texts: list[str]) -> list[float]:
        return [1.0] * len(texts)

    def __reduce__(self):
        return (_never, ())


def _never() -> None:
    raise LookupError("not here")
