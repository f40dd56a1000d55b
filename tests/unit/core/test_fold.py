"""Folds against numpy on all values at once, for values that arrive in any blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.core.fold import Fold, Mean, Moment, Moments, Only, Stack, Totals, Weighted
from pellucid.core.points import Around

Array = NDArray[np.float64]


@st.composite
def answers(draw: st.DrawFn, most: int = 6) -> tuple[Tensor, list[tuple[int, int, int, int]]]:
    """Values [targets, points, batch, 2, 2], and blocks (k0, k1, b0, b1) that cover them in the engine's order."""
    targets, count, batch = draw(st.integers(1, 2)), draw(st.integers(1, most)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 99))
    values = torch.randn(
        targets, count, batch, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    blocks: list[tuple[int, int, int, int]] = []
    k = 0
    while k < count:
        k1 = draw(st.integers(k + 1, count))
        b = 0
        while b < batch:
            b1 = draw(st.integers(b + 1, batch))
            blocks.append((k, k1, b, b1))
            b = b1
        k = k1
    return values, blocks


def folded(fold: Fold, values: Tensor, blocks: list[tuple[int, int, int, int]]) -> Any:
    tally = fold.tally(values.shape[1], values.shape[2])
    for k0, k1, b0, b1 in blocks:
        tally.add(values[:, k0:k1, b0:b1].clone(), k0, b0, b1)
    return tally.result()


def close(got: Tensor, wanted: Array) -> None:
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-9, atol=1e-11)


def weights(count: int) -> tuple[float, ...]:
    return tuple(float(w) for w in np.random.default_rng(count).normal(size=count))


FOLDS: dict[str, tuple[Callable[[int], Fold], Callable[[Array], Array]]] = {
    "mean": (lambda n: Mean(), lambda v: v.mean(1)),
    "weighted": (lambda n: Weighted(weights(n)), lambda v: np.einsum("tk...,k->t...", v, weights(v.shape[1]))),
    "stack": (lambda n: Stack(), lambda v: v),
    "totals": (lambda n: Totals(), lambda v: v.sum((3, 4))),
}


@pytest.mark.parametrize("name", FOLDS)
@given(given=answers())
@settings(deadline=None, max_examples=25)
def test_a_fold_is_its_formula_for_any_blocks(name: str, given: tuple[Tensor, Any]) -> None:
    make, wanted = FOLDS[name]
    values, blocks = given
    close(folded(make(values.shape[1]), values, blocks), wanted(values.numpy()))


@given(given=answers())
@settings(deadline=None, max_examples=25)
def test_moments_are_those_of_numpy_for_any_blocks(given: tuple[Tensor, Any]) -> None:
    values, blocks = given
    n = values.shape[1]
    got: Moment = folded(Moments(), values, blocks)
    close(got.mean, values.numpy().mean(1))
    close(got.square, (values.numpy() ** 2).mean(1))
    close(got.var, values.numpy().var(1, ddof=1) if n > 1 else np.zeros_like(values.numpy()[:, 0]))
    close(got.std_error, np.sqrt(got.var.numpy() / n))


@pytest.mark.parametrize("name", FOLDS)
@given(given=answers())
@settings(deadline=None, max_examples=15)
def test_times_multiplies_every_answer_with_its_point(name: str, given: tuple[Tensor, Any]) -> None:
    make, wanted = FOLDS[name]
    values, blocks = given
    _, count, batch = values.shape[:3]
    points = Around(torch.ones(batch, 2, 2, dtype=torch.float64), torch.ones(1, 2, 2, dtype=torch.float64), count, 1)
    factor = points.rows(0, count, 0, batch).view(count, batch, 2, 2)
    fold = make(count)
    timed = Weighted(fold.weights, points) if isinstance(fold, Weighted) else type(fold)(points)
    close(folded(timed, values, blocks), wanted((values * factor).numpy()))


@given(given=answers(most=1))
@settings(deadline=None, max_examples=10)
def test_only_is_the_answer_at_the_single_point(given: tuple[Tensor, Any]) -> None:
    values, blocks = given
    assert torch.equal(folded(Only(), values, blocks), values[:, 0])


def test_only_refuses_several_points() -> None:
    with pytest.raises(ParameterError, match="3 points"):
        Only().tally(3, 2)


def test_a_weighted_sum_needs_a_weight_for_every_point() -> None:
    with pytest.raises(ParameterError, match="2 weights for 3 points"):
        Weighted((0.5, 0.5)).tally(3, 2)


@pytest.mark.parametrize("offset", [1e4, -1e6, 1e8])
def test_the_variance_survives_a_large_offset(offset: float) -> None:
    """In double precision the squares of 1e8 leave no digit for a variance of one; the shift does."""
    values = torch.randn(1, 50, 1, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got: Moment = folded(Moments(), values + offset, [(k, k + 1, 0, 1) for k in range(50)])
    np.testing.assert_allclose(got.var.numpy(), values.numpy().var(1, ddof=1), rtol=1e-6)


def test_the_variance_of_a_constant_is_exactly_zero() -> None:
    values = torch.full((1, 7, 2, 3), 0.1, dtype=torch.float32)
    got: Moment = folded(Moments(), values, [(0, 3, 0, 2), (3, 7, 0, 2)])
    assert float(got.var.abs().max()) == 0
    assert torch.equal(got.mean, values[:, 0])


def test_the_answers_of_other_questions_are_not_overwritten() -> None:
    """Several folds add up the same tensor."""
    values = torch.randn(1, 2, 2, 3)
    kept = values.clone()
    for fold in (Mean(), Weighted((1.0, 1.0)), Moments(), Stack(), Totals()):
        tally = fold.tally(2, 2)
        tally.add(values[:, :1], 0, 0, 2)
        tally.add(values[:, 1:], 1, 0, 2)
        tally.result()
    assert torch.equal(values, kept)


@pytest.mark.parametrize("fold", [Mean(), Weighted((1.0,)), Moments(), Stack(), Only(), Totals()])
def test_a_fold_without_answers_is_a_mistake_of_the_engine(fold: Fold) -> None:
    with pytest.raises(RuntimeError, match="without any answer"):
        fold.tally(1, 1).result()


def test_memory_does_not_grow_with_the_number_of_points() -> None:
    for fold, most in ((Mean(), 1), (Moments(), 3)):
        tally = fold.tally(1000, 1)
        for k in range(1000):
            tally.add(torch.ones(1, 1, 1, 10), k, 0, 1)
        held = [value for value in vars(tally).values() if isinstance(value, Tensor)]
        assert sum(value.numel() for value in held) == 10 * most


@pytest.mark.parametrize(("count", "var"), [(1, 0.0), (2, 4.5), (3, 9.0)])
def test_the_variance_of_few_points(count: int, var: float) -> None:
    """1, 4 and 7: unbiased, and zero for a single point."""
    tally = Moments().tally(count, 1)
    tally.add(torch.tensor([1.0, 4.0, 7.0])[:count].view(1, count, 1), 0, 0, 1)
    got = tally.result()
    assert float(got.var) == pytest.approx(var) and float(got.std_error) == pytest.approx((var / count) ** 0.5)
