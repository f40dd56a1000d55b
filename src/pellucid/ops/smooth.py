"""Values of a game of which few coalitions are known: those of a Gaussian process through them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pellucid.ops.designs import distinct
from pellucid.ops.enough import Worth
from pellucid.ops.quadrature import gauss_legendre

REACH = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
"""Quarters of the players by which two coalitions differ whose scores correlate by 1 / e."""
ROUGH = (1e-6, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
"""The variance that every coalition has for itself, over the one that it shares."""
TRIED = 256
"""Coalitions by which the two are chosen."""
MOST = 6000
"""Coalitions of which a covariance matrix is made: 300 MB."""


class Values(Protocol):
    """What players are worth, linear in the game; of the games S ↦ ρ^|S△T| in closed form."""

    def games(self, shown: Tensor, near: float) -> Tensor:
        """Their values in one such game for every coalition T; float64 [rows, players]."""
        ...

    def prior(self, near: float) -> Tensor:
        """The variance of each player's value before anything is known, with cov(v(S), v(T)) = ρ^|S△T|."""
        ...


@dataclass(frozen=True, slots=True)
class Shapley:
    """Shapley values of so many players."""

    players: int

    def games(self, shown: Tensor, near: float) -> Tensor:
        """See `shapley_of_powers`."""
        return shapley_of_powers(shown, near)

    def prior(self, near: float) -> Tensor:
        """The same of all players."""
        return _prior(self.players, near)


def smooth_shapley(shown: Tensor, scores: Tensor) -> Worth:
    """Mean and standard deviation of the Shapley values; see `smooth`."""
    return smooth(shown, scores, Shapley(shown.shape[1]))


def smooth(shown: Tensor, scores: Tensor, of: Values) -> Worth:
    """Mean and standard deviation of the values of a Gaussian process that was seen at some coalitions.

    cov(v(S), v(T)) = σ² (ρ^|S△T| + c [S = T]) about a mean that is one unknown number; σ by its formula, ρ and c by the
    restricted likelihood, for every target. The process goes through all that is known, so the values are exact where
    all coalitions are, and add up to v(N) − v(∅) where these two are.

    shown   bool [rows, players], none and all among them
    scores  float64 [target, rows]; equal coalitions have equal scores
    of      what the players are worth: their Shapley values, or Owen values
    """
    once, which = distinct(shown)
    y = scores.new_zeros(len(scores), len(once)).index_copy(1, which, scores - scores[:, :1])
    step = -(-len(once) // TRIED)
    chosen = _likeliest(once[::step], y[:, ::step])
    values, error = (scores.new_zeros(len(scores), shown.shape[1]) for _ in range(2))
    for near, rough in dict.fromkeys(chosen):
        alike = [i for i, one in enumerate(chosen) if one == (near, rough)]
        values[alike], error[alike] = posterior(once, y[alike], near, rough, of)
    return Worth(values, error)


def posterior(shown: Tensor, y: Tensor, near: float, rough: float, of: Values) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [target, player] of what is known from the scores [target, rows]."""
    players, one = shown.shape[1], y.new_ones(y.shape[1], 1)
    factor = torch.linalg.cholesky(_likeness(shown, near) + rough * torch.eye(len(one), dtype=y.dtype))
    games = of.games(shown, near) + rough * of.games(shown, 0.0)
    white = torch.linalg.solve_triangular(factor, torch.cat([one, games, y.mT], 1), upper=False)
    one, games, z = white.split([1, players, len(y)], 1)
    along = one / one.norm()
    left = z - along @ (along.mT @ z)  # the mean taken off
    scale = left.square().sum(0) / max(1, len(one) - 1)
    prior = of.prior(near) + rough * of.prior(0.0)
    spread = prior - games.square().sum(0) + (along.mT @ games)[0].square()
    return left.mT @ games, (scale[:, None] * spread.clamp_min(0)).sqrt()


def shapley_of_powers(shown: Tensor, near: float) -> Tensor:
    """φ_i of the games S ↦ ρ^|S△T|, one for every coalition T; float64 [rows, players].

    ρ^|S△T| is a product over the players, so φ_i = ∫₀¹ ± (1 − ρ) Π_{j≠i} (…) dq, the others there with chance q each
    [Owen 1972]; A and B below are a factor of those in T and of those outside.
    """
    players = shown.shape[1]
    q, weight = _nodes(players)
    a, b, size = q + (1 - q) * near, (1 - q) + q * near, torch.arange(players + 1)[:, None]
    into = (weight * a ** (size - 1).clamp_min(0) * b ** (players - size)).sum(1)
    out = (weight * a**size * b ** (players - 1 - size).clamp_min(0)).sum(1)
    count = shown.sum(1)
    return (1 - near) * torch.where(shown, into[count][:, None], -out[count][:, None])


def _prior(players: int, near: float) -> Tensor:
    """The variance of φ_i before anything is known, with cov(v(S), v(T)) = ρ^|S△T|."""
    q, weight = _nodes(players)
    together = q[:, None] * q + (1 - q[:, None]) * (1 - q)
    each = (together + near * (1 - together)) ** (players - 1)
    return 2 * (1 - near) * (weight @ each @ weight)


def _nodes(players: int) -> Tensor:
    """Nodes and weights that are exact for polynomials in one chance, of as many factors as there are players."""
    return torch.tensor(gauss_legendre(players // 2 + 1), dtype=torch.float64)


def _likeness(shown: Tensor, near: float) -> Tensor:
    """ρ^|S△T| of all pairs of coalitions."""
    z = shown.double()
    return near ** (z.sum(1)[:, None] + z.sum(1) - 2 * z @ z.mT)


def _likeliest(shown: Tensor, y: Tensor) -> list[tuple[float, float]]:
    """ρ and c with the highest restricted likelihood, for every target."""
    rough, said = torch.tensor(ROUGH, dtype=torch.float64), []
    nears = [math.exp(-4 / (reach * shown.shape[1])) for reach in REACH]
    for near in nears:
        values, vectors = torch.linalg.eigh(_likeness(shown, near))
        each = values.clamp_min(0) + rough[:, None]  # [rough, row]
        one, z = vectors.sum(0), (y @ vectors)[:, None]
        known = (one.square() / each).sum(1)
        mean = (one * z / each).sum(2) / known  # [target, rough]
        left = ((z - mean[..., None] * one).square() / each).sum(2)
        scale = (y.shape[1] - 1) * left.clamp_min(torch.finfo(y.dtype).tiny).log()
        said.append(-(scale + each.log().sum(1) + known.log()) / 2)
    best = torch.cat(said, 1).argmax(1).tolist()
    return [(nears[at // len(ROUGH)], ROUGH[at % len(ROUGH)]) for at in best]
