"""Is what matters enough, and is it needed? Sufficiency and comprehensiveness."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Query, together
from pellucid.core.errors import ParameterError
from pellucid.core.fold import Stack
from pellucid.core.method import one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.places import REDUCTIONS, filled, partition, per_place
from pellucid.ops.removal import Order, Removed, numbers

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@metric(family="faithfulness", better="higher", range=(-1.0, 1.0), cite="deyoung2020eraser")
class Comprehensiveness:
    """mean over k of s(x) − s(x without its share k of the highest values)    [DeYoung et al. 2020]

    shares  k; at least one part goes. The curve has the drop of every share
    fill    what removed places show; `auto` is the photo's mean colour, zero for rows that are no pictures
    """

    shares: Any = param(default=SHARES)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        counts = _counts(order, _checked(self.shares))
        clean, left = await together(q.score(), _without(q, order, counts, self.fill))
        return _drops(clean, left, order, counts)


@metric(family="faithfulness", better="lower", range=(-1.0, 1.0), cite="deyoung2020eraser")
class Sufficiency:
    """mean over k of s(x) − s(of x, the share k of the highest values alone)    [DeYoung et al. 2020]

    As Comprehensiveness, keeping what that takes away.
    """

    shares: Any = param(default=SHARES)
    fill: Any = param(default="auto")
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        counts = _counts(order, _checked(self.shares))
        clean, left = await together(q.score(), _without(q, order.reversed(), order.parts - counts, self.fill))
        return _drops(clean, left, order, counts)


def _without(q: Query, order: Order, counts: Tensor, fill: Any) -> Ask[Tensor]:
    return q.score(Removed(q.x, order.rank, counts, filled(q, fill, "mean")), Stack())


def _drops(clean: Tensor, left: Tensor, order: Order, counts: Tensor) -> Reading:
    drop = (numbers(clean)[0] - numbers(left)[0]).T
    return reading(drop.mean(1), curve=(order.shares(counts), drop), extras={"ties": order.ties})


def _counts(order: Order, shares: Tensor) -> Tensor:
    """How many parts every share is, at least one: [shares, batch]."""
    return (shares[:, None] * order.parts).round().long().clamp_min(1)


def _checked(shares: Any) -> Tensor:
    given = torch.as_tensor(shares, dtype=torch.float64).flatten()
    if not len(given) or not bool(((given > 0) & (given < 1)).all()):
        raise ParameterError(f"shares={shares!r}", "numbers between 0 and 1")
    return given
