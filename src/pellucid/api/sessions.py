"""Calls that share what models have said: a second method, or a metric, asks only of the rows not yet known."""

from __future__ import annotations

import threading
import weakref
from types import TracebackType
from typing import Any, Self

from pellucid.adapters import Ready
from pellucid.adapters.torch.session import TorchSession
from pellucid.core.errors import ParameterError
from pellucid.engine import Known

_open = threading.local()


def session(megabytes: float = 256) -> Session:
    """Within it no model is asked twice of one row, whichever calls, methods and metrics ask.

    `with pellucid.session(): explain(...); explain(...); measure(...)`; in a notebook, where a `with` ends with its
    cell, `known = pellucid.session().open()` and later `known.close()`. Outside of sessions nothing is kept, so that
    calls and times are those of the call alone, and a function that changes is asked again. A model that is given by
    its name is loaded anew by every call, and is then another one: load it once.

    megabytes  of outputs kept for each model; the oldest are forgotten. 1,000 rows of 1,000 classes take 4.5
    Raises ParameterError for less than one.
    """
    return Session(megabytes)


class Session:
    """What models have said since it was opened, in this thread: raw outputs, by the content of the rows.

    Kept while the model lives, and forgotten as soon as its weights, attributes or hooks are seen to have changed.
    Models that draw at random are asked every time. A function's own state cannot be seen: where it changes, open
    another session.
    """

    def __init__(self, megabytes: float) -> None:
        number = isinstance(megabytes, (int, float)) and not isinstance(megabytes, bool)
        if not (number and 1 <= megabytes < float("inf")):
            raise ParameterError(f"megabytes={megabytes!r}", "1 or more")
        self.megabytes = megabytes
        self._known: weakref.WeakKeyDictionary[Any, Known] = weakref.WeakKeyDictionary()

    @property
    def rows(self) -> int:
        """How many rows have an answer."""
        return sum(map(len, self._known.values()))

    def open(self) -> Session:
        """Share from now on what is asked in this thread; sessions inside a session keep to themselves."""
        _stack().append(self)
        return self

    def close(self) -> None:
        """Share no longer, and forget everything."""
        while self in _stack():
            _stack().remove(self)
        self._known.clear()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.rows} rows known, at most {self.megabytes:g} MB for each model)"

    def of(self, ready: Ready) -> Known | None:
        """What is known of a model for rows of one shape; None for one that draws at random."""
        of = ready.ready if isinstance(ready, TorchSession) else ready.model
        if isinstance(ready, TorchSession) and ready.ready.facts.draws:
            return None
        if of not in self._known:
            self._known[of] = Known(int(self.megabytes * 2**20))
        return self._known[of]


def known_of(ready: Ready) -> Known | None:
    """What the open session knows of a model; None outside of sessions."""
    return _stack()[-1].of(ready) if _stack() else None


def _stack() -> list[Session]:
    """The open sessions of this thread."""
    if not hasattr(_open, "stack"):
        _open.stack = []
    return _open.stack
