"""Small samples: intervals of means, and whether two methods can be told apart on the same inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import product

import torch

from pellucid.core.points import generator
from pellucid.core.scorecard import NEAR

EXACT = 14
"""Pairs up to which all signs are tried."""
DRAWS = 20_000


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    reach = t_quantile((1 + level) / 2, n - 1) * error
    return mean - reach, mean + reach


@cache
def t_quantile(p: float, freedom: int) -> float:
    """The number that Student's t stays below with probability p ≥ 0.5, by bisection of Simpson's rule."""
    low, high = 0.0, 1.0
    while _t_mass(high, freedom) < p - 0.5:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_mass(middle, freedom) < p - 0.5 else (low, middle)
    return (low + high) / 2


def _t_mass(t: float, freedom: int, steps: int = 400) -> float:
    """∫₀ᵗ of the density, in the angle θ = atan(x / √ν) where the density is c cosᵛ⁻¹ θ."""
    c = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    end = math.atan(t / math.sqrt(freedom))
    y = [math.cos(end * i / steps) ** (freedom - 1) for i in range(steps + 1)]
    return c * end / steps / 3 * (y[0] + y[-1] + 4 * sum(y[1:-1:2]) + 2 * sum(y[2:-1:2]))


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences under random signs [Fisher 1935]; 1 where there are none.

    All signs are tried for up to 14 pairs, and 20,000 drawn for more. Nothing smaller than 2 / 2ⁿ is possible.
    """
    return sign_flips([[v for v in differences if not math.isnan(v)]])[0]


def sign_flips(differences: Sequence[Sequence[float]]) -> list[float]:
    """The p of several comparisons over the same n inputs, adjusted so that any false one is as rare as said.

    The signs of all comparisons flip together, and the largest |Σ d| counts [Westfall & Young 1993, step-down]: what
    several methods share is not paid for twice, and 2 / 2ⁿ stays possible. NaN counts as no difference.
    """
    d = torch.tensor([list(one) for one in differences], dtype=torch.float64).nan_to_num(0.0)
    if d.numel() == 0:
        return [1.0] * len(differences)
    sums = _signs(d.shape[1]) @ d.T
    seen = d.sum(1).abs()
    order = seen.argsort(descending=True)
    largest = sums.abs()[:, order].flip(1).cummax(1).values.flip(1)
    drawn = float(d.shape[1] > EXACT)
    counts = (largest >= seen[order] * (1 - 1e-12)).double().sum(0)
    p = ((counts + drawn) / (len(sums) + drawn)).cummax(0).values
    out = torch.empty_like(p)
    out[order] = p
    return out.tolist()


def _signs(n: int) -> torch.Tensor:
    """Signs of n pairs, [tries, n]: all of them for few, drawn for many."""
    if n <= EXACT:
        return torch.tensor(list(product((-1.0, 1.0), repeat=n)), dtype=torch.float64)
    return torch.randint(2, (DRAWS, n), generator=generator(0, "sign flips", n)).double() * 2 - 1


def mean_ranks(values: Sequence[float], lower: bool, near: float = NEAR) -> list[float]:
    """The rank of each, 1 for the best; those that are equal, but for rounding, share theirs; NaN stays NaN."""
    known = [v for v in values if not math.isnan(v)]
    near *= max(known) - min(known) if known else 0.0

    def rank(v: float) -> float:
        better = sum(1 for w in known if (w < v - near if lower else w > v + near))
        return better + (sum(1 for w in known if abs(w - v) <= near) + 1) / 2

    return [math.nan if math.isnan(v) else rank(v) for v in values]
