"""Removal that leaves no trace: what is taken away is imputed from its neighbours (ROAD)."""

from __future__ import annotations

from typing import Any

import torch

from pellucid.core.ask import Query, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.imputation import Imputed
from pellucid.ops.places import REDUCTIONS, partition, per_place
from pellucid.ops.removal import Order, numbers

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@metric(family="faithfulness", better="higher", range=(-1.0, 1.0), title="ROAD", cite="rong2022consistent")
class ROAD:
    """mean over k of ½ [s(x without the share k of its lowest values) − s(x without that of its highest)]

    Places that are taken away become the weighted mean of their neighbours, which makes a linear system, plus a little
    noise, so that the shape of the hole tells the model nothing [Rong et al. 2022]. `most` alone is the fall of the
    score, s(x) − s(x without the highest). Exactly the share k goes: equal values go in an order drawn from the seed.
    The curve has the summands.

    shares  k, each between 0 and 1
    std     of the noise, in pixel units
    """

    shares: Any = param(default=SHARES)
    first: str = one_of("most", "both", default="both")
    std: float = at_least(0.0, default=0.01)
    regions: Any = param(default="pixels")
    reduce: str = one_of(*REDUCTIONS, default="auto")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        if q.x.ndim != 4:
            raise InputError(f"ROAD of rows of shape {tuple(q.x.shape[1:])}", "pictures, whose pixels have neighbours")
        shares = torch.as_tensor(self.shares, dtype=torch.float64).flatten()
        if not len(shares) or not bool(((shares > 0) & (shares < 1)).all()):
            raise ParameterError(f"road.shares = {self.shares!r}", "numbers between 0 and 1")
        order = Order.of(per_place(e, q.x, self.reduce), partition(q, self.regions), self.seed)
        counts = (shares[:, None] * order.parts).round().long()
        unit = q.front.to_rows(torch.ones_like(q.x[:1])) - q.front.to_rows(torch.zeros_like(q.x[:1]))
        fill, std, seed = q.baseline("mean"), self.std * unit.abs(), self.seed + (1 << 41)
        orders = [order] if self.first == "most" else [order, order.reversed()]
        points = [Imputed(q.x, one.rank, counts, fill, std, seed) for one in orders]
        clean, *left = await together(q.score(), *(q.score(one, Stack()) for one in points))
        high, *low = (numbers(one)[0].T for one in left)
        gap = (low[0] - high) / 2 if low else numbers(clean)[0][:, None] - high
        return reading(gap.mean(1), curve=(order.shares(counts), gap), extras={"ties": order.ties})
