"""Shapley values of a Gaussian process: against all coalitions, and against conditioning written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.ops.designs import everything
from pellucid.ops.games import Played
from pellucid.ops.shapley_designs import leverage
from pellucid.ops.shapley_fit import shapley, shapley_fit
from pellucid.ops.smooth import Shapley, posterior, shapley_of_powers, smooth_shapley

PLAYERS = 6
ALL = everything(PLAYERS).shown
LINEAR = shapley(torch.eye(len(ALL), dtype=torch.float64)).mT
"""Shapley values as a matrix on the scores of all coalitions, [player, coalition]."""


def covariance(near: float, rough: float) -> Tensor:
    differ = (ALL[:, None] != ALL).sum(2)
    return near ** differ.double() + rough * torch.eye(len(ALL), dtype=torch.float64)


def some(count: int, seed: int = 0) -> Tensor:
    """None, all, and others, without repetition."""
    draw = torch.Generator().manual_seed(seed)
    return torch.cat([torch.tensor([0, len(ALL) - 1]), 1 + torch.randperm(len(ALL) - 2, generator=draw)[:count]])


@pytest.mark.parametrize("near", [0.0, 0.3, 0.95])
def test_games_of_powers_are_those_of_all_their_coalitions(near: float) -> None:
    differ = (ALL[:, None] != ALL).sum(2).double()
    torch.testing.assert_close(shapley_of_powers(ALL, near), shapley(near**differ), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("near", "rough"), [(0.6, 0.1), (0.95, 1e-3)])
def test_the_posterior_is_that_of_conditioning_the_whole_game(near: float, rough: float) -> None:
    at, k = some(20), covariance(near, rough)
    y = torch.randn(3, len(at), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide = k + 1e7  # a mean that is not known
    gain = torch.linalg.solve(wide[at][:, at], wide[at]).mT
    mean = y @ gain.mT @ LINEAR.mT
    left = y - (y @ torch.linalg.inv(k[at][:, at])).sum(1, keepdim=True) / torch.linalg.inv(k[at][:, at]).sum()
    scale = (left @ torch.linalg.inv(k[at][:, at]) * left).sum(1) / (len(at) - 1)
    spread = (LINEAR @ (wide - gain @ wide[at]) @ LINEAR.mT).diagonal()
    values, error = posterior(ALL[at], y, near, rough, Shapley(PLAYERS))
    torch.testing.assert_close(values, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(error, (scale[:, None] * spread).sqrt(), rtol=1e-4, atol=1e-6)


def test_values_are_exact_where_all_coalitions_are_known_and_always_add_up() -> None:
    v = torch.randn(2, len(ALL), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    known = smooth_shapley(ALL, v)
    torch.testing.assert_close(known.values, shapley(v), rtol=1e-9, atol=1e-9)
    assert known.std_error is not None
    assert float(known.std_error.max()) < 1e-5
    at = some(9)
    few = smooth_shapley(ALL[at], v[:, at])
    torch.testing.assert_close(few.values.sum(1), v[:, -1] - v[:, 0], rtol=1e-9, atol=1e-9)


def test_a_target_does_not_depend_on_the_others_nor_on_coalitions_that_come_twice() -> None:
    v = torch.randn(3, len(ALL), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    v[1] = ALL.double() @ torch.arange(PLAYERS, dtype=torch.float64)
    at = some(30)
    whole, twice = smooth_shapley(ALL[at], v[:, at]), torch.cat([at, at[:7]])
    for i in range(3):
        alone = smooth_shapley(ALL[twice], v[i : i + 1, twice])
        torch.testing.assert_close(alone.values[0], whole.values[i], rtol=1e-9, atol=1e-12)


def test_the_error_is_as_large_as_it_says() -> None:
    """Games drawn from a process whose ρ and c are none of those that are tried."""
    factor = torch.linalg.cholesky(covariance(0.7, 0.02))
    off: list[Tensor] = []
    for seed in range(60):
        draw = torch.Generator().manual_seed(seed)
        v = (factor @ torch.randn(len(ALL), 1, generator=draw, dtype=torch.float64)).mT + 5
        at = some(24, seed)
        found = smooth_shapley(ALL[at], v[:, at])
        assert found.std_error is not None
        off.append((found.values - shapley(v)) / found.std_error)
    assert 0.85 < float(torch.stack(off).square().mean().sqrt()) < 1.2


def test_a_game_that_saturates_needs_fewer_coalitions_than_least_squares() -> None:
    players, draw = 40, torch.Generator().manual_seed(4)
    w = torch.rand(players, generator=draw, dtype=torch.float64).pow(3) * 6

    def v(z: Tensor) -> Tensor:
        return torch.sigmoid(z.double() @ w - w.sum() / 2 + z[:, 0] * z[:, 1])[None]

    def played(samples: int, seed: int) -> Played:
        d = leverage(players, samples, seed).beside(shown=True).beside(shown=False)
        return Played(d, v(d.shown))

    truth = torch.stack([shapley_fit(played(4000, seed)).coef for seed in range(4)]).mean(0)
    errors: list[Tensor] = []
    for one in (played(200, 10 + seed) for seed in range(5)):
        both = shapley_fit(one).coef, smooth_shapley(one.design.shown, one.scores).values
        errors.append(torch.stack([(found - truth).square().mean() for found in both]))
    squares, process = torch.stack(errors).mean(0).sqrt().tolist()
    assert process < squares / 1.5
