"""How often the 95 % intervals of what is sampled hold the truth: over seeds and players, for every estimator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.games import designed, number
from torch import Tensor

from pellucid.api import as_regressor, explain, wrap
from pellucid.methods.banzhaf import Banzhaf
from pellucid.methods.hsic_attribution import HSICAttribution
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME
from pellucid.methods.permutation_shap import PermutationSHAP
from pellucid.methods.rise import RISE
from pellucid.methods.shapley_interactions import ShapleyInteractions
from pellucid.methods.sobol_attribution import SobolAttribution
from pellucid.methods.stratified_shapley import StratifiedShapley
from pellucid.ops.designs import DESIGNS, everything
from pellucid.ops.games import Played, Worth
from pellucid.ops.ridge import ridge
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import shapley, shapley_fit

SEEDS = 100


def solved(played: Played) -> Worth:
    fit = shapley_fit(played)
    return Worth(fit.coef, fit.std_error)


def bits(n: int) -> Tensor:
    return everything(n).shown.double()


def curved(n: int, slope: float = 1.0) -> Tensor:
    """A game like that of a picture, saturated where the slope is high: a sigmoid of a sum with pairs; [2^n, 1]."""
    draw = torch.Generator().manual_seed(11)
    w = torch.randn(n, generator=draw, dtype=torch.float64)
    p = torch.randn(n, n, generator=draw, dtype=torch.float64) / 3
    z = bits(n)
    return torch.sigmoid(slope * (z @ w + ((z @ p) * z).sum(1) - 0.5))[:, None]


def uneven(n: int) -> Tensor:
    """A net with a tanh, neither odd nor even; [2^n, 1]."""
    draw = torch.Generator().manual_seed(5)
    hidden = torch.tanh(bits(n) @ torch.randn(n, 12, generator=draw, dtype=torch.float64) / 2)
    return hidden @ torch.randn(12, 1, generator=draw, dtype=torch.float64)


GAMES = {"curved": curved(10), "saturated": curved(10, 4.0), "uneven": uneven(10)}


def held(found: list[Worth], truth: Tensor, independent: int = 1000) -> None:
    """Between 90 and 99 of 100 intervals hold the truth; Student's t for as many independent draws."""
    t = {10: 2.26, 16: 2.13}.get(independent, 1.96)
    values = torch.stack([w.values for w in found])
    error = torch.stack([w.std_error for w in found if w.std_error is not None])
    share = float(((values - truth).abs() <= t * error).double().mean())
    assert 0.90 <= share <= 0.99, share


def played(method: Any, worths: Tensor) -> Played:
    design = designed(method, worths.shape[0].bit_length() - 1)
    return Played(design, worths[number(design.shown)].mT)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("design", KERNELS)
@pytest.mark.parametrize("samples", [150, 600])
def test_kernel_shap(game: str, design: str, samples: int) -> None:
    v = GAMES[game]
    found = [solved(played(KernelSHAP(samples=samples, seed=seed, design=design), v)) for seed in range(SEEDS)]
    held(found, shapley(v.mT))


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("samples", [20, 60])
def test_permutation_shap(game: str, antithetic: bool, samples: int) -> None:
    found: list[Worth] = []
    for seed in range(SEEDS):
        method = PermutationSHAP(samples=samples, antithetic=antithetic, seed=seed)
        found.append(method._mean(played(method, GAMES[game])))
    held(found, shapley(GAMES[game].mT), samples // 2 if antithetic else samples)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("strata", [2, 4])
def test_stratified_shapley(game: str, strata: int) -> None:
    found: list[Worth] = []
    for seed in range(SEEDS):
        method = StratifiedShapley(samples=10 * strata, strata=strata, seed=seed)
        design = designed(method, 10)
        found.append(method._mean(Played(design, GAMES[game][number(design.shown)].mT)))
    held(found, shapley(GAMES[game].mT), 10)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("samples", [256])
def test_banzhaf(game: str, design: str, samples: int) -> None:
    v, z = GAMES[game], bits(10)
    truth = (2 * z - 1).mT @ v / 512
    found: list[Worth] = []
    for seed in range(SEEDS):
        p = played(Banzhaf(samples=samples, design=design, seed=seed), v)
        fit = ridge(p.design.shown, p.scores, p.design.weight, group=p.design.group)
        found.append(Worth(fit.coef, fit.std_error))
    held(found, truth.mT, 16 if design == "sobol" else 1000)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("samples", [256])
def test_lime(game: str, design: str, samples: int) -> None:
    """The truth is what as many samples tend to: all coalitions alike, the whole picture once more, the penalty."""
    v = GAMES[game]
    every = everything(10).beside(shown=True)
    alike = torch.cat([torch.ones(1), torch.full((1024,), samples / 1024)]).double()
    truth = LIME()._fit(Played(replace(every, weight=alike), torch.cat([v[-1:], v]).mT)).coef
    found: list[Worth] = []
    for seed in range(SEEDS):
        drawn = DESIGNS[design](10, samples, seed).beside(shown=True)
        fit = LIME()._fit(Played(drawn, v[number(drawn.shown)].mT))
        found.append(Worth(fit.coef, fit.std_error))
    held(found, truth, 16 if design == "sobol" else 1000)


def faded(slope: float) -> Any:
    """The game of `curved` for regions that are there in part, as a model of rows of ten numbers."""
    draw = torch.Generator().manual_seed(11)
    w = torch.randn(10, generator=draw, dtype=torch.float64)
    p = torch.randn(10, 10, generator=draw, dtype=torch.float64) / 3

    def score(rows: Any) -> Any:
        z = torch.as_tensor(np.asarray(rows))
        return torch.sigmoid(slope * (z @ w + ((z @ p) * z).sum(1) - 0.5)).numpy()

    return as_regressor(wrap(score, np.zeros((3, 10))))


def worth_of(model: Any, method: Any, x: Any) -> Worth:
    e = explain(model, x, method)[0]
    assert e.std_error is not None
    return Worth(e.values[0].double().reshape(1, -1), e.std_error[0].double().reshape(1, -1))


@pytest.mark.parametrize("slope", [1.0, 4.0])
@pytest.mark.parametrize("order", ["total", "first"])
def test_sobol(slope: float, order: str) -> None:
    model, x = faded(slope), np.ones((1, 10))
    truth = worth_of(model, SobolAttribution(samples=8192, order=order, seed=1000), x).values
    found = [worth_of(model, SobolAttribution(samples=128, order=order, seed=s), x) for s in range(SEEDS)]
    held(found, truth, 16)


def test_hsic() -> None:
    model, x = faded(1.0), np.ones((1, 10))
    many = [worth_of(model, HSICAttribution(samples=2000, seed=s), x).values for s in range(1000, 1004)]
    found = [worth_of(model, HSICAttribution(samples=200, seed=s), x) for s in range(SEEDS // 2)]
    held(found, torch.stack(many).mean(0))


def test_interactions() -> None:
    model, x = faded(1.0), np.ones((1, 10))
    truth = worth_of(model, ShapleyInteractions(samples=900, seed=0), x).values
    found = [worth_of(model, ShapleyInteractions(samples=200, seed=s), x) for s in range(SEEDS)]
    held(found, truth)


@pytest.mark.parametrize("estimator", ["mean", "regression"])
def test_rise(estimator: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh())
    model, x = wrap(torch.nn.Sequential(net, torch.nn.Linear(8, 2)).eval()), torch.rand(1, 1, 16, 16)
    many = [worth_of(model, RISE(samples=10_000, grid=4, estimator=estimator, seed=s), x) for s in range(1000, 1004)]
    truth = torch.stack([one.values for one in many]).mean(0)
    found = [worth_of(model, RISE(samples=300, grid=4, estimator=estimator, seed=s), x) for s in range(SEEDS)]
    held(found, truth)
