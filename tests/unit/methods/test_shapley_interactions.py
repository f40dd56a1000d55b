"""Joint effects of pairs: against their definitions by enumeration, games that have only pairs, axioms, and errors."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import CELLS, PLAYERS, WHITE, looked_up, number, shapley_by_hand, table
from torch import Tensor

from pellucid.api import explain, wrap
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.shapley_interactions import ShapleyInteractions
from pellucid.ops.designs import everything
from pellucid.ops.games import Played
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import interactions, pairs, shapley, shapley_fit, shared_pairs

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}
INDICES = ("faith", "k_sii")


def one(worths: Tensor, target: int = 0, **how: Any) -> Explanation:
    method = ShapleyInteractions(**BLACK, **how)
    return explain(looked_up(worths), WHITE, method, target=target, output="logit")[0]


def close(got: Any, wanted: Any, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    got, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (got, wanted))
    torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol)


def sii_by_hand(v: list[float]) -> Tensor:
    """The mean joint effect of every pair over coalitions of the others, by sets."""
    n = len(v).bit_length() - 1
    found = torch.zeros(n, n, dtype=torch.float64)
    for i, j in combinations(range(n), 2):
        rest = [k for k in range(n) if k not in (i, j)]
        for size in range(n - 1):
            for some in combinations(rest, size):
                t = sum(1 << k for k in some)
                joint = v[t | 1 << i | 1 << j] - v[t | 1 << i] - v[t | 1 << j] + v[t]
                found[i, j] += factorial(size) * factorial(n - size - 2) / factorial(n - 1) * joint
    return found + found.mT


def faith_by_hand(v: Tensor) -> Tensor:
    """The best fit by the Shapley kernel that is exact for none and all, from its normal equations with multipliers."""
    n = len(v).bit_length() - 1
    terms = [1 << i for i in range(n)] + [1 << i | 1 << j for i, j in combinations(range(n), 2)]
    rows = [[float(s & t == t) for t in terms] for s in range(1, 2**n - 1)]
    w = [(n - 1) / (comb(n, s.bit_count()) * s.bit_count() * (n - s.bit_count())) for s in range(1, 2**n - 1)]
    x, y, weight = torch.tensor(rows).double(), v[1:-1] - v[0], torch.tensor(w, dtype=torch.float64)
    gram = x.mT @ (weight[:, None] * x)
    edge = torch.ones(len(terms), 1).double()
    whole = torch.cat([torch.cat([gram, edge], 1), torch.cat([edge.mT, torch.zeros(1, 1).double()], 1)])
    right = torch.cat([x.mT @ (weight * y), (v[-1] - v[0])[None]])
    return torch.linalg.solve(whole, right)[:-1]


@pytest.mark.parametrize("show", ["total", "own"])
def test_k_sii_is_the_mean_joint_effect(show: str) -> None:
    worths = table()
    for target in (0, 1):
        e = one(worths, target, index="k_sii", show=show)
        joint, phi = sii_by_hand(worths[:, target].tolist()), shapley_by_hand(worths[:, target].tolist())
        own = torch.tensor(phi, dtype=torch.float64) - joint.sum(1) / 2
        close(e.extras["interactions"][0], joint + own.diag())
        close(e.extras["players"][0], phi if show == "total" else own)


@pytest.mark.parametrize("show", ["total", "own"])
def test_faith_is_the_best_fit(show: str) -> None:
    worths = table()
    for target in (0, 1):
        e = one(worths, target, index="faith", show=show)
        wanted = faith_by_hand(worths[:, target])
        i, j = torch.triu_indices(PLAYERS, PLAYERS, 1)
        got = e.extras["interactions"][0]
        close(got.diagonal(), wanted[:PLAYERS])
        close(got[i, j], wanted[PLAYERS:])
        close(got, got.mT)
        phi = shapley_by_hand(worths[:, target].tolist())
        close(e.extras["players"][0], phi if show == "total" else wanted[:PLAYERS])
        assert not bool(e.extras["interactions_std_error"].any())


@pytest.mark.parametrize("index", INDICES)
def test_games_of_pairs_are_found_as_they_are(index: str) -> None:
    draw = torch.Generator().manual_seed(3)
    w, p = torch.randn(PLAYERS, generator=draw).double(), torch.randn(PLAYERS, PLAYERS, generator=draw).double().triu(1)
    z = everything(PLAYERS).shown.double()
    worths = (2 + z @ w + ((z @ p) * z).sum(1))[:, None]
    for how in ({}, {"samples": 50}) if index == "faith" else ({},):
        e = one(worths, index=index, **how)
        close(e.extras["interactions"][0], p + p.mT + w.diag(), rtol=1e-8)
        assert all(check.passed == (True,) for check in e.checks)
        assert index == "k_sii" or {c.name: c.value[0] for c in e.checks}["r2"] == pytest.approx(1)


@given(st.integers(1, 6), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_axioms(n: int, seed: int) -> None:
    v, at = table(1, n, seed)[:, 0], torch.arange(2**n)
    i, j = torch.triu_indices(n, n, 1)
    none = interactions(v[at & ~1][None])[0]
    assert not bool(none[(i == 0) | (j == 0)].any())
    close(interactions((3 * v - v.square())[None]), 3 * interactions(v[None]) - interactions(v.square()[None]))
    design = KERNELS["kernel"](n, 2**n, 0).beside(shown=True).beside(shown=False)
    for terms in (pairs, shared_pairs):
        ignored = shapley_fit(Played(design, v[at & ~1][number(design.shown)][None]), terms).coef[0]
        close(ignored[0], 0.0)
        close(ignored[n:][(i == 0) | (j == 0)], torch.zeros(n - 1))
    if n > 2:
        swapped = (at & ~3) | (at >> 1 & 1) | (at & 1) << 1
        alike = interactions((v + v[swapped])[None])[0]
        close(alike[(i == 0) & (j > 1)], alike[(i == 1) & (j > 1)])


@given(st.integers(2, 9), st.integers(80, 200), st.integers(0, 9), st.sampled_from(sorted(KERNELS)))
@settings(max_examples=40, deadline=None)
def test_sampled_effects_add_up(n: int, samples: int, seed: int, design: str) -> None:
    worths = table(2, n, seed)
    drawn = KERNELS[design](n, samples, seed).beside(shown=True).beside(shown=False)
    played = Played(drawn, worths[number(drawn.shown)].mT)
    for terms, every in ((pairs, slice(None)), (shared_pairs, slice(n))):
        close(shapley_fit(played, terms).coef[:, every].sum(1), worths[-1] - worths[0], rtol=1e-7)


@pytest.mark.parametrize("design", KERNELS)
def test_intervals_hold(design: str) -> None:
    n = 9
    z = everything(n).shown.double()
    draw = torch.Generator().manual_seed(4)
    v = torch.sigmoid(2 * z @ torch.randn(n, generator=draw).double() - 1)[:, None]
    every = KERNELS["kernel"](n, 2**n, 0).beside(shown=True).beside(shown=False)
    truth = shapley_fit(Played(every, v[number(every.shown)].mT), shared_pairs).coef
    close(truth[:, :n], shapley(v.mT))
    found = []
    for seed in range(60):
        drawn = KERNELS[design](n, 250, seed).beside(shown=True).beside(shown=False)
        found.append(shapley_fit(Played(drawn, v[number(drawn.shown)].mT), shared_pairs))
    off = torch.stack([(fit.coef - truth).abs() / fit.std_error for fit in found])
    assert 0.90 <= float((off <= 1.96).double().mean()) <= 0.99


def test_any_rows_play_and_a_product_is_a_joint_effect() -> None:
    model = wrap(lambda rows: torch.stack([rows[:, 0] * rows[:, 1] + rows[:, 2]], 1), name="by hand")
    x = torch.tensor([[2.0, 3.0, 5.0]], dtype=torch.float64)
    for index in INDICES:
        e = explain(model, x, ShapleyInteractions(index=index, fill=torch.zeros(3)), target=0)[0]
        close(e.extras["interactions"][0], [[0, 6, 0], [6, 0, 0], [0, 0, 5]])
        close(e.values[0], [3, 3, 5])


def test_too_few_samples_and_too_many_players_are_refused() -> None:
    worths = table()
    with pytest.raises(ParameterError, match="15 pairs"):
        one(worths, samples=29)
    few = {"samples": 30, "design": "kernel"}  # drawn twice, they say nothing new
    with pytest.raises(ParameterError, match="15 pairs"):
        one(worths, **few)
    many: dict[str, Any] = {"regions": "cells(4, 5)", "fill": "black"}
    with pytest.raises(ParameterError, match="at most 16"):
        explain(looked_up(worths), WHITE, ShapleyInteractions(index="k_sii", **many), target=0)
