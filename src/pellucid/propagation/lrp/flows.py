"""Rules for what has no weights: activations, sums, means, products, quotients and maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.lrp.arguments import bound, slot, tracked
from pellucid.propagation.lrp.layers import STABILIZER, OutputRule
from pellucid.propagation.lrp.linear import linear
from pellucid.propagation.lrp.shares import Signals, check, over, share, signals
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Rule


class ShapeRule(Rule):
    """A rule that only needs to know how large the inputs are."""

    __slots__ = ()

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One number each, seen as often as the input is large."""
        return tuple(torch.empty((), device=t.device).expand(t.shape) for t in inputs)


@dataclass(frozen=True, slots=True)
class Pass(ShapeRule):
    """R_in = R_out: for activations and other functions of one element each    [bach2015pixel; montavon2019layer]

    What is split in two by a gated linear unit goes to the half that is gated, all of it.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "pass"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """R."""
        r = upstream[0]
        if call.operator.name == "glu":
            dim = bound(call, ("input", "dim"), kept).get("dim", -1)
            return (torch.cat([r, torch.zeros_like(r)], dim), *(None,) * (len(kept) - 1))
        found = tracked(call, len(kept))
        return dealt(kept, r, (call.subject,) if call.subject in found else found)


@dataclass(frozen=True, slots=True)
class Norm(OutputRule):
    """R_i = a_i w_i R / (Σ_i a_i w_i + b): sums, means, pooling, interpolation, norms with constant statistics

    Summands share by their size and sign; constants among them are biases and absorb their share.

    stabilizer  ε
    """

    made_for: ClassVar[tuple[Kind, ...]] = ()
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "norm"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """a · Wᵀ(R / z)."""
        *inputs, z = kept
        s = over(upstream[0], z, self.stabilizer)
        if call.operator.name in SUMS:
            return summands(call, tuple(inputs), s)
        view = linear(call, tuple(inputs))
        return signals(call, view, len(inputs), view.a * view.pull(s, view.w), share(call, view.b, s))


SUMS = {"add": (1, 1), "radd": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}
"""The signs of the two sides."""


def summands(call: Call, inputs: tuple[Tensor, ...], s: Tensor) -> Signals:
    """a · s for every side of a sum, with the factor that it has there."""
    names = ("input", "other", "alpha")
    alpha = bound(call, names, inputs).get("alpha", 1)
    signs = SUMS[call.operator.name]
    out: list[Tensor | None] = [None] * len(inputs)
    found = tracked(call, len(inputs))
    for side, name in enumerate(names[:2]):
        index = slot(call, names, name)
        if index is None or not (index in found or call.full):
            continue
        scaled = alpha if (call.operator.name == "rsub") == (side == 0) else 1
        factor = signs[side] * scaled
        a = inputs[index] if factor == 1 else factor * inputs[index]
        out[index] = (a * s).sum_to_size(a.shape)
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Product(ShapeRule):
    """A product a · b with one side that is a gate gives all to the other side; else R/2 each    [achtibat2024attnlrp]

    Gates are what a softmax or sigmoid made, constants, and sides that are broadcast against a larger one: they say how
    much of a signal passes, not what it says (squeeze and excitation, layer scale). Halves are the uniform rule of
    AttnLRP.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "product"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """R, or R/2."""
        return dealt(kept, upstream[0], takers(call, kept))


def takers(call: Call, inputs: tuple[Tensor, ...], *, sizes: bool = True) -> tuple[int, ...]:
    """The factors that are given relevance: those that are no gates, and not smaller than others."""
    found = tracked(call, len(inputs))
    if len(found) > 1 and call.gates:
        found = tuple(i for i in found if not call.gates[i]) or found
    if sizes:
        most = max((inputs[i].numel() for i in found), default=0)
        found = tuple(i for i in found if inputs[i].numel() == most)
    return found


def dealt(inputs: tuple[Tensor, ...], r: Tensor, among: tuple[int, ...]) -> Signals:
    """The same share of r for every input among those named."""
    part = r if len(among) == 1 else r / max(len(among), 1)
    return tuple(part.sum_to_size(t.shape) if i in among else None for i, t in enumerate(inputs))


@dataclass(frozen=True, slots=True)
class Quotient(ShapeRule):
    """The numerator takes all; a denominator only where the numerator is constant    [ali2022xai, achtibat2024attnlrp]

    The denominator is a scale, such as the length of a vector or a sum of weights, and held constant.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "quotient"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """R."""
        names = ("input", "other")
        above = slot(call, names, "other" if call.operator.name.startswith("r") else "input")
        found = tracked(call, len(kept))
        return dealt(kept, upstream[0], (above,) if above is not None and above in found else found)


@dataclass(frozen=True, slots=True)
class Joined(ShapeRule):
    """Every part takes what comes to it, as torch does it: serves only where books are kept of constant parts

    Class tokens are joined with the patches of a picture, and take their relevance with them.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "joined"

    def serves(self, call: Call) -> bool:
        """For the books."""
        return call.full and not call.inplace

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """The slices of R."""
        dim = bound(call, ("tensors", "dim"), kept).get("dim", 0)
        if call.operator.name == "stack":
            return upstream[0].unbind(dim)
        return upstream[0].split([t.shape[dim] for t in kept], dim)


@dataclass(frozen=True, slots=True)
class Refuse(ShapeRule):
    """An operator that no rule has a meaning for: raises RuleError when a signal reaches it.

    why  what is said of it
    do   what can be done about it
    """

    why: str = "has no rule"
    do: str = "give it a rule in the composite, such as On(Pass(), operators='…'), or None for its gradient"

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "refused"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """Raise RuleError, unless the signal is zero."""
        if not any(t is not None and bool(t.any()) for t in upstream):
            return (None,) * len(kept)
        what = f"{call.operator.name} in layer {call.place.layer!r} {self.why}"
        raise RuleError(what, "an operator with a rule", self.do)
