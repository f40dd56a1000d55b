"""How well a linear model predicts rows that it was not fitted to, without fitting it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pellucid.core.points import generator
from pellucid.ops.designs import Design, distinct
from pellucid.ops.ridge import centred, inverted

ALONE = 1e-9
"""1 − h below which a row determines its own prediction, and the others say nothing of it."""
FOLDS = 5
"""Parts that are left out one after another where features are chosen anew without them."""


def press(x: Tensor, y: Tensor, weight: Tensor, strength: float = 0.0) -> Tensor:
    """1 − Σ w (y_i − ŷ₋i)² / Σ w (y_i − ȳ₋i)², [target]: of rows each predicted from all others    [Allen 1974]

    ŷ₋i is what the ridge regression of the rows but i says of row i, ȳ₋i their mean. Arguments as in
    `pellucid.ops.ridge.ridge`. At zero the model says no more than the mean.
    """
    if len(x) <= 2:  # a single player: there is nothing beside what is fitted
        return y.new_ones(len(y), dtype=torch.float64)
    return foretold(y, unseen(x, y, weight, strength), weight)


def unseen(x: Tensor, y: Tensor, weight: Tensor, strength: float = 0.0, intercept: bool = True) -> Tensor:
    """y_i − ŷ₋i = e_i / (1 − h_i), h_i = w_i x_i A⁻¹ x_i, [target, rows]; A is what is factorised for all rows.

    Where h_i is one, the others say nothing of row i, and it is predicted by their mean.
    """
    x, y, w = x.double(), y.double(), weight.double()
    xc, yc, _, _ = centred(x, y, w, intercept)
    pull = xc @ inverted(xc, w, strength)
    left = yc - (yc @ (w[:, None] * pull)) @ xc.mT
    rest = 1 - w * ((pull * xc).sum(1) + (1 / w.sum() if intercept else 0.0))
    return torch.where(rest > ALONE, left / rest.clamp_min(ALONE), _apart(y, w))


def foretold(y: Tensor, wrong: Tensor, weight: Tensor) -> Tensor:
    """1 − Σ w wrong² / Σ w (y_i − ȳ₋i)², [target]; 1 where nothing varies beyond rounding."""
    y, w = y.double(), weight.double()
    varies = _apart(y, w).square() @ w
    nothing = (1e-12 * y.abs().amax(1)) ** 2 * w.sum()
    return torch.where(varies <= nothing, 1.0, 1 - wrong.square() @ w / varies.clamp_min(torch.finfo(w.dtype).tiny))


def _apart(y: Tensor, w: Tensor) -> Tensor:
    """y_i − ȳ₋i, how far each row is from the mean of the others."""
    return (y - (y @ w / w.sum())[:, None]) / (1 - w / w.sum()).clamp_min(ALONE)


def refitted(fit: Callable[[Tensor], Callable[[Tensor], Tensor]], x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The same where a model is more than its coefficients: made again without each of FOLDS parts of the rows.

    fit: from the rows that are left, bool [rows], to predictions [target, rows] at rows x.
    """
    part = torch.randperm(len(x), generator=generator(0, "folds", len(x))) % min(FOLDS, len(x))
    wrong, mean = torch.zeros_like(y), torch.zeros_like(y)
    for fold in part.unique():
        out = part == fold
        wrong[:, out] = y[:, out] - fit(~out)(x[out])
        mean[:, out] = y[:, out] - (y[:, ~out] @ weight[~out] / weight[~out].sum())[:, None]
    varies = mean.square() @ weight
    return torch.where(varies > 0, 1 - wrong.square() @ weight / varies.clamp_min(torch.finfo(y.dtype).tiny), 1.0)


def once(design: Design, scores: Tensor) -> tuple[Design, Tensor]:
    """Every coalition once, with the weights of all its draws: what was drawn twice is not new the second time."""
    shown, number = distinct(design.shown)
    weight = torch.zeros(len(shown), dtype=torch.float64).index_add(0, number, design.weight)
    said = scores.new_empty(len(scores), len(shown))
    said[:, number] = scores
    alone = replace(design, shown=shown, weight=weight, group=torch.full_like(number[:1], -1).expand(len(shown)))
    return replace(alone, stratum=None, known=None), said
