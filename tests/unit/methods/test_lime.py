"""LIME against its equations, against the Python `lime` on the same masks, and how often its intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.games import CELLS, PLAYERS, WHITE, additive, looked_up, number, table, weights
from tests.unit.models import Convnet, net, pictures

from pellucid.api import explain
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.lime import LIME, kernel
from pellucid.ops.designs import DESIGNS, coin
from pellucid.ops.games import Played, Worth, fidelity

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}
NET: Any = net(Convnet())


def one(model: Any, method: Any, x: torch.Tensor = WHITE, target: Any = 0) -> Explanation:
    return explain(model, x, method, target=target, output="logit")[0]


def test_the_kernel_is_that_of_the_cosine_distance_between_masks() -> None:
    z = coin(9, 40, 0).beside(shown=False).beside(shown=True).shown.double()
    got = kernel(z, 0.25)
    for mask, weight in zip(z, got, strict=True):
        cosine = float(mask.sum() / (mask.norm() * 3)) if mask.any() else 0.0
        assert abs(float(weight) - float(np.sqrt(np.exp(-((1 - cosine) ** 2) / 0.25**2)))) < 1e-12
    assert got[0] == 1
    assert bool(got.isfinite().all())  # of the empty coalition too
    assert bool((kernel(z, 0.25)[z.sum(1).argsort()].diff() >= 0).all())  # nearer counts more


@pytest.mark.parametrize("target", [0, 1])
def test_without_penalty_it_is_least_squares_with_the_kernel_as_weights(target: int) -> None:
    worths = table()
    method = LIME(samples=200, ridge=0.0, design="coin", **BLACK)
    e = one(looked_up(worths), method, target=target)
    z = coin(PLAYERS, 200, 0).beside(shown=True).shown
    root = kernel(z.double(), 0.25).sqrt().numpy()
    a = np.hstack([z.double().numpy(), np.ones((201, 1))])
    y = worths[number(z), target].numpy()
    beta = np.linalg.lstsq(a * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(e.extras["players"][0], beta[:-1], rtol=1e-9)
    np.testing.assert_allclose(e.extras["intercept"], beta[-1:], rtol=1e-9)
    np.testing.assert_allclose(e.extras["prediction"], [beta.sum()], rtol=1e-9)


LIME_PY = ("none", "highest_weights", "forward_selection", "lasso_path", "auto")


@pytest.mark.peers
@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("way", LIME_PY)
def test_the_python_lime_finds_the_same_on_the_same_masks(way: str, count: int) -> None:
    base = pytest.importorskip("lime.lime_base")
    players, samples = 12, 300
    z = coin(players, samples, 5).beside(shown=True)
    draw = torch.Generator().manual_seed(2)
    w = torch.randn(players, 2, generator=draw, dtype=torch.float64)
    y = torch.sigmoid(z.shown.double() @ w + 0.3 * (z.shown[:, :1] & z.shown[:, 3:4]))
    mine = LIME(features=count, select=way)
    fit = mine._fit(Played(z, y.mT))
    for label in (0, 1):
        data = z.shown.double().numpy()
        distances = 1 - np.sqrt(data.mean(1))
        theirs = base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
        intercept, features, score, local = theirs.explain_instance_with_data(
            data, y.numpy(), distances, label, count, feature_selection=way
        )
        wanted = np.zeros(players)
        for place, value in features:
            wanted[place] = value
        np.testing.assert_allclose(fit.coef[label], wanted, atol=1e-8)
        np.testing.assert_allclose(fit.intercept[label], intercept, atol=1e-8)
        np.testing.assert_allclose(fit.r2[label], score, atol=1e-8)
        np.testing.assert_allclose(fit.intercept[label] + fit.coef[label].sum(), local[0], atol=1e-8)


def test_only_so_many_regions_have_a_weight_as_were_asked_for() -> None:
    e = one(additive(weights()), LIME(features=2, **BLACK))
    kept = e.extras["players"][0].nonzero().flatten()
    assert len(kept) == 2
    assert set(kept.tolist()) == set(weights()[:, 0].abs().argsort(descending=True)[:2].tolist())
    assert int((one(additive(weights()), LIME(**BLACK)).extras["players"] != 0).sum()) == PLAYERS


@pytest.mark.parametrize("design", ["coin", "paired", "sobol", "hadamard"])
def test_intervals_hold_as_often_as_they_say(design: str) -> None:
    players = 9
    draw = torch.Generator().manual_seed(4)
    z = ((torch.arange(2**players)[:, None] >> torch.arange(players)) & 1).double()
    w = torch.randn(players, generator=draw, dtype=torch.float64)
    y = torch.sigmoid(z @ w - 0.5 + 0.7 * z[:, 0] * z[:, 1])[:, None]
    near = kernel(z, 0.25)
    a = torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], 1)
    truth = torch.linalg.solve(a.mT @ (near[:, None] * a), a.mT @ (near[:, None] * y))[:players, 0]
    inside = []
    for seed in range(100):
        method = LIME(samples=256, ridge=1e-9, design=design, seed=seed)
        drawn = DESIGNS[design](players, 256, seed).beside(shown=True)
        fit = method._fit(Played(drawn, y[number(drawn.shown)].mT))
        inside.append((fit.coef[0] - truth).abs() <= 1.96 * fit.std_error[0])
    assert 0.90 <= float(torch.stack(inside).double().mean()) <= 0.99


def test_a_low_fit_turns_red() -> None:
    parity = (1.0 - 2.0 * (torch.tensor([k.bit_count() for k in range(64)]) % 2))[:, None].double()
    checks = {c.name: c for c in one(looked_up(parity), LIME(**BLACK)).checks}
    assert checks["r2"].passed == (False,)
    good = {c.name: c for c in one(additive(weights()), LIME(**BLACK)).checks}
    assert good["r2"].passed == (True,)
    assert fidelity([torch.tensor([0.49, 0.51])]).passed.tolist() == [[False], [True]]


def test_probabilities_are_explained_unless_somebody_asks_for_logits() -> None:
    x = pictures(1)
    e = explain(NET, x, LIME(regions="cells(2, 2)"), target=0)[0]
    assert e.target.output == "probability"


def test_hiding_all_of_the_time_is_refused() -> None:
    with pytest.raises(ParameterError, match="p_remove"):
        one(NET, LIME(p_remove=1.0), pictures(1))
    rarely = one(additive(weights()), LIME(p_remove=0.2, ridge=0.0, **BLACK))
    np.testing.assert_allclose(rarely.extras["players"][0], weights()[:, 0], rtol=1e-8)


def test_columns_of_hadamard_are_drawn_unless_they_cannot_be() -> None:
    model = looked_up(table())
    found = {
        (design, removed): one(model, LIME(samples=20, design=design, p_remove=removed, **BLACK)).extras["players"]
        for design, removed in (("auto", 0.5), ("hadamard", 0.5), ("auto", 0.4), ("coin", 0.4))
    }
    assert torch.equal(found["auto", 0.5], found["hadamard", 0.5])
    assert torch.equal(found["auto", 0.4], found["coin", 0.4])


def test_a_worth_may_be_without_an_error() -> None:
    assert Worth(torch.zeros(1, 2)).std_error is None
