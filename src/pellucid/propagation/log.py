"""What an interceptor has met: numbered calls, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pellucid.propagation.audit import Audit, Entry, Met, total
from pellucid.propagation.operators import Kind, Operator
from pellucid.propagation.rules import Place
from pellucid.propagation.tensors import Function, Given, Named, tensors_among


class Heard(NamedTuple):
    """A call as it came by: the function, its row in the table, its arguments."""

    function: Function
    operator: Operator
    args: Given
    kwargs: Named

    def run(self) -> Any:
        """Call the function; `x[...] = y`, to which torch answers nothing, gives the tensor that was written into."""
        output = self.function(*self.args, **self.kwargs)
        return self.args[0] if output is None and self.operator.inplace else output


def with_tensors(heard: Heard) -> Heard:
    """`x + 1` as a sum of two tensors: the books enter what inputs absorb, and a number is none."""
    x = next(tensors_among(heard.args))

    def made(value: Any) -> Any:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device) if isinstance(value, int | float) else value

    words = {key: made(value) if key == "other" else value for key, value in heard.kwargs.items()}
    return heard._replace(args=tuple(map(made, heard.args[:2])) + heard.args[2:], kwargs=words)


class Log:
    """Counts the calls of each pass, and keeps one line for each place over all passes."""

    __slots__ = ("_count", "_ends", "_met", "full", "places")

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.places: list[Place] = []
        self._met: dict[tuple[str, str, int], Met] = {}
        self._count: dict[tuple[str, str], int] = {}
        self._ends = [0.0, 0.0]

    def begin(self) -> None:
        """A pass begins: numbers start anew."""
        self.places = []
        self._count.clear()

    def place(self, kind: Kind, operator: str, layer: str) -> Place:
        """Where the next call of an operator stands."""
        return Place(kind, operator, layer, self._count.get((operator, layer), 0) + 1, len(self.places))

    def count(self, place: Place) -> None:
        """A signal can come back through this call."""
        self._count[place.operator, place.layer] = place.call
        self.places.append(place)

    def meet(self, place: Place, rule: str, *, served: bool) -> Met:
        """The line of a call."""
        key = (place.operator, place.layer, place.call)
        met = self._met.get(key)
        if met is None:
            met = self._met[key] = Met(place.operator, place.kind, place.layer, place.call, rule, served)
        return met

    def count_ends(self, tensors: Iterable[Any], *, inputs: bool) -> None:
        """Where books are kept: add up what will begin at the outputs, or arrive at the inputs."""

        def count(signal: Tensor) -> None:
            self._ends[inputs] += total(signal)

        for tensor in tensors_among(tensors) if self.full else ():
            if tensor.requires_grad:
                tensor.register_hook(count)

    @property
    def met(self) -> tuple[Met, ...]:
        """All lines."""
        return tuple(self._met.values())

    def audit(self, rules: str) -> Audit:
        """All of it as it is now."""
        started, arrived = self._ends if self.full else (None, None)
        return Audit(rules, tuple(map(Entry.of, self.met)), self.full, started, arrived)
