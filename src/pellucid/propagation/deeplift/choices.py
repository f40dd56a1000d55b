"""Choices by a condition that the numbers decide: `where`, `masked_fill`, and assignments to the places of a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.propagation.deeplift.secant import Signals, ends, referred, shaped
from pellucid.propagation.rules import Call, Rule, Slot

_WHERE: Final = ("condition", "input", "other")
_METHOD: Final = ("input", "condition", "other")
_FILL: Final = ("input", "mask", "value")


@dataclass(frozen=True, slots=True)
class Chosen(Rule):
    """y = a where c, else b: m_a = c, m_b = 1 − c where both ends choose alike, else both Δy · sign Δ / (|Δa| + |Δb|)

    A condition has no change that could carry a signal: what another choice brings is shared by the branches in
    proportion to their own changes. So a leaky rectifier or an absolute value that is written with a condition has the
    multipliers that it has as an operator. Branches that do not change at all cannot carry it, and the sum shows that.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "choice"

    def serves(self, call: Call) -> bool:
        """Not assignments to places that are written down, or of tensors."""
        if call.operator.name != "setitem":
            return len(call.args) + len(call.kwargs) == 3
        _, places, value = call.args
        return _by_tensor(places) and not isinstance(value, Slot)

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multipliers of both branches, and their shapes; empty tensors for what has none."""
        now, then = zip(*(ends(call, inputs, i) for i in range(len(inputs))), strict=True)
        chosen = _chosen(call, now)
        y = call.run((now[0].clone(), *now[1:]) if call.inplace else now)
        way = {i: now[i] - then[i] for i, flag in enumerate(call.tracked) if flag}
        whole = torch.stack(torch.broadcast_tensors(*way.values())).abs().sum(0)
        other = (chosen != _chosen(call, then)) & (whole > 0)
        change = y - referred(call).output
        a, b = _branches(call)
        empty = y[:0]
        m = [empty] * len(inputs)
        for i, mine in ((a, chosen), (b, ~chosen)):
            if i in way:
                m[i] = torch.where(other, change * way[i].sign() / whole, mine.to(y.dtype))
        return (*m, *map(shaped, inputs))

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m · m_out."""
        many = len(call.tracked)
        each = zip(kept[:many], kept[many:], call.tracked, strict=True)
        return tuple((m * upstream[0]).sum_to_size(like.shape) if flag else None for m, like, flag in each)


def _by_tensor(places: Any) -> bool:
    """Whether an index has tensors in it, such as masks."""
    return isinstance(places, Slot) or (isinstance(places, tuple) and any(isinstance(p, Slot) for p in places))


def _named(call: Call) -> dict[str, Any]:
    """The arguments by name, a `Slot` for tensors."""
    spelled = _METHOD if call.function is Tensor.where else _WHERE
    names = spelled if call.operator.name == "where" else _FILL
    return dict(zip(names, call.args, strict=False)) | dict(call.kwargs)


def _branches(call: Call) -> tuple[int, int]:
    """Which inputs are the branch of what is chosen and the other one; −1 for numbers."""
    named = _named(call)
    pair = ("input", "other") if call.operator.name == "where" else ("value", "input")
    first, second = (slot.index if isinstance(slot := named[word], Slot) else -1 for word in pair)
    return first, second


def _chosen(call: Call, inputs: tuple[Tensor, ...]) -> Tensor:
    """c as a mask."""
    if call.operator.name == "setitem":
        places = call.filled(inputs)[0][1]
        mask = torch.zeros(inputs[0].shape, dtype=torch.bool, device=inputs[0].device)
        mask[places] = True
        return mask
    named = _named(call)
    return inputs[(named["condition"] if call.operator.name == "where" else named["mask"]).index]
