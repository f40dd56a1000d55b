"""Ridge regression against numpy and against fitting again and again; selection against the slow way of doing it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.ops.ridge import ridge
from pellucid.ops.select import chosen


def data(rows: int = 40, features: int = 6, targets: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = (torch.rand(rows, features, generator=draw, dtype=torch.float64) < 0.5).double()
    y = torch.randn(targets, rows, generator=draw, dtype=torch.float64) + 2 * x[:, 0] - x[:, 3]
    return x, y, torch.rand(rows, generator=draw, dtype=torch.float64) + 0.1


def solved(x: Tensor, y: Tensor, w: Tensor, strength: float, intercept: bool) -> np.ndarray:
    """By the normal equations of numpy, the intercept as a last column without penalty; [target, feature (+ 1)]."""
    a = np.hstack([x.numpy(), np.ones((len(x), 1))]) if intercept else x.numpy()
    penalty = strength * np.eye(a.shape[1])
    if intercept:
        penalty[-1, -1] = 0
    wa = w.numpy()[:, None] * a
    return np.linalg.solve(a.T @ wa + penalty, wa.T @ y.numpy().T).T


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_it_is_the_solution_of_the_normal_equations(strength: float, intercept: bool) -> None:
    x, y, w = data()
    fit, wanted = ridge(x, y, w, strength, intercept=intercept), solved(x, y, w, strength, intercept)
    np.testing.assert_allclose(fit.coef, wanted[:, :6], rtol=1e-10)
    np.testing.assert_allclose(fit.intercept, wanted[:, 6] if intercept else np.zeros(3), rtol=1e-10)
    left = y - fit(x)
    mean = (y @ w / w.sum())[:, None]
    np.testing.assert_allclose(fit.r2, 1 - (left.square() @ w) / ((y - mean).square() @ w), rtol=1e-12)


def test_targets_do_not_see_each_other_and_rows_may_stand_in_any_order() -> None:
    x, y, w = data()
    whole = ridge(x, y, w, 1.0, torch.arange(40) // 2)
    for t in range(3):
        torch.testing.assert_close(ridge(x, y[t : t + 1], w, 1.0).coef[0], whole.coef[t], rtol=1e-12, atol=0)
    turn = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    turned = ridge(x[turn], y[:, turn], w[turn], 1.0, (torch.arange(40) // 2)[turn])
    torch.testing.assert_close(turned.coef, whole.coef, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(turned.std_error, whole.std_error, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sizes", [[1] * 40, [2] * 20, [10] * 4, [7, 13, 20], [3, 3, 3, 1, 30]])
@pytest.mark.parametrize("intercept", [True, False])
def test_standard_errors_are_those_of_fitting_without_each_group(sizes: list[int], intercept: bool) -> None:
    x, y, w = data()
    group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    group[0] = -1  # the first row was not drawn: it is never left out
    turn = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    x, y, w, group = x[turn], y[:, turn], w[turn], group[turn]
    names = [g for g in group.unique().tolist() if g >= 0]
    without = np.stack([solved(x[k], y[:, k], w[k], 1.0, intercept) for g in names for k in [group != g]])
    wanted = np.sqrt((len(names) - 1) * without.var(0))
    got = ridge(x, y, w, 1.0, group, intercept).std_error
    np.testing.assert_allclose(got, wanted[:, :6], rtol=1e-8)


def test_errors_are_zero_where_nothing_was_drawn() -> None:
    x, y, w = data()
    for group in (None, torch.full((40,), -1), torch.zeros(40).long()):
        assert not bool(ridge(x, y, w, 1.0, group).std_error.any())


def test_rows_that_do_not_determine_the_weights_give_the_shortest() -> None:
    x, y, w = data(rows=4)
    fit = ridge(x, y, w, group=torch.arange(4))
    root, xc, yc = w.sqrt(), x - w @ x / w.sum(), y - (y @ w / w.sum())[:, None]
    wanted = np.linalg.pinv((root[:, None] * xc).numpy()) @ (root * yc).numpy().T
    np.testing.assert_allclose(fit.coef, wanted.T, rtol=1e-8, atol=1e-10)
    without = []
    for k in range(4):
        rows = torch.arange(4) != k
        r, a, b = root[rows], x[rows] - w[rows] @ x[rows] / w[rows].sum(), y[:, rows]
        b = b - (b @ w[rows] / w[rows].sum())[:, None]
        without.append((np.linalg.pinv((r[:, None] * a).numpy(), rcond=1e-9) @ (r * b).numpy().T).T)
    np.testing.assert_allclose(fit.std_error, np.sqrt(3 * np.stack(without).var(0)), rtol=1e-7, atol=1e-9)
    assert float(fit.std_error.mean()) > 0.1  # a fit without residuals knows little, and says so


def test_a_constant_is_fitted_and_its_r2_is_one() -> None:
    x, _, w = data()
    fit = ridge(x, torch.full((1, 40), 3.3, dtype=torch.float64), w, 1.0, torch.arange(40))
    assert fit.r2.tolist() == [1.0]
    assert float(fit.coef.abs().max()) == float(fit.std_error.abs().max()) == 0.0  # nothing is fitted to rounding
    assert float(fit.intercept) == pytest.approx(3.3)
    zero = ridge(x, torch.zeros(1, 40), w, 1.0)
    assert zero.r2.tolist() == [1.0]


def test_many_targets_at_once_do_not_need_all_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, w = data(targets=9)
    whole = ridge(x, y, w, 1.0, torch.arange(40))
    monkeypatch.setattr("pellucid.ops.ridge.AT_ONCE", 1)
    assert torch.equal(ridge(x, y, w, 1.0, torch.arange(40)).std_error, whole.std_error)


# -- selection ---------------------------------------------------------------------------------------------------


def explained(x: Tensor, y: Tensor, w: Tensor, kept: list[int]) -> float:
    return float(ridge(x[:, kept], y[None], w).r2[0])


@pytest.mark.parametrize("seed", range(4))
def test_forward_adds_what_explains_most(seed: int) -> None:
    x, y, w = data(60, 8, 1, seed)
    kept: list[int] = []
    for _ in range(4):
        kept.append(max(set(range(8)) - set(kept), key=lambda j: explained(x, y[0], w, [*kept, j])))
    assert chosen("forward_selection", x, y[0], w, 4).tolist() == kept


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_lasso_path_is_that_of_scikit_learn(seed: int, count: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    x, y, w = data(50, 9, 1, seed)
    root = w.sqrt()
    xc, yc = root[:, None] * (x - w @ x / w.sum()), root * (y[0] - w @ y[0] / w.sum())
    _, _, path = linear.lars_path(xc.numpy(), yc.numpy(), method="lasso", verbose=False)
    wanted = next(k for k in (path[:, i].nonzero()[0] for i in range(path.shape[1] - 1, -1, -1)) if len(k) <= count)
    assert chosen("lasso_path", x, y[0], w, count).tolist() == wanted.tolist()


def test_the_lasso_takes_features_that_tie() -> None:
    x = torch.tensor(list(combinations([0.0, 1.0] * 3, 3)), dtype=torch.float64)
    y = x[:, 0] + x[:, 1]
    assert set(chosen("lasso_path", x, y, torch.ones(len(x)), 2).tolist()) == {0, 1}


def test_highest_weights_auto_and_none() -> None:
    x, y, w = data(60, 9, 1)
    by_weight = ridge(x, y, w, 0.01).coef[0].abs().argsort(descending=True)
    assert chosen("highest_weights", x, y[0], w, 4).tolist() == by_weight[:4].tolist()
    assert chosen("auto", x, y[0], w, 7).tolist() == by_weight[:7].tolist()
    assert torch.equal(chosen("auto", x, y[0], w, 6), chosen("forward_selection", x, y[0], w, 6))
    assert (
        chosen("none", x, y[0], w, 2).tolist() == chosen("forward_selection", x, y[0], w, 9).tolist() == list(range(9))
    )


@pytest.mark.parametrize("way", ["forward_selection", "lasso_path", "highest_weights"])
def test_a_constant_column_explains_nothing(way: str) -> None:
    x, y, w = data(60, 5, 1)
    x = torch.cat([torch.ones(60, 1, dtype=torch.float64), x], 1)
    assert 0 not in chosen(way, x, y[0], w, 4).tolist()
