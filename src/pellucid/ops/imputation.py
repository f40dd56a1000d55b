"""Noisy linear imputation: what is taken away is replaced by what its neighbours make likely (ROAD)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.points import normal
from pellucid.ops.removal import Removed

STOP = 1e-5
"""The residual, relative to the right-hand side, at which a system counts as solved."""
MOST = 1000
"""Iterations at most."""


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

    x: [batch, channel, height, width]; gone: bool [batch, height, width]. Solved by conjugate gradients, each system by
    itself, from a guess that is made coarse to fine; known places stay. Where nothing is known the result is zero.
    """
    away = gone[:, None].to(x.dtype)
    known = 1 - away
    count = _around(torch.ones_like(away))
    guess = torch.where(gone[:, None], _pulled(x * known, known), 0)
    wanted = away * _around(x * known)
    found = _solved(lambda u: away * (count * u - _around(u)), wanted, guess, away / count)
    return torch.where(gone[:, None], found, x)


def _around(x: Tensor) -> Tensor:
    """Σ of the neighbours by their weights; none outside of the picture."""
    kernel = x.new_tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    return F.conv2d(x.flatten(0, 1)[:, None], kernel[None, None], padding=1).view_as(x)


def _solved(apply: object, wanted: Tensor, guess: Tensor, precondition: Tensor) -> Tensor:
    """Conjugate gradients for [batch, channel] systems at once; each stops by itself, so that none sees another."""
    u, r = guess, wanted - apply(guess)  # pyright: ignore
    z = precondition * r
    p, rz = z, _dot(r, z)
    limit = STOP**2 * _dot(wanted, wanted)
    for _ in range(MOST):
        going = (_dot(r, r) > limit) & (rz > 0)
        if not bool(going.any()):
            break
        ap = apply(p)  # pyright: ignore
        step = torch.where(going, rz / torch.where(going, _dot(p, ap), 1), 0)
        u, r = u + step * p, r - step * ap
        z = precondition * r
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
