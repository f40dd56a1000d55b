"""TabularLIME beside the Python lime, given the rows that lime drew and what the model said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.peers.with_lime_tables import RNG, TRAIN, W, columns, kept, lime_s, probabilities

from pellucid import TabularLIME
from pellucid.ops.columns import Columns, Drawn

lime_tabular = pytest.importorskip("lime.lime_tabular")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

CASES = [
    ({}, {}),
    ({"discretizer": "decile"}, {"bins": 10}),
    ({"kernel_width": 1.3}, {"width": 1.3}),
    ({"discretize_continuous": False}, {"bins": 0}),
    ({"discretize_continuous": False, "sample_around_instance": True}, {"bins": 0, "draw": "around"}),
]


@pytest.mark.parametrize(("theirs", "mine"), CASES)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("count", [4, 2])
def test_the_same_rows_give_the_same_model(theirs: Any, mine: Any, metric: str, count: int) -> None:
    explainer, row = lime_s(**theirs), TRAIN[7].copy()
    said, rows, scores = kept(
        explainer, row, probabilities, labels=(0, 1, 2), num_features=count, distance_metric=metric
    )
    method = TabularLIME(distance=metric, features=count, **mine)
    fit, there, _ = method._fit(columns(method), rows, scores, torch.full((len(rows),), -1))
    for label in (0, 1, 2):
        wanted = np.zeros(4)
        for place, weight in said.local_exp[label]:
            wanted[place] = weight
        np.testing.assert_allclose(fit.coef[label], wanted, atol=1e-8)
        np.testing.assert_allclose(fit.intercept[label], said.intercept[label], atol=1e-8)
    np.testing.assert_allclose(fit.r2[2], said.score, atol=1e-8)  # lime keeps those of the last label
    np.testing.assert_allclose(there[2], np.asarray(said.local_pred)[0], atol=1e-8)


@pytest.mark.parametrize("way", ["none", "forward_selection", "highest_weights", "lasso_path"])
def test_features_are_selected_alike(way: str) -> None:
    said, rows, scores = kept(lime_s(feature_selection=way), TRAIN[11].copy(), probabilities, num_features=2)
    method = TabularLIME(features=2, select=way)
    fit, *_ = method._fit(columns(method), rows, scores, torch.full((len(rows),), -1))
    wanted = np.zeros(4)
    for place, weight in said.local_exp[1]:
        wanted[place] = weight
    np.testing.assert_allclose(fit.coef[1], wanted, atol=1e-8)


def test_regressors() -> None:
    explainer = lime_s(mode="regression")
    said, rows, scores = kept(explainer, TRAIN[3].copy(), lambda r: np.tanh(r / 5) @ W[:, 0], num_features=4)
    method = TabularLIME()
    fit, there, _ = method._fit(columns(method), rows, scores, torch.full((len(rows),), -1))
    np.testing.assert_allclose(
        [fit.coef[0][i] for i, _ in said.local_exp[1]], [w for _, w in said.local_exp[1]], atol=1e-8
    )
    np.testing.assert_allclose(fit.r2[0], said.score, atol=1e-8)
    np.testing.assert_allclose(there[0], np.asarray(said.local_pred)[0], atol=1e-8)


def test_the_rows_that_are_drawn_follow_the_same_law() -> None:
    """Means and deviations of 4,000 rows of each, in bins and without them."""
    for theirs, mine in (CASES[0], CASES[3], CASES[4]):
        explainer, row = lime_s(**theirs), TRAIN[7].copy()
        rows = torch.cat([kept(explainer, row, probabilities)[1][1:] for _ in range(5)])
        method = TabularLIME(**mine)
        x = torch.from_numpy(row)[None]
        around = Drawn.of(columns(method), x, torch.rand(4000, 4, generator=torch.Generator().manual_seed(1)).double())
        ours = around.rows(0, 4000, 0, 1)
        error = rows.std(0) / len(rows) ** 0.5 * 2**0.5
        assert bool(((ours.mean(0) - rows.mean(0)).abs() < 4 * error).all())
        np.testing.assert_allclose(ours.std(0), rows.std(0), rtol=0.08)


def test_a_column_that_is_mostly_one_value_is_drawn_as_it_is_by_us_only() -> None:
    """Where a quartile is the smallest value, lime's bin has no width, and it draws the value in deviations."""
    half = np.where(np.arange(300) % 3 > 0, 5.0, RNG.uniform(6, 9, 300))
    train = np.column_stack([half, RNG.normal(size=300)])
    explainer = lime_tabular.LimeTabularExplainer(train, random_state=0)
    _, rows, _ = kept(explainer, train[0].copy(), lambda r: np.column_stack([0 * r[:, 0], 1 + 0 * r[:, 0]]))
    assert float(rows[:, 0].min()) < 4
    columns = Columns.of(torch.from_numpy(train), ["numeric"] * 2, 4, True, "normal")
    around = Drawn.of(columns, torch.from_numpy(train[:1]), torch.rand(500, 2, dtype=torch.float64))
    assert float(around.rows(0, 500, 0, 1)[:, 0].min()) >= 5
