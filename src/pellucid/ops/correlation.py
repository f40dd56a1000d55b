"""Correlations along the last axis, in float64, ties sharing their mean rank."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """The rank of every value along the last axis, from 0; equal values share the mean of their ranks: float64."""
    ordered, order = values.sort(dim=-1, stable=True)
    count = values.shape[-1]
    at = torch.arange(count, device=values.device).expand_as(order)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    first = torch.where(new, at, 0).cummax(-1).values
    ends = torch.ones_like(new)
    ends[..., :-1] = new[..., 1:]
    last = torch.where(ends, at, count).flip(-1).cummin(-1).values.flip(-1)
    return torch.zeros_like(values, dtype=torch.float64).scatter_(-1, order, (first + last).double() / 2)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Σ (a − ā)(b − b̄) / √(Σ (a − ā)² Σ (b − b̄)²); NaN where one of them does not vary beyond rounding."""
    (a, va), (b, vb) = _centred(a), _centred(b)
    return ((a * b).sum(-1) / (va * vb).sqrt()).clamp(-1, 1)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of the ranks."""
    return pearson(ranks(a), ranks(b))


CORRELATIONS = {"pearson": pearson, "spearman": spearman}


def jackknifed(a: Tensor, b: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """A correlation over samples and its standard error, by leaving out one sample at a time.

    Ranks are those among all samples. With centred moments, leaving out i takes n/(n − 1) d_i e_i from Σ d e.
    """
    if how == "spearman":
        a, b = ranks(a), ranks(b)
    value, n = pearson(a, b), a.shape[-1]
    if n < 3:
        return value, torch.full_like(value, torch.nan)
    (a, va), (b, vb) = _centred(a), _centred(b)
    c, f = (a * b).sum(-1), n / (n - 1)
    without = (c[..., None] - f * a * b) / ((va[..., None] - f * a * a) * (vb[..., None] - f * b * b)).sqrt()
    spread = (without - without.mean(-1, keepdim=True)).square().sum(-1)
    return value, ((n - 1) / n * spread).sqrt()


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences from the mean, and the sum of their squares: NaN where rounding explains it."""
    x = x.double()
    mean = x.mean(-1, keepdim=True)
    off = x - mean
    power = off.square().sum(-1)
    floor = (64 * torch.finfo(torch.float64).eps * x.abs().amax(-1)).square() * x.shape[-1]
    return off, torch.where(power > floor, power, torch.nan)
