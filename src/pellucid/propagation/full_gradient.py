"""What biases contribute: the plain gradient goes back, and every operator leaves its share of the score on a canvas.

A piecewise linear s is s(x) = Σ_i x_i ∂s/∂x_i + Σ_l β_l · ∂s/∂z_l, with z_l = f_l(u_l) the outputs of the operators and
β_l = z_l − (∂f_l/∂u_l) u_l what does not follow their inputs: biases, shifts of batch norms, and the offsets of bent
functions such as ReLU6 or SiLU.    [Srinivas & Fleuret 2019, proposition 1 and appendix on implicit biases]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from pellucid.ops.resize import resize
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Manner, Place, Rule

AFFINE = frozenset({Kind.LINEAR, Kind.CONVOLUTION})
BY_ELEMENT = frozenset({Kind.RECTIFIER, Kind.ACTIVATION, Kind.ELEMENTWISE, Kind.ADD, Kind.MULTIPLY, Kind.DIVIDE})
PLANES = 2
"""Of the canvas: the map, and the sum of all shares, spread over the places."""


@dataclass(frozen=True, slots=True)
class FullGradient:
    """The rules of FullGrad: what comes back at the canvas is [rows, 2, height, width].

    rescale  whether the shares of every operator are stretched to [0, 1] before they are enlarged and added
    last     whether channels are the last axis where a shape does not tell
    """

    rescale: bool
    last: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        return "full gradient"

    @property
    def manner(self) -> Manner:
        """Layers do not matter."""
        return Manner(named=False, canvas=PLANES)

    def rule_for(self, place: Place) -> Rule | None:
        """A share for what has one; the plain gradient alone for what only moves, sums or selects numbers."""
        if place.kind in AFFINE | BY_ELEMENT or place.operator == "batch_norm":
            return Share(self.rescale, self.last)
        return None


@dataclass(frozen=True, slots=True)
class Share(Rule):
    """β ⊙ G on the canvas, and the plain gradient to the inputs."""

    rescale: bool
    last: bool = False

    @property
    def name(self) -> str:
        """One word for the audit."""
        return "share"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """All inputs; the canvas is the last."""
        return inputs

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Run the call again for its gradient; what the inputs account for is taken from the output."""
        *inputs, canvas = kept
        (signal,) = upstream
        by_element = call.place.kind not in AFFINE
        with torch.enable_grad():
            leaves = [
                _leaf(t, signal if by_element else t) if on else t for t, on in zip(inputs, call.tracked, strict=True)
            ]
            out = call.run(tuple(t * 1 if on else t for t, on in zip(leaves, call.tracked, strict=True)))
        wanted = [t for t, on in zip(leaves, call.tracked, strict=True) if on]
        found = torch.autograd.grad(out, wanted, signal)
        if by_element:
            share = _unowed(out.detach() * signal, [t.detach() * g for t, g in zip(wanted, found, strict=True)])
        else:
            share = _offset(call, inputs) * signal
        each = iter(found)
        signals = [next(each).sum_to_size(t.shape) if on else None for t, on in zip(inputs, call.tracked, strict=True)]
        return (*signals, painted(share, canvas, self.rescale, self.last))


def _unowed(whole: Tensor, owed: Sequence[Tensor]) -> Tensor:
    """What of the whole the inputs do not account for; nothing where that is rounding, which would be stretched too."""
    share, size = whole - sum(owed), whole.abs() + sum(part.abs() for part in owed)
    return share.where(share.abs() > 4 * torch.finfo(share.dtype).eps * size, 0)


def _leaf(tensor: Tensor, like: Tensor) -> Tensor:
    """An input as a leaf; one that is repeated over the output is written out, so that every element has its share."""
    return tensor.detach().expand(like.shape).clone().requires_grad_()


def _offset(call: Call, kept: Sequence[Tensor]) -> Tensor:
    """f(0) of an affine operator, from one row; 0 where several inputs are multiplied with each other."""
    if sum(call.tracked) > 1:
        return torch.zeros((), dtype=kept[0].dtype, device=kept[0].device)
    zero = tuple(torch.zeros_like(t[:1]) if on else t for t, on in zip(kept, call.tracked, strict=True))
    return call.run(zero)


def painted(share: Tensor, like: Tensor, rescale: bool, last: bool = False) -> Tensor:
    """The shares of one operator [rows, ...] on a canvas [rows, 2, height, width].

    The map is |share|, stretched if wished, summed over channels and enlarged; it stays empty for outputs without
    height and width. The second plane holds the sum of the shares, spread over the places. Windows that were cut out
    of a row and stacked behind each other count as parts of it.
    """
    size = (like.shape[-2], like.shape[-1])
    canvas = torch.zeros_like(like)
    if share.ndim == 0 or len(share) != len(like):
        if share.ndim == 0 or len(share) % len(like):
            return canvas  # no rows: its share is seen as a gap
        share = share.reshape(len(like), -1)
    canvas[:, 1] = share.flatten(1).sum(1).view(-1, 1, 1) / (size[0] * size[1])
    laid = _channels_first(share, size, last)
    if laid is not None:
        canvas[:, 0] = resize(sized(laid.abs(), rescale).sum(1), size)
    return canvas


def sized(maps: Tensor, rescale: bool) -> Tensor:
    """Maps [rows, channel, height, width], if wished with the least value of every row at 0 and the largest at 1."""
    if not rescale:
        return maps
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return ((maps - low) / (high - low)).where(high > low, 0)


def _channels_first(share: Tensor, size: tuple[int, int], last: bool) -> Tensor | None:
    """Channels as axis 1, in the reading whose grid is nearer to the proportions of the picture."""
    if share.ndim != 4:
        return None
    front, back = _off(share.shape[2:], size), _off(share.shape[1:3], size)
    if min(front, back) > max(size):
        return None
    return share.movedim(-1, 1) if back < front or (back == front and last) else share


def _off(grid: tuple[int, ...], size: tuple[int, int]) -> float:
    """How far a grid is from the proportions of the picture; rounding makes up to its larger side."""
    h, w = grid
    return abs(h * size[1] - w * size[0]) if h * w > 1 else inf
