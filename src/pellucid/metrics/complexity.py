"""How many places does a map need to say what it says?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.places import REDUCTIONS, filled, partition, per_place
from pellucid.ops.removal import Order, Walk, walked


@metric(
    family="complexity",
    better="higher",
    range=(0.0, 1.0),
    title="Gini sparseness",
    cite="chalasani2020concise",
    needs=(),
)
class Sparseness:
    """Σ_k (2k − n − 1) |a|_(k) / (n Σ |a|),  |a|_(1) ≤ … ≤ |a|_(n)    [Chalasani et al. 2020]

    The Gini index of the magnitudes of the places: 0 where all are equal, 1 − 1/n where one has all.

    reduce  as elsewhere; or `each`: every channel of a place counts by itself
    """

    reduce: str = one_of(*REDUCTIONS, "each", default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        a = _magnitudes(e, q, self.reduce).sort(dim=1).values
        n = a.shape[1]
        weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
        return reading((a * weight).sum(1) / (n * a.sum(1)))


@metric(family="complexity", better="lower", range=(0.0, float("inf")), cite="bhatt2020evaluating", needs=())
class Entropy:
    """−Σ p ln p,  p = |a| / Σ |a|    [Bhatt et al. 2020, "complexity"]

    extras: relative, divided by ln n, the entropy of an even map.

    reduce  as elsewhere; or `each`: every channel of a place counts by itself
    """

    reduce: str = one_of(*REDUCTIONS, "each", default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        a = _magnitudes(e, q, self.reduce)
        p = a / a.sum(1, keepdim=True)
        value = -torch.special.xlogy(p, p).sum(1)
        return reading(value, extras={"relative": value / torch.tensor(float(p.shape[1])).double().log()})


@metric(family="complexity", better="lower", range=(0.0, 1.0), cite="nguyen2020quantitative")
class EffectiveComplexity:
    """The smallest share of the highest values that, alone, gives the score up to ε    [after Nguyen & Martínez 2020]

    min k with |s(x) − s(only the share k shown)| ≤ ε |s(x)|, on the curve of Insertion with the same fill and steps.

    slack  ε
    fill   what is not shown; `auto` is the photo's mean colour, zero for rows that are no pictures
    """

    steps: int = at_least(2, default=32)
    slack: float = at_least(0.0, default=0.1)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        [(x, y)] = await walked(q, Walk(order=order, fill=filled(q, self.fill, "mean"), steps=self.steps, keep=True))
        enough = (y - y[:, -1:]).abs() <= self.slack * y[:, -1:].abs()
        return reading(x.gather(1, enough.double().argmax(1, keepdim=True))[:, 0], curve=(x, y))


def _magnitudes(e: Map, q: Query, reduce: str) -> Tensor:
    return (e.values if reduce == "each" else per_place(e, q.x, reduce)).abs().flatten(1)
