"""Do the methods agree? Every map against the others of the same call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.method import at_least, one_of
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.correlation import CORRELATIONS
from pellucid.ops.places import REDUCTIONS, per_place

ALONE = "there is no other explanation of the same output"


@metric(
    family="agreement", better="neither", range=(-1.0, 1.0), cite="krishna2022disagreement", needs=(), wants=("others",)
)
class RankAgreement:
    """mean over the other maps of the rank correlation of the places    [Krishna et al. 2022]

    Others are the explanations of the same output in the same call; extras have each of them. High values speak for
    none of them: all may be wrong alike.
    """

    correlation: str = one_of("pearson", "spearman", default="spearman")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        mine = per_place(e, q.x, self.reduce).flatten(1)
        how = CORRELATIONS[self.correlation]
        return _over(e, lambda other: how(mine, per_place(other, q.x, self.reduce).flatten(1)))


@metric(
    family="agreement", better="neither", range=(0.0, 1.0), cite="krishna2022disagreement", needs=(), wants=("others",)
)
class TopAgreement:
    """mean over the other maps of |my k highest ∩ its k highest| / k    [Krishna et al. 2022, "feature agreement"]

    Places as high as the last one count in part, as if drawn.

    level  k, as a share of the places
    """

    level: float = at_least(0.0, default=0.05, above=True, most=1.0)
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        def top(one: Map) -> Tensor:
            return _chances(per_place(one, q.x, self.reduce).flatten(1), self.level)

        mine = top(e)
        return _over(e, lambda other: (mine * top(other)).sum(1) / mine.sum(1))


def _over(e: Map, against: Callable[[Map], Tensor]) -> Reading:
    """The mean of a comparison with every other map, NaN ones left out."""
    named: dict[str, Tensor] = {}
    for other in e.others:
        value = against(other)
        value[[bool(why) for why in other.broken]] = torch.nan
        name = other.whence.record.method
        named[name if name not in named else f"{name} {len(named) + 1}"] = value
    every = torch.stack([*named.values(), torch.full((len(e.values),), torch.nan, dtype=torch.float64)])
    there = (~every.isnan()).sum(0)
    return reading(every.nansum(0) / there, extras=named, without={ALONE: there == 0})


def _chances(flat: Tensor, share: float) -> Tensor:
    """How likely every place is among the k highest, ties being drawn; sums to k."""
    k = max(1, round(share * flat.shape[1]))
    last = flat.sort(dim=1, descending=True).values[:, k - 1 : k]
    above, level = flat > last, flat == last
    return above + level * ((k - above.sum(1)) / level.sum(1).double())[:, None]
