"""The ridge regression of R's glmnet, which measures features and scores in their standard deviations."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.ops.ridge import Fit, fits, ridge


def glmnet(x: Tensor, y: Tensor, weight: Tensor, strength: float, group: Tensor | None = None) -> Fit:
    """min over (c, β) of Σ_i w_i (y_i − c − x_i β)² + (λ / s_y) Σ_j (s_j β_j)²    [Friedman, Hastie & Tibshirani 2010]

    w sums to one; s_j and s_y are the weighted standard deviations of a feature and of the scores. glmnet brings the
    scores to unit variance before it applies λ, and does not say so: hence λ / s_y. A feature that does not vary has
    no weight.

    x, y, weight, group  as in `ridge`
    strength             λ of `glmnet(alpha = 0, lambda = λ)`
    """
    x, y, w = x.double(), y.double(), weight.double() / weight.double().sum()
    size, height = deviation(x.mT, w), deviation(y, w)
    each = [ridge(x / size, one[None], w, float(strength / s), group) for one, s in zip(y, height, strict=True)]
    fit = fits(each)
    return Fit(coef=fit.coef / size, intercept=fit.intercept, r2=fit.r2, std_error=fit.std_error / size)


def deviation(rows: Tensor, w: Tensor) -> Tensor:
    """The weighted standard deviation of every row; 1 where nothing varies."""
    size = ((rows - (rows @ w)[:, None]).square() @ w).sqrt()
    return torch.where(size > 1e-12 * rows.abs().amax(1), size, 1.0)
