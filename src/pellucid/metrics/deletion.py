"""Deletion and insertion: how fast the score falls when what matters most goes, and rises when it comes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.places import REDUCTIONS, filled, partition, per_place
from pellucid.ops.removal import Order, Walk, area, walked


@metric(family="faithfulness", better="lower", range=(0.0, 1.0), cite="petsiuk2018rise")
class Deletion:
    """∫₀¹ s(x without its share t of the highest values) dt    [Petsiuk et al. 2018]

    By trapezoids over the shares of the places that are really gone. extras: ties, the share of the parts whose value
    another has as well; those go in an order drawn from the seed.

    steps    points of the curve besides the start
    fill     what removed places show; `auto` is the photo's mean colour, zero for rows that are no pictures
    regions  what goes at once: `pixels`, or parts of the picture by their mean value
    reduce   how channels become one value per place
    """

    steps: int = at_least(2, default=32)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        [(x, y)] = await walked(q, Walk(order=order, fill=filled(q, self.fill, "mean"), steps=self.steps))
        return _reading(order, x, y)


@metric(family="faithfulness", better="higher", range=(0.0, 1.0), cite="petsiuk2018rise")
class Insertion:
    """∫₀¹ s(fill, showing the share t of the highest values of x) dt    [Petsiuk et al. 2018]

    As Deletion, from the other end: the highest values come first, onto a blurred photo.
    """

    steps: int = at_least(2, default=32)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        [(x, y)] = await walked(q, Walk(order=order, fill=filled(q, self.fill, "blur"), steps=self.steps, keep=True))
        return _reading(order, x, y)


@metric(
    family="faithfulness",
    better="higher",
    range=(-1.0, 1.0),
    title="Insertion − deletion",
    cite="petsiuk2018rise",
)
class InsertionDeletion:
    """Insertion minus deletion, whose questions it shares: what a fill does to both cancels.

    fill    what removed places show
    canvas  what places show before they are inserted
    """

    steps: int = at_least(2, default=32)
    fill: Any = param(default="auto")
    canvas: Any = param(default="auto", says="what places show before they are inserted, in pixel units")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        going = Walk(order=order, fill=filled(q, self.fill, "mean"), steps=self.steps)
        coming = Walk(order=order, fill=filled(q, self.canvas, "blur"), steps=self.steps, keep=True)
        gone, come = [area(x, y) for x, y in await walked(q, going, coming)]
        return reading(come - gone, extras={"insertion": come, "deletion": gone, "ties": order.ties})


def _reading(order: Order, x: Tensor, y: Tensor) -> Reading:
    return reading(area(x, y), curve=(x, y), extras={"ties": order.ties})
