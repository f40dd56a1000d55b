"""Do the contributions add up to what they are said to be contributions to?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.core.points import At
from pellucid.ops.boards import region_mean
from pellucid.ops.removal import numbers

SCORE = "score"


@metric(
    family="axiomatic",
    better="lower",
    range=(0.0, float("inf")),
    cite="sundararajan2017axiomatic",
    kinds={Kind.CONTRIBUTION},
    output="explained",
    flat=True,
)
class CompletenessGap:
    """|Σ a − Δ| / |Δ|,  Δ = s(x) − s(b)    [Sundararajan et al. 2017]

    A gap rather than a yes or no, for no float equals another. Maps painted from regions add up over the regions.
    extras: gap, |Σ a − Δ| itself; difference, Δ. Where |Δ| is rounding there is no value.

    baseline  b; `auto` is the baseline or fill of the method itself, and for methods without one the `score`: Δ = s(x)
    """

    baseline: Any = param(default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        start = _start(q, e, self.baseline)
        if start is None:
            clean = await q.score()
            difference = numbers(clean)[0]
            size = difference.abs()
        else:
            clean, empty = (numbers(one)[0] for one in await together(q.score(), q.score(At(start))))
            difference, size = clean - empty, clean.abs().maximum(empty.abs())
        players = e.whence.extras.get("players")
        total = (e.values if players is None else numbers(players)).flatten(1).sum(1)
        gap = (total - difference).abs()
        rounding = difference.abs() <= 64 * torch.finfo(q.x.dtype).eps * size
        return reading(
            gap / difference.abs(),
            extras={"gap": gap, "difference": difference},
            without={"the difference of scores is rounding": rounding},
        )


def _start(q: Query, e: Map, baseline: Any) -> Tensor | None:
    """b as rows [batch, ...], or None for the score itself."""
    if isinstance(baseline, str) and baseline == SCORE:
        return None
    if not (isinstance(baseline, str) and baseline == "auto"):
        return q.baseline(baseline)
    params, regions = e.whence.record.params, e.whence.extras.get("regions")
    named = params.get("baseline", params.get("fill"))
    if named is None:
        return None
    if named in ("auto", "region_mean") and regions is not None and q.x.ndim == 4:
        return region_mean(q, regions)
    if isinstance(named, (dict, list)):
        raise ParameterError(
            f"{e.whence.title} from a baseline that its record does not hold",
            "the baseline",
            "CompletenessGap(baseline=)",
        )
    return q.baseline("zero" if named == "auto" else named)
