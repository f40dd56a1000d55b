"""Which features a sparse linear model keeps, in the ways of LIME."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.ops.ridge import ridge
from pellucid.ops.tree import split_on

WAYS = ("auto", "none", "highest_weights", "forward_selection", "lasso_path", "tree")
FEW = 6
"""`auto` goes forward up to so many features, and takes the highest weights beyond."""
TINY_RIDGE = 0.01
"""Penalty of the model whose highest weights are taken, as in the Python `lime`."""


def chosen(way: str, x: Tensor, y: Tensor, weight: Tensor, count: int, glmnet: bool = False) -> Tensor:
    """The features kept for one target, int64, at most `count`.

    way: one of WAYS; x: [rows, feature]; y: [rows]; weight: [rows]; glmnet: as R's lime, with the lasso on features of
    unit variance, and the highest weights those of a model without a penalty.
    """
    if way == "none" or count >= x.shape[1]:
        return torch.arange(x.shape[1])
    if way == "auto":
        way = "forward_selection" if count <= FEW else "highest_weights"
    x, y, weight = x.double(), y.double(), weight.double()
    if way == "tree":
        return split_on(x, y, weight, count)
    if way == "highest_weights":
        size = ridge(x, y[None], weight, 0.0 if glmnet else TINY_RIDGE).coef[0].abs()
        return size.argsort(descending=True, stable=True)[:count]
    gram, right = _products(x, y, weight)
    if way == "forward_selection":
        return _forward(gram, right, count)
    scale = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny).rsqrt() if glmnet else torch.ones_like(right)
    return _lasso(gram * scale * scale[:, None], right * scale, count)


def _products(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """XᵀWX and XᵀWy of the data around their weighted means."""
    x, y = x - w @ x / w.sum(), y - w @ y / w.sum()
    return x.mT @ (w[:, None] * x), x.mT @ (w * y)


def _forward(gram: Tensor, right: Tensor, count: int) -> Tensor:
    """Add, again and again, the feature with which least squares explains most.

    What is explained of the rest is r_j² / G_jj after the kept ones were swept out of G and r.
    """
    gram, right, kept = gram.clone(), right.clone(), []
    free, scale = torch.ones(len(right), dtype=torch.bool), gram.diagonal().clone()
    for _ in range(count):
        own = gram.diagonal()
        gain = torch.where(free & (own > 1e-10 * scale), right.square() / own.clamp_min(1e-300), -1.0)
        best = int(gain.argmax())
        if gain[best] < 0:
            break
        kept.append(best)
        free[best] = False
        column = gram[:, best] / gram[best, best]
        right = right - column * right[best]
        gram = gram - torch.outer(column, gram[best])
    return torch.tensor(kept, dtype=torch.int64)


def _lasso(gram: Tensor, right: Tensor, count: int) -> Tensor:
    """The last model on the path of the lasso, from large to small penalties, that has at most `count` features."""
    beta, kept = torch.zeros_like(right), torch.zeros(0, dtype=torch.int64)
    first = level = float(right.abs().max())
    active, gone = [int(right.abs().argmax())], -1
    for _ in range(8 * len(right)):
        if level <= 1e-10 * first:
            break
        beta, level, active, gone = _step(gram, right, beta, level, active, gone)
        support = beta.nonzero().flatten()
        kept = support if len(support) <= count else kept
    return kept


Knot = tuple[Tensor, float, list[int], int]


def _step(gram: Tensor, right: Tensor, beta: Tensor, level: float, active: list[int], gone: int) -> Knot:
    """Lower the penalty until a feature enters or leaves: weights, penalty, active features, and who left.

    Inside a step β_A(λ) = β_A + (λ₀ − λ) G_AA⁻¹ s and the correlations are c(λ) = c − (λ₀ − λ) G_·A G_AA⁻¹ s, s the
    signs of c_A. One that has just left does not come back at once.
    """
    at = torch.tensor(active)
    c = right - gram @ beta
    way = torch.linalg.pinv(gram[at][:, at], hermitian=True) @ c[at].sign()
    slope = gram[:, at] @ way
    events: list[tuple[float, int, bool]] = []
    for j in set(range(len(right))) - {*active, gone}:
        below = (1 - slope[j], 1 + slope[j])
        above = (level - c[j], level + c[j])
        events += [(max(0.0, float(a / b)), j, True) for a, b in zip(above, below, strict=True) if b > 1e-12]
    turns = [(float(-beta[j] / way[i]), j, False) for i, j in enumerate(active) if way[i] * beta[j] < 0]
    drop, event, enters = min([*events, *turns, (level, -1, False)])
    new = beta.clone()
    new[at] = beta[at] + drop * way
    if event >= 0 and not enters:
        new[event] = 0.0
        return new, level - drop, [j for j in active if j != event], event
    return new, level - drop, [*active, event] if enters else active, -1
