"""Confidence bounds on a chance that hold at all numbers of draws at once, so that one may look and draw again."""

from __future__ import annotations

import torch
from torch import Tensor

HALVINGS = 30
"""Steps of the bisection; an interval of length one is left with 1e-9."""


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p, q) = p log(p / q) + (1 − p) log((1 − p) / (1 − q)), of two coins; infinite where q rules p out."""
    yes = torch.where(p == 0, 0.0, torch.xlogy(p, p / q))
    return yes + torch.where(p == 1, 0.0, torch.xlogy(1 - p, (1 - p) / (1 - q)))


def rate(hits: Tensor, draws: Tensor, log_risk: float) -> Tensor:
    """β such that n KL(hits / n, p) ≤ β for all n at once, except with chance exp(log_risk); for one fixed arm.

    β = log(1 / risk) + log [p̂^S (1 − p̂)^(n − S) / B(S + 1, n − S + 1)]: the mean over q of the likelihood ratio of q
    to p is a non-negative martingale of mean one, which Ville's inequality bounds at all times. It holds for hits
    between 0 and 1 too, since the ratio is convex in them.
    """
    n, s = draws, hits
    p = s / n.clamp_min(1)
    best = torch.xlogy(s, p) + torch.xlogy(n - s, 1 - p)
    beta = torch.lgamma(s + 1) + torch.lgamma(n - s + 1) - torch.lgamma(n + 2)
    return best - beta - log_risk


def bounds(hits: Tensor, draws: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest p with n KL(hits / n, p) ≤ β, by bisection; 0 and 1 where nothing was drawn.

    hits, draws, beta: float64, of one shape.
    """
    p, level = hits / draws.clamp_min(1), beta / draws.clamp_min(1)
    low = _edge(p, torch.zeros_like(p), level)
    high = _edge(p, torch.ones_like(p), level)
    none = draws == 0
    return torch.where(none, 0.0, low), torch.where(none, 1.0, high)


def _edge(p: Tensor, end: Tensor, level: Tensor) -> Tensor:
    """Where KL(p, ·) reaches the level between p and an end, on the outer side; the end where it does not."""
    inside, outside = p, end
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        within = divergence(p, middle) <= level
        inside, outside = torch.where(within, middle, inside), torch.where(within, outside, middle)
    return torch.where(divergence(p, end) <= level, end, outside)
