"""Does the prediction move with the columns that matter, and stay with those that do not? And is the truth known?"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query, together
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.correlation import spearman
from pellucid.ops.places import REDUCTIONS, per_place
from pellucid.ops.removal import numbers
from pellucid.ops.swapped import Swapped, elsewhere


@metric(
    family="faithfulness",
    better="higher",
    range=(0.0, 1.0),
    title="Prediction gap, important (PGI)",
    cite="agarwal2022openxai",
)
class PredictionGapImportant:
    """mean_k |s(x) − s(x with other values at the places of the k largest magnitudes)|    [Agarwal et al. 2022]

    Columns of a table take values from rows that the table knows; other rows get noise.

    samples  draws of other values
    part     how many places count as important, as a share of all; at least one, and not all
    spread   of the noise, where there is no table
    """

    samples: int = at_least(2, default=64)
    part: float = at_least(0.0, default=0.25, above=True, most=1.0)
    spread: float = at_least(0.0, default=0.1, above=True)
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        return await _gap(q, _top(per_place(e, q.x, self.reduce).abs(), self.part, self.seed), self)


@metric(
    family="faithfulness",
    better="lower",
    range=(0.0, 1.0),
    title="Prediction gap, unimportant (PGU)",
    cite="agarwal2022openxai",
)
class PredictionGapUnimportant:
    """mean_k |s(x) − s(x with other values at all places but those of the k largest magnitudes)|  [Agarwal et al. 2022]

    As PredictionGapImportant, with which it shares its draws.

    samples  draws of other values
    """

    samples: int = at_least(2, default=64)
    part: float = at_least(0.0, default=0.25, above=True, most=1.0)
    spread: float = at_least(0.0, default=0.1, above=True)
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        return await _gap(q, ~_top(per_place(e, q.x, self.reduce).abs(), self.part, self.seed), self)


async def _gap(q: Query, moved: Tensor, how: Any) -> Reading:
    there = elsewhere(q, how.spread, how.samples, how.seed)
    clean, left = await together(q.score(), q.score(Swapped(q.x, moved, there), Stack()))
    gap = (numbers(clean)[0] - numbers(left)[0]).abs().T
    return reading(gap.mean(1), std_error=gap.std(1) / how.samples**0.5)


def _top(worth: Tensor, part: float, seed: int) -> Tensor:
    """Where the largest are, bool like worth; equal ones in an order drawn from the seed."""
    flat = worth.flatten(1)
    count = flat.shape[1]
    k = min(max(1, round(part * count)), max(1, count - 1))
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    best = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)[:, :k]]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, best, True).view(worth.shape)


def against_truth(explanation: Explanation, truth: Tensor, top: int = 3) -> dict[str, tuple[float, ...]]:
    """How an explanation agrees with known contributions of the columns, one number per row [Agarwal et al. 2022].

    truth  [columns] for all rows, or [batch, columns]: the coefficients of a linear model, or what a formula gives
    top    k, for those that look at the k largest magnitudes
    Returns feature (share of the true top k that is there), rank (at the same rank), sign (with the same sign),
    signed_rank (both), correlation (Spearman's, of the signed numbers) and pairs (share of the pairs of columns that
    stand in the same order of magnitude). Raises InputError for another number of columns.
    """
    a = explanation.values.detach().cpu().double().flatten(1)
    t = torch.as_tensor(truth).detach().cpu().double()
    t = (t if t.ndim > 1 else t[None]).flatten(1)
    if t.shape[1] != a.shape[1] or len(t) not in (1, len(a)) or not 1 <= top <= a.shape[1]:
        raise InputError(
            f"truth of {tuple(t.shape)} and top={top} for values of {tuple(a.shape)}",
            "as many columns, and at least top",
        )
    t = t.expand_as(a)
    mine, true = (z.abs().argsort(dim=1, descending=True, stable=True)[:, :top] for z in (a, t))
    found = (mine[:, :, None] == true[:, None, :]).any(2)
    same = mine == true
    sign = (a.sign() == t.sign()).gather(1, mine)
    i, j = torch.triu_indices(a.shape[1], a.shape[1], 1)
    order = [(z.abs()[:, i] - z.abs()[:, j]).sign() for z in (a, t)]
    pairs = (order[0] == order[1]).double().mean(1) if len(i) else torch.full((len(a),), math.nan)
    given = {
        "feature": found.double().mean(1),
        "rank": same.double().mean(1),
        "sign": (found & sign).double().mean(1),
        "signed_rank": (same & sign).double().mean(1),
        "correlation": spearman(a, t),
        "pairs": pairs,
    }
    return {name: tuple(value.tolist()) for name, value in given.items()}
