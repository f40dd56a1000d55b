"""Shapley values and interactions from scores: by weighted least squares, or from all coalitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pellucid.ops.designs import Design
from pellucid.ops.games import Played
from pellucid.ops.press import foretold, once, unseen
from pellucid.ops.ridge import Fit, explained, ridge


def single(shown: Tensor) -> Tensor:
    """One term for every player, z_i."""
    return shown


def pairs(shown: Tensor) -> Tensor:
    """One term for every player and every pair of them, z_i and z_i z_j, pairs as `torch.triu_indices` has them."""
    i, j = torch.triu_indices(shown.shape[1], shown.shape[1], 1)
    return torch.cat([shown, shown[:, i] * shown[:, j]], 1)


def shared_pairs(shown: Tensor) -> Tensor:
    """The same linear functions, with a pair's credit shared by its players: z_i and z_i z_j − (z_i + z_j) / 2."""
    i, j = torch.triu_indices(shown.shape[1], shown.shape[1], 1)
    return torch.cat([shown, shown[:, i] * shown[:, j] - (shown[:, i] + shown[:, j]) / 2], 1)


def shapley_fit(played: Played, terms: Callable[[Tensor], Tensor] = single) -> Fit:
    """min over c of Σ_S k(S) (v(∅) + f(S)·c − v(S))²,  f(N)·c = v(N) − v(∅)    [Lundberg & Lee 2017; Tsai et al. 2023]

    played  of a design of `ops.shapley_designs` behind none and all; scores [target, samples]
    terms   f, from coalitions [rows, players] to [rows, term]; nothing for the empty one

    The sum is kept by writing c = a (v(N) − v(∅)) / |a|² + ψ with a = f(N), a·ψ = 0. `intercept` is v(∅); `r2` is that
    of the scores of coalitions between none and all.
    """
    design, v = played.design.after(2), played.scores
    part, f, x, rest, pinned = _system(design, played, terms)
    y = torch.nn.functional.pad(rest, (1, 0))
    fit = ridge(x, y, pinned.weight, group=pinned.group, intercept=False, stratum=pinned.stratum, known=pinned.known)
    left = rest - fit.coef @ f.mT
    return replace(fit, coef=fit.coef + part, intercept=v[:, 0], r2=_r2(v[:, 2:], left, design.weight))


def shapley_held_out(played: Played, terms: Callable[[Tensor], Tensor] = single) -> Tensor:
    """R² of the scores between none and all, each predicted by the fit without its coalition, [target]."""
    if len(played.design.shown) < 4:
        return torch.ones(len(played.scores), dtype=torch.float64)
    design, v = once(played.design.after(2), played.scores[:, 2:])
    both = Played(played.design, torch.cat([played.scores[:, :2], v], 1))
    _, _, x, rest, pinned = _system(design, both, terms)
    wrong = unseen(x, torch.nn.functional.pad(rest, (1, 0)), pinned.weight, intercept=False)[:, 1:]
    return foretold(v, wrong, design.weight)


def _system(
    design: Design, played: Played, terms: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Design]:
    """What is the same for all terms; the terms of coalitions; those of ψ, and what they are to explain; the weights.

    design: of the coalitions between none and all. The first row of ψ's says a·ψ = 0, of which the others say nothing.
    """
    v = played.scores
    every, f = terms(played.design.shown[1:2].double())[0], terms(design.shown.double())
    a, whole = every / every.norm(), (v[:, 1] - v[:, 0])[:, None]
    part = whole * a / every.norm()
    rest = v[:, 2:] - v[:, :1] - part @ f.mT
    pinned = design.beside(shown=True, weight=float(design.weight.sum()) or 1.0)
    return part, f, torch.cat([a[None], f - (f @ a)[:, None] * a]), rest, pinned


def _r2(v: Tensor, left: Tensor, weight: Tensor) -> Tensor:
    return explained(v, left, weight) if len(weight) else torch.ones_like(v[:, :0].sum(1))


def shapley(v: Tensor) -> Tensor:
    """Shapley values [target, n] of games given by all their 2ⁿ scores, [target, 2ⁿ]; bit i is player i."""
    players = v.shape[1].bit_length() - 1
    weights = [1 / (players * math.comb(players - 1, k)) for k in range(players)]
    weight = v.new_tensor(weights)[_sizes(players - 1)]
    values: list[Tensor] = []
    for i in range(players):
        without, having = v.view(len(v), -1, 2, 1 << i).unbind(2)
        values.append((having - without).flatten(1) @ weight)
    return torch.stack(values, 1)


def interactions(v: Tensor) -> Tensor:
    """Shapley interaction indices of all pairs, [target, n (n − 1) / 2], of games given by all their 2ⁿ scores.

    I_ij = Σ_T |T|! (n − |T| − 2)! / (n − 1)! · (v(T ∪ ij) − v(T ∪ i) − v(T ∪ j) + v(T))    [Grabisch & Roubens 1999]
    """
    players = v.shape[1].bit_length() - 1
    if players < 2:
        return v[:, :0]
    weights = [1 / ((players - 1) * math.comb(players - 2, k)) for k in range(players - 1)]
    weight = v.new_tensor(weights)[_sizes(players - 2)]
    values: list[Tensor] = []
    for i, j in torch.triu_indices(players, players, 1).mT.tolist():
        none, one = v.view(len(v), -1, 2, 1 << j - i - 1, 2, 1 << i).unbind(4)
        both = (one - none).diff(dim=2)
        values.append(both.flatten(1) @ weight)
    return torch.stack(values, 1)


def _sizes(players: int) -> Tensor:
    """How many players are in each of all coalitions, int64 [2^players]."""
    at = torch.arange(1 << max(0, players))
    return (at[:, None] >> torch.arange(max(1, players)) & 1).sum(1)
