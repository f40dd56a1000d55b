"""What the picture says when only what the map marks is left: average drop, increase and gain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query, together
from pellucid.core.fold import Stack
from pellucid.core.method import one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.boards import Coalitions
from pellucid.ops.places import REDUCTIONS, filled, labels_of, per_place, shape
from pellucid.ops.removal import numbers

NOTHING = "the map has no positive value"


@metric(family="faithfulness", better="lower", range=(0.0, 1.0), cite="chattopadhay2018grad")
class AverageDrop:
    """max(0, s(x) − s(m ⊙ x)) / s(x),  m = max(map, 0) / max(map)    [Chattopadhay et al. 2018]

    The mean over photos is the average drop. Photos whose score is not above zero have no value.

    fill  what is there where m is zero
    """

    fill: Any = param(default="auto")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        before, after, without = await _shown(q, e, self.reduce, self.fill)
        drop = (before - after).clamp_min(0) / before
        return reading(drop, without={**without, "the score is not above zero": before <= 0})


@metric(family="faithfulness", better="higher", range=(0.0, 1.0), cite="chattopadhay2018grad")
class AverageIncrease:
    """1 where s(m ⊙ x) > s(x), else 0    [Chattopadhay et al. 2018]

    As AverageDrop, whose questions it shares.
    """

    fill: Any = param(default="auto")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        before, after, without = await _shown(q, e, self.reduce, self.fill)
        return reading(after > before, without=without)


@metric(family="faithfulness", better="higher", range=(0.0, 1.0), cite="zhang2024opticam")
class AverageGain:
    """max(0, s(m ⊙ x) − s(x)) / (1 − s(x))    [Zhang et al. 2024]

    As AverageDrop, whose questions it shares, and what that does not see. Defined on probabilities.
    """

    fill: Any = param(default="auto")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        before, after, without = await _shown(q, e, self.reduce, self.fill)
        gain = (after - before).clamp_min(0) / (1 - before)
        return reading(gain, without={**without, "the score is no probability below one": before >= 1})


async def _shown(q: Query, e: Map, reduce: str, fill: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Scores before and after, and where the map leaves nothing."""
    positive = per_place(e, q.x, reduce).clamp_min(0).flatten(1)
    top = positive.amax(1, keepdim=True)
    share = positive / torch.where(top > 0, top, 1)
    labels = labels_of(q.x, None).view(len(q.x), *shape(q.x)).to(q.x.device)
    points = Coalitions(q.x, share[:, None].to(q.x), labels, filled(q, fill, "black")[None])
    before, after = await together(q.score(), q.score(points, Stack()))
    return numbers(before)[0], numbers(after)[0, 0], {NOTHING: top[:, 0] <= 0}
