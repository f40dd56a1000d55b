"""Noisy linear imputation: what is taken away is replaced by what its neighbours make likely (ROAD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.points import normal
from pellucid.ops.removal import Removed

STOP = 3e-5
"""The residual, relative to the right-hand side, at which a system counts as solved."""
MOST = 100
"""Iterations at most."""
DAMPING = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Imputed(Removed):
    """As Removed, of pictures, with the places that are gone imputed, and noise on them. `fill` is where all is gone.

    std: of the noise, [1, channel, 1, 1] or so, in the units of x; draw k is the same for every photo and map.
    """

    std: Tensor
    seed: int

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x, gone = self.x[b0:b1], self.gone(k0, k1, b0, b1)
        fill = (self.fill if len(self.fill) == 1 else self.fill[b0:b1]).expand_as(x)
        made: list[Tensor] = []
        for k, where in zip(range(k0, k1), gone, strict=True):
            whole = where.flatten(1).all(1).view(-1, 1, 1, 1)
            smooth = torch.where(whole, fill, imputed(x, where))
            noise = self.std * normal(x.shape[1:], self.seed, k, like=x)
            made.append(torch.where(where[:, None], smooth + noise, x))
        return torch.cat(made)


def imputed(x: Tensor, gone: Tensor) -> Tensor:
    """Every place that is gone is the weighted mean of its neighbours, 1/6 beside and 1/12 across    [Rong et al. 2022]

    x: [batch, channel, height, width]; gone: bool [batch, height, width]. Solved by conjugate gradients behind a
    multigrid cycle, each picture by itself, from a guess that is made coarse to fine; known places stay. Where nothing
    is known the result is zero.
    """
    away = gone[:, None].to(x.dtype)
    known = 1 - away
    guess = torch.where(gone[:, None], _pulled(x * known, known), 0)
    grids = _grids(away)
    found = _solved(grids, away * _around(x * known), guess)
    return torch.where(gone[:, None], found, x)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The system A u = count · u − Σ of the neighbours, where `away` is 1; u is zero elsewhere."""

    away: Tensor
    count: Tensor

    def apply(self, u: Tensor) -> Tensor:
        return self.away * (self.count * u - _around(u))

    def smooth(self, u: Tensor, r: Tensor, times: int) -> Tensor:
        """Damped Jacobi steps towards A u = r."""
        for _ in range(times):
            u = u + DAMPING * self.away / self.count * (r - self.apply(u))
        return u


def _grids(away: Tensor) -> list[Grid]:
    """The system, and ever coarser ones; a coarse place is away where all of its four are."""
    made: list[Grid] = []
    while True:
        made.append(Grid(away, _around(torch.ones_like(away)).clamp_min(1e-3)))
        height, width = away.shape[-2:]
        if min(height, width) <= 3 or not bool(away.any()):
            return made
        away = -F.max_pool2d(-F.pad(away, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _around(x: Tensor) -> Tensor:
    """Σ of the neighbours by their weights, 1/6 beside and 1/12 across; none outside of the picture."""
    across = 2 * x
    across[..., 1:] += x[..., :-1]
    across[..., :-1] += x[..., 1:]
    both = 2 * across
    both[..., 1:, :] += across[..., :-1, :]
    both[..., :-1, :] += across[..., 1:, :]
    return (both - 4 * x) / 12


def _cycle(grids: Sequence[Grid], r: Tensor) -> Tensor:
    """One V-cycle for A u = r: a symmetric preconditioner."""
    grid = grids[0]
    if len(grids) == 1:
        return grid.smooth(torch.zeros_like(r), r, 8)
    u = DAMPING * grid.away / grid.count * r  # one step from zero
    height, width = r.shape[-2:]
    left = F.pad(r - grid.apply(u), (0, width % 2, 0, height % 2))
    kernel = _bilinear(r)
    coarse = F.conv2d(left.flatten(0, 1)[:, None], kernel, stride=2, padding=1)
    up = _cycle(grids[1:], grids[1].away * coarse.view(*r.shape[:2], *coarse.shape[-2:]))
    fine = F.conv_transpose2d(up.flatten(0, 1)[:, None], kernel, stride=2, padding=1)[..., :height, :width]
    return grid.smooth(u + grid.away * fine.reshape(r.shape), r, 1)


def _bilinear(like: Tensor) -> Tensor:
    """The kernel of bilinear interpolation between grids of which one is twice as fine."""
    side = like.new_tensor([1, 3, 3, 1]) / 4
    return (side[:, None] * side)[None, None]


def _solved(grids: Sequence[Grid], wanted: Tensor, guess: Tensor) -> Tensor:
    """Conjugate gradients for [batch, channel] systems at once; each stops by itself, so that none sees another."""
    u, r = guess, wanted - grids[0].apply(guess)
    z = _cycle(grids, r)
    p, rz = z, _dot(r, z)
    limit = STOP**2 * _dot(wanted, wanted)
    for _ in range(MOST):
        going = (_dot(r, r) > limit) & (rz > 0)
        if not bool(going.any()):
            break
        ap = grids[0].apply(p)
        step = torch.where(going, rz / torch.where(going, _dot(p, ap), 1), 0)
        u, r = u + step * p, r - step * ap
        z = _cycle(grids, r)
        after = _dot(r, z)
        p = torch.where(going, z + after / torch.where(going, rz, 1) * p, p)
        rz = torch.where(going, after, rz)
    return u


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _pulled(x: Tensor, weight: Tensor) -> Tensor:
    """Known values, and elsewhere those of the next coarser picture. x: zero where weight is."""
    if min(x.shape[-2:]) <= 1 or bool((weight > 0).all()):
        return x / weight.clamp_min(torch.finfo(x.dtype).tiny)
    size = x.shape[-2:]
    mean = F.avg_pool2d(x, 2, ceil_mode=True)
    share = F.avg_pool2d(weight, 2, ceil_mode=True)
    there = (share > 0).to(x.dtype)
    coarse = _pulled(torch.where(share > 0, mean / share.clamp_min(1e-12), 0), there)
    fine = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(weight > 0, x, fine)
