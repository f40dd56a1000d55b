"""Functions of one number between two ends: the multiplier that carries the whole change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from pellucid.core.errors import RuleError
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Place, Referred, Rule

Function = Callable[[Tensor], Tensor]
Signals = tuple[Tensor | None, ...]

_BY_SIGN: Final = frozenset(("where", "mul", "masked_fill", "setitem", "maximum"))
"""Rectifiers written with a mask or a zero: each is max(x, 0), whatever the mask was made of."""

_CUT: Final = ("relu", "relu6", "hardtanh")
_STRAIGHT: Final = frozenset((*_CUT, "clamp", "threshold", "leaky_relu", "prelu", "rrelu"))
"""Rectifiers made of straight pieces: their quotients are never drowned by rounding."""


@dataclass(frozen=True, slots=True)
class Rescale(Rule):
    """m_in = Δf / Δx · m_out for a function f of every single number    [shrikumar2017learning, sec. 3.5.1]"""

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "rescale"

    def serves(self, call: Call) -> bool:
        """Raises RuleError where two inputs change at once."""
        if sum(call.tracked) > 1 and call.place.kind is Kind.ELEMENTWISE:
            raise refusal(call, "has two arguments that depend on the input", "write it with exp, log and products")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multiplier itself, which nothing that the model does later can change."""
        index = subject(call)
        x, r = ends(call, inputs, index)
        m = secant(Curve.of(call, inputs, index), x, r, call.reference.output if call.reference else None)
        if m.shape != x.shape:
            raise refusal(call, "has constants that enlarge its input", "expand the input before")
        return (m,)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """Δf / Δx · m_out."""
        return at_input(subject(call), kept[0] * upstream[0])


@dataclass(frozen=True, slots=True)
class Cut(Rule):
    """The same for f = max(low, min(x, high)), from the numbers that the model computes anyway.

    Its quotient is taken in the backward pass: what is made there can be forgotten at once, and memory that has just
    been used is faster than memory that is new.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "rescale"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs, which the reference is compared with already here."""
        ends(call, inputs, subject(call))
        return inputs

    def borrows_output(self, call: Call) -> bool:
        """f(x)."""
        return True

    def noted(self, call: Call, inputs: tuple[Tensor, ...]) -> Tensor:
        """SMALL · f′(r)."""
        r = _wide(inputs[subject(call)])
        return torch.ops.aten.hardtanh_backward(torch.full_like(r, SMALL), r, *_cuts(call))

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """(Δf + SMALL · f′(r)) / (Δx + SMALL) · m_out: f′ where x does not change, Δf / Δx to the last digit else."""
        index, (_, y0, note) = subject(call), referred(call)
        x, r = ends(call, kept, index)
        m = _wide(kept[-1] - y0).add_(note).div_(_wide(x - r).add_(SMALL))
        signal = upstream[0] * m if is_batchedtensor(upstream[0]) else m.mul_(upstream[0])
        return at_input(index, signal.to(upstream[0].dtype))


SMALL: Final = 2.0**-100
"""Far below every change of a number that matters, far above the smallest number."""


def _wide(t: Tensor) -> Tensor:
    """Numbers among which SMALL is not 0."""
    return t.float() if t.dtype == torch.float16 else t


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A call as a function of one of its inputs.

    value     f, elementwise; overwrites nothing
    slope     f′; where a rectifier bends, the smaller one
    straight  whether f is made of straight pieces
    alone     whether f needs no other tensor, so that it can be had at some elements only
    """

    value: Function
    slope: Function
    straight: bool
    alone: bool

    @staticmethod
    def of(call: Call, inputs: tuple[Tensor, ...], index: int) -> Curve:
        """The curve of input `index`."""
        name, rectifier = call.operator.name, call.place.kind is Kind.RECTIFIER
        if cuts(call.place):
            return _cut(*_cuts(call))

        def value(x: Tensor) -> Tensor:
            return call.run(put(x.clone() if call.inplace else x))

        def put(x: Tensor) -> tuple[Tensor, ...]:
            return tuple(x if i == index else tensor for i, tensor in enumerate(inputs))

        def derivative(x: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                return torch.autograd.grad(value(leaf).sum(), leaf)[0]

        if rectifier:
            return Curve(value, lambda x: call.slope(put(x)), name in _STRAIGHT, False)
        return Curve(value, derivative, False, len(inputs) == 1)


def secant(f: Curve, x: Tensor, r: Tensor, made: Tensor | None = None) -> Tensor:
    """m = (f(x) − f(r)) / (x − r)    [shrikumar2017learning, eq. 11]

    Where x and r are so close that rounding would drown the quotient, f′ at their midpoint is taken if it carries the
    same change; across a bend or a jump it does not, and the quotient stays. So m · (x − r) is the change to rounding.

    x, r: the two ends, r broadcast against x; made: f(r), where it is known.
    """
    y, y0, way = f.value(x), f.value(r) if made is None else made, x - r
    if f.straight:
        return _mended(y.sub_(y0).div_(way), way, lambda: f.slope(x).to(y.dtype))
    change = y - y0
    m = change / way
    eps = torch.finfo(m.dtype).eps
    close = way.abs() <= eps**0.5
    if not bool(close.any()):
        return m
    middle = _where(f, (x + r) / 2, close)
    fits = (middle * way - change).abs() <= 4 * eps * (y.abs() + y0.abs())
    return torch.where(close & fits | (way == 0), middle, m)


def _mended(m: Tensor, way: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """Quotients m = Δf / Δx, and slopes where both vanish: 0 / 0 is no number, which one sum tells of all of them.

    To ask for that number would hold up an accelerator.
    """
    if m.device.type == "cpu" and not bool(m.sum().isnan()):
        return m
    return torch.where(way == 0, slope(), m)


def _where(f: Curve, x: Tensor, close: Tensor) -> Tensor:
    """f′(x) at the places that are asked for."""
    if not f.alone:
        return f.slope(x)
    slope = torch.zeros_like(x)
    slope[close] = f.slope(x[close])
    return slope


def cuts(place: Place) -> bool:
    """Whether a call is max(low, min(x, high)), however it is written."""
    return place.kind is Kind.RECTIFIER and (place.operator in _CUT or place.operator in _BY_SIGN)


def _cut(low: float, high: float) -> Curve:
    """max(low, min(x, high)), with its slope in one pass: masks would take four times as long."""

    def slope(x: Tensor) -> Tensor:
        return torch.ops.aten.hardtanh_backward(x.new_ones(()).expand_as(x), x, low, high)

    return Curve(lambda x: x.clamp(low, high), slope, True, True)


def _cuts(call: Call) -> tuple[float, float]:
    """Where a rectifier is cut."""
    if call.operator.name == "relu6":
        return 0.0, 6.0
    if call.operator.name != "hardtanh":
        return 0.0, inf
    given = dict(zip(("min_val", "max_val"), call.args[1:3], strict=False)) | dict(call.kwargs)
    return given.get("min_val", -1.0), given.get("max_val", 1.0)


def subject(call: Call) -> int:
    """The one input that the signal flows to."""
    return call.subject if call.place.kind is Kind.RECTIFIER else call.tracked.index(True)


class Unlike(RuleError):
    """The pass of the reference has tensors of other shapes, that cannot be compared row by row."""


def referred(call: Call) -> Referred:
    """The same call for the reference. Raises RuleError where there was none."""
    if call.reference is None:
        raise refusal(call, "has no reference to be compared with", "run the reference first, and hand it on")
    return call.reference


def ends(call: Call, inputs: tuple[Tensor, ...], index: int) -> tuple[Tensor, Tensor]:
    """One input in this pass and in that of the reference, which may be one row for all."""
    x, r = inputs[index].detach(), referred(call).inputs[index]
    if x.shape != r.shape and not (x.ndim == r.ndim > 0 and len(r) == 1 and x.shape[1:] == r.shape[1:]):
        raise Unlike(
            f"{call.operator.name} in layer {call.place.layer!r} has an input of shape {tuple(x.shape)}, and "
            f"{tuple(r.shape)} for the reference",
            "the same shape for both",
            "give a reference for every row",
        )
    return x, r


def refusal(call: Call, why: str, do: str) -> RuleError:
    """A call that DeepLIFT has no multiplier for."""
    where = f"in layer {call.place.layer!r}" if call.place.layer else "in the model itself"
    return RuleError(f"{call.operator.name} {where} {why}", "operators whose change can be shared out exactly", do)


def mean(call: Call, inputs: tuple[Tensor, ...], index: int) -> Tensor:
    """The mean of an input's two ends."""
    x, r = ends(call, inputs, index)
    return (x + r) / 2


def at_input(index: int, signal: Tensor) -> Signals:
    """The signals of all inputs, where only one has any."""
    return (*(None for _ in range(index)), signal)


def shaped(x: Tensor) -> Tensor:
    """A tensor that has x's shape and no memory."""
    return x.new_zeros(()).expand(x.shape)
