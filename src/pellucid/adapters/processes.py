"""A function that scores, in several processes at once: for models that hold Python's lock."""

from __future__ import annotations

import pickle  # noqa: TID251 - written here, read by our own workers
import sys
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing import get_context
from threading import Lock
from typing import Any

from pellucid.core.errors import InputError, ParameterError, PellucidError, UnsupportedModel
from pellucid.core.worker import READY, Failed, serve

SECONDS = 5.0
"""A worker that was told to end and has not ended by then is killed."""
GUARD = 'keep what runs at once behind `if __name__ == "__main__":`'
Work = tuple[Any, Any]
"""A process and the pipe to it."""


class Workers:
    """Processes that hold a copy of a function each. They start with the first batch and end with `close`.

    They are spawned, never forked: a fork copies the locks of threads that it does not copy, and stops at them.
    """

    def __init__(self, score: Callable[[Any], Any], count: int) -> None:
        """Raises ParameterError for a count below 1, UnsupportedModel for a function that cannot be sent."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ParameterError(f"processes={count!r}", "a whole number of processes, 1 or more")
        self.count = count
        self._written = written(score)
        self._works: list[Work] = []
        self._lock = Lock()
        weakref.finalize(self, _end, self._works)

    def __call__(self, batches: Sequence[Any]) -> list[Any]:
        """The scores of every batch, in order; at most as many batches as there are processes.

        An error of the function is raised here as it was raised there; the workers stay. They end on anything else,
        Ctrl-C among it, and start again when asked again.
        """
        with self._lock:
            try:
                self._start()
                answers = self._asked(batches)
            except BaseException:
                self._stop(0.0)
                raise
        for answer in answers:
            if isinstance(answer, Failed):
                raise _raised(answer)
        return answers

    def close(self) -> None:
        """End the processes; they start again when asked again."""
        with self._lock:
            self._stop(SECONDS)

    def _asked(self, batches: Sequence[Any]) -> list[Any]:
        busy = list(zip(self._works, batches, strict=False))
        for (process, link), batch in busy:
            try:
                link.send(batch)
            except OSError as error:
                raise _gone(process) from error
        return [_heard(process, link) for (process, link), _ in busy]

    def _start(self) -> None:
        if self._works:
            return
        spawn = get_context("spawn")
        for place in range(self.count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(
                target=serve, args=(theirs, self._written), name=f"pellucid-{place + 1}", daemon=True
            )
            process.start()
            theirs.close()
            self._works.append((process, ours))
        for process, link in self._works:
            answer = _heard(process, link)
            if isinstance(answer, Failed):
                got = f"a function that worker processes cannot load: {answer.said}"
                raise UnsupportedModel(got, "one that stands in a module", GUARD)
            if answer != READY:
                raise UnsupportedModel(f"a worker process began with {answer!r}", READY)

    def _stop(self, seconds: float) -> None:
        _end(self._works, seconds)


def written(score: Callable[[Any], Any]) -> bytes:
    """The function as it can be sent to another process. Raises UnsupportedModel, with advice, where it cannot be."""
    try:
        made = pickle.dumps(score)
    except Exception as error:  # whatever a stranger's __reduce__ raises
        raise UnsupportedModel(
            f"a function that cannot be sent to other processes: {error}",
            "one that can be pickled: defined in a module by `def`, or a method of an object that can be pickled",
            "processes=1, or put it into a module; lambdas and functions inside of functions stay where they are",
        ) from error
    main = sys.modules.get("__main__")
    if b"__main__" in made and getattr(main, "__file__", None) is None and getattr(main, "__spec__", None) is None:
        raise UnsupportedModel(
            "a function of a notebook or prompt, which other processes cannot see",
            "one that is imported from a module",
            "write it to a file beside the notebook and import it from there, or processes=1",
        )
    return made


def alone(processes: int, what: str) -> ParameterError:
    """The refusal of several processes for a model that uses all cores in one."""
    wanted = "processes=1: torch uses all cores by itself"
    return ParameterError(f"processes={processes!r} for {what}", wanted, "processes are for what only scores")


def parts(count: int, many: int) -> list[slice]:
    """Rows 0 … count − 1 in at most `many` runs whose lengths differ by one at most; none is empty."""
    runs = min(many, count)
    ends = [count * i // runs for i in range(runs + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _heard(process: Any, link: Any) -> Any:
    try:
        link.poll(None)  # Ctrl-C ends a poll; a read goes on where a library, as polars, has its signals restart calls
        return link.recv()
    except (EOFError, OSError) as error:
        raise _gone(process) from error


def _gone(process: Any) -> PellucidError:
    process.join(SECONDS)
    return InputError(
        f"a worker process ended with code {process.exitcode}",
        "workers that stay; those killed for want of memory end with −9",
        f"fewer processes; in a script, {GUARD}",
    )


def _raised(answer: Failed) -> Exception:
    """The error of a worker, with what was said there as its cause."""
    made = answer.error or UnsupportedModel(f"the model failed in a worker process: {answer.said}")
    made.__cause__ = RuntimeError(f"in a worker process:\n{answer.where}")
    return made


def _end(works: list[Work], seconds: float = 0.0) -> None:
    """Close the pipes, so that idle workers end by themselves; kill those that do not."""
    for _, link in works:
        link.close()
    for process, _ in works:
        process.join(seconds)
        if process.is_alive():
            process.kill()
        process.join()
        process.close()
    works.clear()
