"""Does the map know how much the score falls when some parts are hidden? Fidelity correlation and sensitivity-n."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query, together
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.correlation import jackknifed
from pellucid.ops.places import REDUCTIONS, amounts, filled, partition
from pellucid.ops.removal import numbers
from pellucid.ops.subsets import Subsets, coins, sized

STILL = "hiding parts does not change the score, or the map gives all subsets the same"


@metric(family="faithfulness", better="higher", range=(-1.0, 1.0), cite="bhatt2020evaluating")
class FidelityCorrelation:
    """corr_S(Σ_{i ∈ S} a_i, s(x) − s(x without S)),  S random subsets of one size    [Bhatt et al. 2020]

    With ranks and cells of a grid it is called µFidelity. Subsets are the same for all maps and photos.

    samples      subsets
    hidden       size of S; at least one part
    sets         `size`, or `own`: every part is hidden with the probability `hidden`. Sizes then differ, and a map
                 that is right about nothing but its sign knows how many parts are gone
    correlation  pearson or spearman
    fill         what hidden parts show; `auto` is the photo's mean colour, zero for rows that are no pictures
    """

    samples: int = at_least(4, default=256)
    hidden: float = at_least(0.0, default=0.2, above=True, most=1.0)
    sets: str = one_of("size", "own", default="size")
    correlation: str = one_of("pearson", "spearman", default="pearson")
    fill: Any = param(default="auto")
    regions: Any = param(default="grid")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        size, sets = torch.tensor([self.hidden], dtype=torch.float64), coins if self.sets == "own" else sized
        subsets = Subsets.drawn(q, partition(q, self.regions), lambda _: size, self.samples, self.seed, sets)
        said = subsets.totals(amounts(e, q.x, self.reduce))
        clean, left = await together(q.score(), subsets.scores(q, filled(q, self.fill, "mean")))
        value, error = jackknifed(said, _fall(clean, left), self.correlation)
        return reading(value, std_error=error, without={STILL: value.isnan()})


@metric(family="faithfulness", better="higher", range=(-1.0, 1.0), title="Sensitivity-n", cite="ancona2018towards")
class SensitivityN:
    """corr_S(Σ_{i ∈ S} a_i, s(x) − s(x without S)) for subsets of n parts, over many n    [Ancona et al. 2018]

    Pearson's, per photo and over subsets; the value is the mean over the sizes, which the curve has one by one. Sizes
    are spread evenly in log n from one part to 80 % of them.

    steps    how many sizes
    samples  subsets of every size
    """

    steps: int = at_least(2, default=8)
    samples: int = at_least(4, default=64)
    fill: Any = param(default="auto")
    regions: Any = param(default="grid")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        subsets = Subsets.drawn(q, partition(q, self.regions), self._sizes, self.samples, self.seed)
        said = subsets.totals(amounts(e, q.x, self.reduce)).unflatten(1, (self.steps, -1))
        clean, left = await together(q.score(), subsets.scores(q, filled(q, self.fill, "mean")))
        value, error = jackknifed(said, _fall(clean, left).unflatten(1, (self.steps, -1)), "pearson")
        there = (~value.isnan()).sum(1)
        return reading(
            value.nansum(1) / there,
            std_error=error.square().nansum(1).sqrt() / there,
            curve=(torch.stack([self._sizes(int(n) + 1) for n in subsets.labels.amax(1)]), value),
            without={STILL: there == 0},
        )

    def _sizes(self, parts: int) -> Tensor:
        """From one part to 80 % of them, in equal ratios."""
        least = min(0.8, 1 / parts)
        return least * (0.8 / least) ** torch.linspace(0, 1, self.steps, dtype=torch.float64)


def _fall(clean: Tensor, left: Tensor) -> Tensor:
    """s(x) − s(x without S), [batch, samples]."""
    return (numbers(clean)[0] - numbers(left)[0]).T
