"""Does every feature that comes, in the order of importance, raise the score?"""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Query
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.places import REDUCTIONS, filled, partition, per_place
from pellucid.ops.removal import Order, Walk, walked

ROUNDING = 1e-6
"""Falls smaller than this, relative to the largest score of the curve, are none."""


@metric(family="faithfulness", better="higher", range=(0.0, 1.0), cite=("luss2021leveraging", "arya2019one"))
class Monotonicity:
    """1 where s never falls while the features of x come onto the fill, the least important first    [Luss et al. 2021]

    As published a yes or no; extras["share"] is the share of the steps that do not fall, which tells more. Its
    questions are those of Deletion with the same fill and steps.

    fill   the start; `auto` is the photo's mean colour, zero for rows that are no pictures
    steps  features come in so many groups of equal size
    """

    steps: int = at_least(2, default=32)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed).reversed()
        [(x, y)] = await walked(q, Walk(order=order, fill=filled(q, self.fill, "mean"), steps=self.steps, keep=True))
        rises = y.diff(dim=1) >= -ROUNDING * y.abs().amax(1, keepdim=True)
        return reading(rises.all(1), curve=(x, y), extras={"share": rises.double().mean(1), "ties": order.ties})
