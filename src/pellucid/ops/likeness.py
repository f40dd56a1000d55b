"""How alike two maps are."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.metric import Map
from pellucid.ops.correlation import spearman
from pellucid.ops.places import per_place


def likeness(how: str, e: Map, x: Tensor) -> Callable[[Tensor], Tensor]:
    """How alike other values of a method are to its map: float64 [batch, ...] → [batch].

    spearman: rank correlation of the signed numbers; abs_spearman: of their magnitudes; ssim: structural similarity of
    the places. A map without any difference between places is like nothing: 0.
    """

    def alike(other: Tensor) -> Tensor:
        other = other.detach().to("cpu", torch.float64)
        fine = other.flatten(1).isfinite().all(1)
        flat = other.flatten(1).amax(1) == other.flatten(1).amin(1)
        value = _compared(how, e, other, x)
        return torch.where(fine, torch.where(flat | value.isnan(), 0.0, value), torch.nan)

    return alike


def _compared(how: str, e: Map, other: Tensor, x: Tensor) -> Tensor:
    if how == "ssim":
        then = Map(values=other, dims=e.dims, whence=e.whence, broken=e.broken)
        return ssim(per_place(e, x), per_place(then, x))
    a, b = e.values.flatten(1), other.flatten(1)
    return spearman(a.abs(), b.abs()) if how == "abs_spearman" else spearman(a, b)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of maps [batch, height, width], each brought to 0 … 1 [Wang et al. 2004]: [batch].

    Gaussian window of σ 1.5 over 11 × 11 places, smaller where the map is; c₁ = 0.01², c₂ = 0.03².
    """
    side = min(11, *a.shape[-2:])
    at = torch.arange(side, dtype=a.dtype) - (side - 1) / 2
    line = torch.exp(-(at**2) / 4.5)
    window = (line[:, None] * line)[None, None] / line.sum() ** 2

    def local(z: Tensor) -> Tensor:
        return F.conv2d(z[:, None], window)[:, 0]

    a, b = _unit(a), _unit(b)
    ma, mb = local(a), local(b)
    va, vb, ab = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
    near = ((2 * ma * mb + 1e-4) * (2 * ab + 9e-4)) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    return near.flatten(1).mean(1)


def _unit(z: Tensor) -> Tensor:
    low, high = z.flatten(1).aminmax(dim=1)
    span = torch.where(high > low, high - low, 1.0)
    return (z - low[:, None, None]) / span[:, None, None]


def entropy(values: Tensor, bins: int) -> Tensor:
    """−Σ p ln p of the histogram of every row's values between its ends, [batch] of [batch, ...]."""
    flat = values.flatten(1)
    low, high = flat.aminmax(dim=1)
    span = torch.where(high > low, high - low, 1.0)
    place = ((flat - low[:, None]) / span[:, None] * bins).long().clamp_max(bins - 1)
    share = torch.zeros(len(flat), bins, dtype=torch.float64).scatter_add_(1, place, torch.ones_like(flat).double())
    return torch.special.entr(share / flat.shape[1]).sum(1)
