"""The tree that selects features, against one that tries every split."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from pellucid.ops.tree import LEAST, split_on


def drop(y: np.ndarray, w: np.ndarray, left: np.ndarray) -> float:
    """How much the weighted squared error falls when two groups have a mean each."""

    def error(part: np.ndarray) -> float:
        mean = np.average(y[part], weights=w[part])
        return float(np.sum(w[part] * (y[part] - mean) ** 2))

    return error(np.ones(len(y), bool)) - error(left) - error(~left)


def slow(x: np.ndarray, y: np.ndarray, w: np.ndarray, count: int) -> list[int]:
    gains: dict[int, float] = {}

    def grow(rows: np.ndarray, depth: int) -> None:
        splits = [
            (drop(y[rows], w[rows], left), feature, rows[left], rows[~left])
            for feature, value in product(range(x.shape[1]), np.unique(x[rows]))
            for left in [x[rows, feature] <= value]
            if w[rows][left].sum() >= LEAST and w[rows][~left].sum() >= LEAST
        ]
        if depth and splits:
            gain, feature, below, above = max(splits, key=lambda split: split[0])
            gains[feature] = gains.get(feature, 0.0) + gain
            grow(below, depth - 1)
            grow(above, depth - 1)

    grow(np.arange(len(y)), max(int(np.log2(count)), 2))
    return sorted(gains, key=lambda feature: -gains[feature])[:count]


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("bits", [True, False])
def test_it_splits_where_the_error_falls_most(bits: bool, count: int) -> None:
    draw = np.random.default_rng(count)
    x = draw.integers(0, 2, (120, 9)).astype(float) if bits else draw.integers(0, 5, (120, 9)) / 4
    y = x @ draw.normal(size=9) + 2 * x[:, 0] * x[:, 1]
    w = draw.uniform(0.2, 1.0, 120)
    got = split_on(torch.tensor(x), torch.tensor(y), torch.tensor(w), count)
    assert got.tolist() == slow(x, y, w, count)


def test_nothing_to_explain_needs_no_feature() -> None:
    x, w = torch.randn(30, 4, dtype=torch.float64), torch.ones(30, dtype=torch.float64)
    assert split_on(x, torch.ones(30, dtype=torch.float64), w, 4).tolist() == []
    assert split_on(x[:6], x[:6, 0], w[:6], 4).tolist() == []  # no side could hold enough
    assert split_on(x[:1], x[:1, 0], w[:1], 4).tolist() == []
