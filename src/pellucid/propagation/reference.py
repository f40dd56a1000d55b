"""What a pass of the reference input met, for rules that compare an input with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.held import Held, Keeper
from pellucid.propagation.rules import Place, Referred


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Inputs and outputs of the calls that the rules serve, as they were in the pass of the reference input.

    Both passes must meet the same calls: a model whose control flow depends on its input is refused.
    """

    places: Sequence[Place]
    calls: Mapping[int, Referred]

    def at(self, place: Place) -> Referred | None:
        """The same call in that pass; None where there was none."""
        found = self.calls.get(place.order)
        return found if found is not None and self.places[place.order] == place else None

    def without(self, place: Place) -> RuleError:
        """The error for a call that there was none of."""
        return RuleError(
            f"{place.operator} in layer {place.layer!r} is met for the input, but not for the reference input",
            "the same operators in the same order for both",
            "choose another baseline, or a model whose control flow does not depend on its input",
        )


class Taking:
    """Keeps inputs and outputs while the reference input runs."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, tuple[list[Held], Held | list[Held], Any]] = {}

    def clear(self) -> None:
        """Another pass begins."""
        self._calls.clear()

    def before(self, inputs: Sequence[Tensor], keeper: Keeper, *, inplace: bool) -> list[Held]:
        """Keep the inputs of a call; the first as a copy if the call overwrites it."""
        held = [keeper.hold(tensor.detach()) for tensor in inputs]
        if inplace:
            held[0].copy()
        return held

    def after(self, place: Place, inputs: list[Held], output: Any, note: Any, keeper: Keeper) -> None:
        """Keep its output too, and what its rule has noted."""
        if isinstance(output, Tensor):
            held = keeper.hold(output.detach())
        else:
            held = [keeper.hold(t.detach()) for t in output if isinstance(t, Tensor)]
        self._calls[place.order] = inputs, held, note

    def reference(self, places: Sequence[Place]) -> Reference:
        """All of it."""
        calls: dict[int, Referred] = {}
        for order, (inputs, output, note) in self._calls.items():
            name = places[order].operator
            out = output.get(name) if isinstance(output, Held) else tuple(held.get(name) for held in output)
            calls[order] = Referred(tuple(held.get(name) for held in inputs), out, note)
        return Reference(tuple(places), calls)
