"""Smooth masks of a given area, and how they move: the parts of extremal perturbations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.points import Points
from pellucid.ops.resize import resize

SHARPNESS = 20.0
"""Of the smooth maximum; at infinity it is the maximum."""
STEEPEST = 32.0
"""The largest power that a mask is raised to, and one over the smallest."""


@dataclass(frozen=True, slots=True, eq=False)
class Blends(Points):
    """Pictures m_k ⊙ x + (1 − m_k) ⊙ fill, every row with masks of its own.

    x: [batch, channel, height, width]; masks: [count, batch, height, width], 0 … 1; fill: [batch or 1, ...].
    """

    x: Tensor
    masks: Tensor
    fill: Tensor

    @property
    def count(self) -> int:
        return len(self.masks)

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        return torch.lerp(fill, self.x[b0:b1], self.masks[k0:k1, b0:b1, None]).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class SmoothMask:
    """Masks from numbers on a grid, p [n, rows, columns] in 0 … 1    [Fong et al. 2019, §3.2]

    m(u) = Σ_v f_v e^{β f_v} / Σ_v e^{β f_v},  f_v = k(|u − v|) p(v),  k(d) = exp(−2 max(0, d/σ − ½)²)

    Each place of the grid lights a round spot with an edge, and spots do not add up. m is enlarged bilinearly to the
    size of the picture.

    size    height and width of the picture
    grid    rows and columns
    reach   σ, as a fraction of the shorter side
    """

    size: tuple[int, int]
    grid: tuple[int, int]
    reach: float

    def small(self, p: Tensor) -> Tensor:
        """m on the grid, [n, rows, columns]."""
        f, chance, _ = self._spots(p)
        return (f * chance).sum(1).view_as(p)

    def large(self, small: Tensor) -> Tensor:
        """m at the size of the picture."""
        return resize(small, self.size)

    def shrunk(self, slope: Tensor) -> Tensor:
        """∂ / ∂ m on the grid from ∂ / ∂ m at the size of the picture: the transpose of `large`."""
        down, across = (_enlarging(few, many).to(slope) for few, many in zip(self.grid, self.size, strict=True))
        return down.mT @ slope @ across

    def pulled(self, p: Tensor, slope: Tensor) -> Tensor:
        """∂ / ∂ p from ∂ / ∂ m on the grid;  ∂m / ∂f_v = c_v (1 + β (f_v − m)),  c = softmax(β f)."""
        f, chance, kernel = self._spots(p)
        m = (f * chance).sum(1, keepdim=True)
        parts = slope.flatten(1)[:, None] * chance * (1 + SHARPNESS * (f - m)) * kernel
        side = math.isqrt(parts.shape[1])
        return F.fold(parts, self.grid, side, padding=side // 2)[:, 0]

    def _spots(self, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f and its softmax, [n, places of the kernel, places of the grid], and k."""
        sigma = self.reach * min(self.grid)
        side = 2 * max(1, math.ceil(2 * sigma)) + 1
        apart = torch.arange(side).to(p) - side // 2
        distance = torch.hypot(apart[:, None], apart) / sigma
        kernel = torch.exp(-2 * (distance - 0.5).clamp_min(0).square()).view(1, -1, 1)
        f = F.unfold(p[:, None], side, padding=side // 2) * kernel
        return f, (SHARPNESS * f).softmax(1), kernel


def _enlarging(few: int, many: int) -> Tensor:
    """The matrix of bilinear enlargement, [many, few]."""
    return resize(torch.eye(few, dtype=torch.float64)[:, :, None], (many, 1))[:, :, 0].mT


def beyond(small: Tensor, areas: Tensor) -> Tensor:
    """m − r: how far masks are from being 1 on their largest places, as many as the area says, and 0 elsewhere.

    Half the gradient of |sort(m) − r_a|²    [Fong et al. 2019, eq. 5].  small: [n, rows, columns]; areas: [n], 0 … 1.
    """
    flat = small.flatten(1)
    rank = flat.argsort(dim=1, descending=True, stable=True).argsort(1)
    return (flat - (rank < (areas[:, None] * flat.shape[1]).round()).to(flat)).view_as(small)


def exact(masks: Tensor, areas: Tensor, halvings: int = 30) -> Tensor:
    """m^γ with the γ for which its mean is the area: zeros, ones and the order of all places stay.

    masks: [n, height, width], 0 … 1; areas: [n]. Where no power does, because too few places differ from 0 and 1, the
    nearest.
    """
    wanted = areas.view(-1, 1, 1)
    low, high = torch.full_like(wanted, 1 / STEEPEST), torch.full_like(wanted, STEEPEST)
    for _ in range(halvings):
        middle = (low * high).sqrt()
        large = masks.pow(middle).mean((1, 2), keepdim=True) > wanted
        low, high = torch.where(large, middle, low), torch.where(large, high, middle)
    return masks.pow((low * high).sqrt())
