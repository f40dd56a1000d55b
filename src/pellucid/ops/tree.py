"""A small regression tree, for the features that it splits on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = 4.0
"""Weight on either side of a split: xgboost's `min_child_weight` of 1, in which a row of weight w counts w / 4."""


def split_on(x: Tensor, y: Tensor, weight: Tensor, count: int) -> Tensor:
    """The features that one tree splits on, those that explain most first; int64, at most `count`.

    The tree is that of R's lime: depth max(⌊log₂ count⌋, 2), every split the one with the largest weighted drop of
    the squared error. xgboost's first tree for logistic loss is the same, since there all rows are equally curved.

    x: float64 [rows, feature]; y: [rows]; weight: [rows].
    """
    gains: dict[int, float] = {}
    nodes = [torch.ones(len(y), dtype=torch.bool)]
    for _ in range(max(int(math.log2(count)), 2)):
        below: list[Tensor] = []
        for node in nodes:
            found = _best(x[node], y[node], weight[node])
            if found is None:
                continue
            gain, feature, threshold = found
            gains[feature] = gains.get(feature, 0.0) + gain
            left = x[:, feature] <= threshold
            below += [node & left, node & ~left]
        nodes = below
    order = sorted(gains, key=lambda feature: -gains[feature])
    return torch.tensor(order[:count], dtype=torch.int64)


def _best(x: Tensor, y: Tensor, w: Tensor) -> tuple[float, int, float] | None:
    """The best split of some rows: its gain S_l²/W_l + S_r²/W_r − S²/W, the feature, and the last value to the left."""
    if len(y) < 2:
        return None
    y = y - w @ y / w.sum()  # around its mean S is nothing, and so is what it explains
    values, order = x.sort(dim=0, stable=True)
    mass, sums = w[order].cumsum(0), (w * y)[order].cumsum(0)  # [rows, feature]
    left, right = mass[:-1], w.sum() - mass[:-1]
    gain = sums[:-1].square() / left + sums[:-1].square() / right
    fits = (values[1:] > values[:-1]) & (left >= LEAST) & (right >= LEAST)
    gain = torch.where(fits, gain, 0.0)
    best = int(gain.T.flatten().argmax())
    feature, row = divmod(best, len(gain))
    enough = float(gain[row, feature]) > 1e-12 * float(w @ y.square())
    return (float(gain[row, feature]), feature, float(values[row, feature])) if enough else None
