"""Shapley values in closed form are those of the games that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import ExactShapley, Table, linear_shap, tree_shap
from pellucid.core.errors import TargetError, UnsupportedModel

ensemble = pytest.importorskip("sklearn.ensemble")
linear_model = pytest.importorskip("sklearn.linear_model")

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(120, 5))
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int) + (X[:, 3] > 1).astype(int)
TABLE = Table.of(X, background=X[:12])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_forest_has_the_values_of_the_exact_game(classes: int) -> None:
    pytest.importorskip("shap")
    labels = np.minimum(Y, classes - 1)
    forest = ensemble.RandomForestClassifier(8, max_depth=4, random_state=0).fit(X, labels)
    model = pellucid.wrap(forest, TABLE)
    got = tree_shap(model, X[:4])
    (exact,) = pellucid.explain(model, X[:4], ExactShapley())
    assert got.target.name == exact.target.name
    assert np.allclose(got.values, exact.values, atol=1e-6)  # shap keeps trees in single precision
    one = tree_shap(model, X[:4], target=1)
    (wanted,) = pellucid.explain(model, X[:4], ExactShapley(), target=1)
    assert np.allclose(one.values, wanted.values, atol=1e-6)


def test_boosted_regression_trees_too() -> None:
    pytest.importorskip("shap")
    trees = ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0).fit(X, X[:, 0] * X[:, 1] + X[:, 4])
    model = pellucid.wrap(trees, TABLE)
    (exact,) = pellucid.explain(model, X[:3], ExactShapley())
    assert np.allclose(tree_shap(model, X[:3]).values, exact.values, atol=1e-6)


def test_a_linear_model_needs_no_samples() -> None:
    fitted: Any = linear_model.Ridge().fit(X, X @ np.arange(5.0))
    got = linear_shap(pellucid.wrap(fitted, TABLE), X[:3])
    assert np.allclose(got.values, fitted.coef_ * (X[:3] - X[:12].mean(0)))
    assert got.record.method == "linear_shap"
    assert got.inputs.features == ("x0", "x1", "x2", "x3", "x4")


def test_what_has_no_closed_form_is_refused() -> None:
    logistic = linear_model.LogisticRegression().fit(X, Y)
    with pytest.raises(UnsupportedModel, match="off a linear function"):
        linear_shap(pellucid.wrap(logistic, TABLE), X[:3])
    pytest.importorskip("shap")
    with pytest.raises(UnsupportedModel, match="as an ensemble of trees"):
        tree_shap(pellucid.wrap(logistic, TABLE), X[:3])
    forest = ensemble.RandomForestClassifier(3, random_state=0).fit(X, Y)
    with pytest.raises(TargetError, match="one class"):
        tree_shap(pellucid.wrap(forest, TABLE), X[:3], target=[0, 1])
    with pytest.raises(UnsupportedModel, match="a model of tables"):
        tree_shap(pellucid.wrap(lambda rows: rows), X[:3])


def test_values_that_say_nothing_are_marked() -> None:
    fitted: Any = linear_model.Ridge().fit(X, X @ np.arange(5.0))
    got = linear_shap(pellucid.wrap(fitted, TABLE), np.stack([X[3], X[:12].mean(0)]))
    assert got.checks[0].passed == (True, True)  # rounding keeps the second from being nothing
    flat: Any = linear_model.Ridge().fit(X, np.ones(len(X)))
    check = linear_shap(pellucid.wrap(flat, TABLE), X[:2]).checks[0]
    assert (check.name, check.passed) == ("degenerate", (False, False))
