"""What the players of a photo are really worth: from runs much longer than those that are judged by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.scored import Scores
from pellucid.methods.lime import LIME
from pellucid.methods.owen_shapley import OwenShapley
from pellucid.ops.designs import hadamard
from pellucid.ops.games import Played
from pellucid.ops.shapley_designs import leverage
from pellucid.ops.shapley_fit import shapley_fit
from pellucid.ops.smooth import shapley_of_powers

LONG = 28_000
"""Coalitions of the long run for LIME."""
PARTS, PART = 20, 1024
"""Parts of the long run for Shapley values, and the coalitions of each."""
FAR = 1000
"""The first seed of the long runs; no estimate has it."""
COINS = 2048
"""Coalitions of LIME's run that a smooth function goes through."""
OWN = 0.003
"""The variance that every coalition has for itself, over the one that it shares."""
ALL = 10**6
"""Calls enough to split a tree to the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The values of the players, and their standard errors; both float64 [player]."""

    values: Tensor
    std_error: Tensor


Known = Callable[[Scores], Truth]


def lime_truth(scores: Scores) -> Truth:
    """LIME's own regression, without a penalty."""
    made = scores.explained(LIME(samples=LONG, seed=FAR, ridge=1e-6)).extras
    return Truth(made["players"].flatten().double(), made["players_std_error"].flatten().double())


def shapley_truth(scores: Scores) -> Truth:
    """The mean over parts of φ(f) + least squares of v − f, f a smooth function that has not seen the part.

    Whatever f is, the expectation is the truth [Witter et al. 2025]. It goes through the parts of the other half, every
    second one, and through some coalitions of LIME's run.
    """
    designs = [leverage(scores.players, PART, FAR + i).beside(shown=True).beside(shown=False) for i in range(PARTS)]
    coins = hadamard(scores.players, LONG, FAR).shown[:COINS]
    found: list[Tensor] = []
    for half in (0, 1):
        others = [design.shown for design in designs[1 - half :: 2]]
        smooth = Smooth.through(torch.cat([*others, coins]).unique(dim=0), scores)
        for design in designs[half::2]:
            left = torch.from_numpy(scores(design.shown)) - smooth(design.shown)
            found.append(smooth.shapley() + shapley_fit(Played(design, left[None])).coef[0])
    each = torch.stack(found)
    return Truth(each.mean(0), each.std(0) / math.sqrt(PARTS))


def owen_truth(scores: Scores) -> Truth:
    """The exact Owen values: the whole tree, split to the end."""
    values = scores.values(OwenShapley(calls=ALL, hierarchy=scores.tree))
    return Truth(values, torch.zeros_like(values))


@dataclass(frozen=True, slots=True)
class Smooth:
    """f(S) = mean + Σ_T a_T ρ^|S△T|, through known coalitions T."""

    known: Tensor
    a: Tensor
    mean: float
    near: float

    @staticmethod
    def through(known: Tensor, scores: Scores) -> Smooth:
        y, near = torch.from_numpy(scores(known)), math.exp(-4 / scores.players)
        mean, each = float(y.mean()), alike(known, known, near)
        each.diagonal().add_(OWN)
        a = torch.cholesky_solve((y - mean)[:, None], torch.linalg.cholesky(each))
        return Smooth(known, a[:, 0], mean, near)

    def __call__(self, shown: Tensor) -> Tensor:
        return self.mean + alike(shown, self.known, self.near) @ self.a

    def shapley(self) -> Tensor:
        return self.a @ shapley_of_powers(self.known, self.near)


def alike(a: Tensor, b: Tensor, near: float) -> Tensor:
    """ρ^|S△T|, [coalitions of a, coalitions of b]."""
    a, b = a.double(), b.double()
    apart = torch.addmm(a.sum(1)[:, None], a, b.mT, alpha=-2).add_(b.sum(1))
    return apart.mul_(math.log(near)).exp_()
