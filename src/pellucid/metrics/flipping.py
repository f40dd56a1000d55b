"""Parts go, the most important first: pixel flipping, region perturbation, IROF. The same curves, read apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.places import REDUCTIONS, filled, partition, per_place
from pellucid.ops.removal import Order, Walk, area, walked


def negative(pixels: Tensor) -> Tensor:
    """Every pixel as its opposite, 1 − p."""
    return 1 - pixels


@metric(family="faithfulness", better="lower", range=(0.0, 1.0), cite="bach2015pixel")
class PixelFlipping:
    """∫₀^p s(x, the share t of its highest values flipped) dt / p    [Bach et al. 2015]

    fill   what flipped places show; `auto` is 1 − p of every pixel in pictures, zero elsewhere
    part   p, the share of the places that is flipped in the end
    """

    steps: int = at_least(2, default=32)
    fill: Any = param(default="auto")
    part: float = at_least(0.0, default=1.0, above=True, most=1.0)
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        fill = q.baseline(negative) if _auto(self.fill) and q.x.ndim == 4 else filled(q, self.fill, "mean")
        [(x, y)] = await walked(q, Walk(order=order, fill=fill, steps=self.steps, most=self.part))
        return reading(area(x, y), curve=(x, y), extras={"ties": order.ties})


@metric(family="faithfulness", better="higher", range=(-1.0, 1.0), title="AOPC", cite="samek2017evaluating")
class RegionPerturbation:
    """1/(L + 1) Σ_k s(x) − s(x without its k first parts), k = 0 … L    [Samek et al. 2017]

    first    `most` takes the most important parts first; `both` subtracts the same with the least important first,
             which is the area between the two curves
    steps    L; the parts that go are spread over them evenly
    """

    steps: int = at_least(2, default=32)
    first: str = one_of("most", "both", default="most")
    fill: Any = param(default="auto")
    part: float = at_least(0.0, default=1.0, above=True, most=1.0)
    regions: Any = param(default="grid")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        fill = filled(q, self.fill, "mean")
        orders = [order] if self.first == "most" else [order, order.reversed()]
        walks = [Walk(order=one, fill=fill, steps=self.steps, most=self.part) for one in orders]
        (x, y), *others = await walked(q, *walks)
        drops = [(one[:, :1] - one).mean(1) for one in (y, *(other for _, other in others))]
        extras = {"ties": order.ties, **dict(zip(("most", "least"), drops, strict=False))}
        return reading(drops[0] if self.first == "most" else drops[0] - drops[1], curve=(x, y), extras=extras)


@metric(family="faithfulness", better="higher", range=(float("-inf"), 1.0), title="IROF", cite="rieger2020irof")
class IROF:
    """Area over the curve s(x without its k first segments) / s(x)    [Rieger & Hansen 2020]

    Segments by their mean value; x of the curve is the share of the segments. Photos whose score is not above zero
    have no value.

    steps    of the curve; no finer than the segments
    fill     what removed segments show; `auto` is the photo's mean colour
    """

    steps: int = at_least(2, default=50)
    fill: Any = param(default="auto")
    regions: Any = param(default="slic")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        [(_, y)] = await walked(q, Walk(order=order, fill=filled(q, self.fill, "mean"), steps=self.steps))
        x = order.counts(self.steps).T.double() / order.parts[:, None]
        left = y / y[:, :1]
        return reading(
            1 - area(x, left),
            curve=(x, left),
            extras={"ties": order.ties},
            without={"the score is not above zero": y[:, 0] <= 0},
        )


def _auto(fill: Any) -> bool:
    return isinstance(fill, str) and fill == "auto"
