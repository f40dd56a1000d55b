"""Maxima: the change belongs to the place where the larger of the two maxima sits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.propagation.deeplift.secant import Curve, Signals, at_input, ends, secant, shaped, subject
from pellucid.propagation.rules import Call, Rule

_SMALLEST: Final = ("amin", "min", "minimum")
_POOLS: Final[Mapping[str, Any]] = {
    f"{adaptive}max_pool{d}d": getattr(F, f"{adaptive}max_pool{d}d_with_indices")
    for adaptive in ("", "adaptive_")
    for d in (1, 2, 3)
}


@dataclass(frozen=True, slots=True)
class Pool(Rule):
    """y = max x over a window: m_in = Δy / Δx · m_out at one place, 0 elsewhere

    The place is that of x's maximum where y rises, and that of the reference's where it falls. There |Δx| ≥ |Δy|, so
    the multiplier lies between 0 and 1 and carries the whole change.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "place of the larger maximum"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Multiplier and place of every window; an empty tensor that knows the shape of the pictures."""
        x, r = ends(call, inputs, subject(call))
        r = r.expand_as(x)
        pool, d = _pool(call)
        (_, p), (_, q) = pool(x), pool(r)
        m, at = carried(x.flatten(-d), r.flatten(-d), p.flatten(-d), q.flatten(-d))
        return m.view_as(p), at.view_as(p), shaped(x)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m_out at those places."""
        (m, at, like), (_, d) = kept, _pool(call)
        empty = m.new_zeros(like.flatten(-d).shape)
        signal = empty.scatter_add(-1, at.flatten(-d), (m * upstream[0]).flatten(-d))
        return at_input(subject(call), signal.view(like.shape))


def _pool(call: Call) -> tuple[Any, int]:
    """The pooling with the places of the maxima, as a function of its input, and how many axes it pools."""
    name = call.operator.name.removesuffix("_with_indices")
    return (lambda x: _POOLS[name](x, *call.args[1:], **call.kwargs)), int(name[-2])


@dataclass(frozen=True, slots=True)
class Extreme(Rule):
    """y = max x, or min, over some axes: as `Pool`, with one window for each place in the others"""

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "place of the larger maximum"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multiplier of every number."""
        x, r = ends(call, inputs, subject(call))
        r = r.expand_as(x)
        if call.operator.name in _SMALLEST:
            x, r = -x, -r
        axes = _axes(call, x)
        a, b = _last(x, axes), _last(r, axes)
        m, at = carried(a, b, a.argmax(-1, True), b.argmax(-1, True))
        return (_back_in_place(torch.zeros_like(a).scatter_(-1, at, m), x, axes),)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """Δy / Δx · m_out."""
        m, signal = kept[0], upstream[0]
        if signal.ndim < m.ndim:
            for axis in sorted(_axes(call, m)):
                signal = signal.unsqueeze(axis)
        return at_input(subject(call), m * signal)


def _axes(call: Call, x: Tensor) -> list[int]:
    given: Any = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else ())
    axes = list(given) if isinstance(given, list | tuple) else [given]
    return [axis % x.ndim for axis in axes] or list(range(x.ndim))


def _last(x: Tensor, axes: list[int]) -> Tensor:
    """The axes moved to the end, as one."""
    return x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))


def _back_in_place(flat: Tensor, like: Tensor, axes: list[int]) -> Tensor:
    return flat.unflatten(-1, [like.shape[axis] for axis in axes]).movedim(list(range(-len(axes), 0)), axes)


@dataclass(frozen=True, slots=True)
class Larger(Rule):
    """y = max(a, b), or min: a window of two; where one of them is constant, a function of the other"""

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "place of the larger maximum"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multiplier of each."""
        if sum(call.tracked) == 1:
            index = subject(call)
            x, r = ends(call, inputs, index)
            m = secant(Curve.of(call, inputs, index), x, r)
            return m, m, shaped(x), shaped(x)
        (a, a0), (b, b0) = ends(call, inputs, 0), ends(call, inputs, 1)
        x, r = torch.stack(torch.broadcast_tensors(a, b), -1), torch.stack(torch.broadcast_tensors(a0, b0), -1)
        if call.operator.name in _SMALLEST:
            x, r = -x, -r
        r = r.expand_as(x)
        m, at = carried(x, r, x.argmax(-1, True), r.argmax(-1, True))
        return (*torch.zeros_like(x).scatter_(-1, at, m).unbind(-1), shaped(a), shaped(b))

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """Δy / Δx · m_out at each."""
        sides = zip(kept[:2], kept[2:], call.tracked, strict=True)
        return tuple((m * upstream[0]).sum_to_size(like.shape) if flag else None for m, like, flag in sides)


def carried(x: Tensor, r: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Multiplier and place of every window.

    x, r: the numbers of both ends, on the last axis; p, q: where in them the maxima of the windows are.
    """
    y, y0 = x.gather(-1, p), r.gather(-1, q)
    at = torch.where(y >= y0, p, q)
    change, way = y - y0, x.gather(-1, at) - r.gather(-1, at)
    return torch.where(way == 0, torch.ones_like(way), change / way), at
