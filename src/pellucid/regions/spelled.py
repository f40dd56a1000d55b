"""How a region maker is written: `slic(n=50, weight=20.0, iterations=10)`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pellucid.core.errors import ParameterError


class Spelled:
    """A region maker whose name tells all of its parameters, so that records of methods do."""

    __slots__ = ()

    @property
    def __name__(self) -> str:
        told = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))  # pyright: ignore
        return f"{type(self).__qualname__.lower()}({told})"


def more_than(low: float, **given: Any) -> None:
    """Raise ParameterError for a number that is not above `low`."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < float("inf"):
            raise ParameterError(f"{name}={value!r} for regions", f"a number above {low:g}")


def counts(**given: Any) -> None:
    """Raise ParameterError for what is not a whole number of at least 1."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name}={value!r} for regions", "a whole number, 1 or more")
