"""LIME with the definitions of R's lime, against what R answered on the same matrices.

What was found: R's ridge is glmnet(alpha = 0, lambda = 2 / n), and with λ / s_y on features of unit variance (s_y the
weighted standard deviation of the response) the closed form agrees with it to 1e-6 of the largest weight, in R², in the
intercept and in the local prediction: what is left is where glmnet's coordinate descent stops (its `thresh` of 1e-7).
With four features it agrees in every single weight to 1e-7; with all twelve, weights 300 times smaller than the largest
agree to 1e-4 of themselves only. The features that are selected are the same in every way that was recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import CELLS, WHITE, additive, weights

from pellucid.api import explain
from pellucid.core.errors import ParameterError
from pellucid.methods.lime import LIME, similarity
from pellucid.ops.designs import Design, coin
from pellucid.ops.games import Played
from pellucid.ops.glmnet import glmnet
from pellucid.ops.ridge import Fit
from pellucid.ops.select import chosen

DATA = Path(__file__).parents[2] / "data" / "r_lime"
RECORDED: dict[str, Any] = json.loads((DATA / "surrogate_fits.json").read_text())
X = torch.tensor(RECORDED["x"], dtype=torch.float64)
Y = torch.tensor(RECORDED["y"], dtype=torch.float64).mT
W = torch.tensor(RECORDED["weights"], dtype=torch.float64)
LABELS = "abc"


def of_r(way: str, label: str) -> list[dict[str, Any]]:
    return [row for row in RECORDED["fits"][way] if row["label"] == label]


def ours(way: str, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> Fit:
    """What LIME fits to a design whose weights are given: those of its own kernel are taken out again."""
    design = Design(shown=x.bool(), weight=w / similarity(x), group=torch.full((len(x),), -1))
    count = None if way == "none" else RECORDED["n_features"]
    return LIME(kernel="cosine", penalty="glmnet", features=count, select=way)._fit(Played(design, y))


@pytest.mark.parametrize("label", ["a", "b"])
@pytest.mark.parametrize("way", ["none", "forward_selection", "highest_weights", "lasso_path"])
def test_the_fits_are_those_of_r(way: str, label: str) -> None:
    rows = of_r(way, label)
    place = LABELS.index(label)
    fit = ours(way, X, Y, W)
    names = [int(row["feature"].removeprefix("f")) - 1 for row in rows]
    recorded = np.array([row["feature_weight"] for row in rows])
    assert sorted(fit.coef[place].nonzero().flatten().tolist()) == sorted(names)
    got = fit.coef[place, names].numpy()
    np.testing.assert_allclose(got, recorded, rtol=1e-3)
    np.testing.assert_allclose(got, recorded, rtol=0, atol=1e-6 * np.abs(recorded).max())
    np.testing.assert_allclose(fit.r2[place], rows[0]["model_r2"], rtol=1e-6)
    np.testing.assert_allclose(fit.intercept[place], rows[0]["model_intercept"], rtol=1e-6)
    local = fit.intercept[place] + fit.coef[place] @ X[0]
    np.testing.assert_allclose(local, rows[0]["model_prediction"], rtol=1e-6)


def test_auto_goes_forward_up_to_six_features_as_r_does() -> None:
    for label in (0, 1, 2):
        assert torch.equal(chosen("auto", X, Y[label], W, 4), chosen("forward_selection", X, Y[label], W, 4))
        assert torch.equal(chosen("auto", X, Y[label], W, 7, True), chosen("highest_weights", X, Y[label], W, 7, True))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("way", ["none", "forward_selection", "highest_weights", "lasso_path", "tree"])
def test_the_order_of_rows_and_of_columns_changes_nothing(way: str, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    rows, columns = torch.randperm(400, generator=draw), torch.randperm(12, generator=draw)
    straight, shuffled = ours(way, X, Y, W), ours(way, X[rows][:, columns], Y[:, rows], W[rows])
    np.testing.assert_allclose(shuffled.coef, straight.coef[:, columns], atol=1e-12)
    np.testing.assert_allclose(shuffled.r2, straight.r2, atol=1e-12)


@given(seed=st.integers(0, 10_000), rows=st.integers(8, 40), columns=st.integers(1, 5), strength=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_the_penalised_sum_is_as_small_as_it_gets(seed: int, rows: int, columns: int, strength: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=draw, dtype=torch.float64) * 3 + 1
    y = torch.randn(1, rows, generator=draw, dtype=torch.float64) * 5
    w = torch.rand(rows, generator=draw, dtype=torch.float64) + 0.1
    share = w / w.sum()

    def deviation(values: torch.Tensor) -> torch.Tensor:
        return (share @ (values - share @ values).square()).sqrt()

    fit = glmnet(x, y, w, strength)
    beta, inner = fit.coef[0].clone().requires_grad_(), fit.intercept[0].clone().requires_grad_()
    lost = share @ (y[0] - inner - x @ beta).square()
    lost = lost + strength / deviation(y[0]) * (deviation(x) * beta).square().sum()
    slope = torch.autograd.grad(lost, (beta, inner))
    assert float(slope[0].abs().max()) < 1e-9 * float(y.abs().max() * x.abs().max())
    assert abs(float(slope[1])) < 1e-9


def test_measured_in_other_units_the_weights_change_with_them_only() -> None:
    scale = torch.tensor([1.0, 100.0, 0.01] * 4, dtype=torch.float64)
    plain, scaled = glmnet(X, Y, W, 0.005), glmnet(X * scale, Y, W, 0.005)
    np.testing.assert_allclose(scaled.coef * scale, plain.coef, rtol=1e-9)
    for way in ("forward_selection", "lasso_path"):
        assert set(chosen(way, X * scale, Y[0], W, 4, True).tolist()) == set(chosen(way, X, Y[0], W, 4, True).tolist())


def test_what_does_not_vary_has_no_weight() -> None:
    x = torch.cat([X, torch.ones(400, 1, dtype=torch.float64)], 1)
    fit = glmnet(x, torch.cat([Y, torch.full((1, 400), 0.25, dtype=torch.float64)]), W, 0.005)
    assert float(fit.coef[:, 12].abs().max()) < 1e-18
    np.testing.assert_allclose(fit.coef[:3, :12], glmnet(X, Y, W, 0.005).coef, rtol=1e-12)
    assert float(fit.coef[3].abs().max()) < 1e-15 and float(fit.intercept[3]) == pytest.approx(0.25)


@pytest.mark.parametrize("kernel", ["cosine", "exponential"])
@pytest.mark.parametrize("penalty", ["glmnet", "ridge"])
def test_a_row_that_shows_nothing_has_a_finite_weight(kernel: str, penalty: str) -> None:
    method = LIME(kernel=kernel, penalty=penalty, ridge=0.0)
    for players in (2, 5):
        design = coin(players, 64, 1).beside(shown=True).beside(shown=False)
        y = (design.shown.double() @ torch.arange(1.0, players + 1, dtype=torch.float64))[None]
        fit = method._fit(Played(design, y))
        np.testing.assert_allclose(fit.coef[0], np.arange(1.0, players + 1), atol=1e-6)
        assert bool(fit.std_error.isfinite().all())


def test_the_similarity_is_the_cosine_of_the_masks() -> None:
    z = coin(9, 40, 0).beside(shown=False).beside(shown=True).shown.double()
    cosine = torch.nn.functional.cosine_similarity(z, torch.ones_like(z))
    np.testing.assert_allclose(similarity(z), cosine, atol=1e-12)


def test_a_linear_game_is_found_with_r_s_definitions() -> None:
    method = LIME(kernel="cosine", penalty="glmnet", ridge=0.0, regions=CELLS, fill="black")
    e = explain(additive(weights()), WHITE, method, target=0, output="logit")[0]
    np.testing.assert_allclose(e.extras["players"][0], weights()[:, 0], rtol=1e-6)
    default = explain(additive(weights()), WHITE, LIME(regions=CELLS, fill="black"), target=0, output="logit")[0]
    assert default.record.params["kernel"] == "exponential" and default.record.params["penalty"] == "ridge"


def test_words_that_are_not_known_are_refused() -> None:
    with pytest.raises(ParameterError, match="gaussian"):
        LIME(kernel="gaussian")
    with pytest.raises(ParameterError, match="forward_selection"):
        LIME(select="forward_selektion")
