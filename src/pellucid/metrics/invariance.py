"""Does the explanation stay where nothing changes, and is nothing said of what does nothing?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Can, Query, Variant, Where, together
from pellucid.core.errors import InputError
from pellucid.core.fold import Only, Stack
from pellucid.core.method import Method, at_least, is_method, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.core.points import At
from pellucid.ops.boards import Coalitions
from pellucid.ops.places import REDUCTIONS, amounts, filled, labels_of, partition, shape, sums
from pellucid.ops.removal import numbers

RULES = "rules of relevance have no meaning for the subtraction"


def _relevance(method: Method) -> bool:
    """Whether a method, or the one inside it, hands on relevance by rules."""
    inner = getattr(method, "method", None)
    return hasattr(method, "composite") or (is_method(inner) and _relevance(inner))


def _unchanged(_: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {}


@metric(
    family="axiomatic",
    better="lower",
    range=(0.0, float("inf")),
    cite="kindermans2019unreliability",
    needs={Can.SCORE, Can.VARIANT},
    wants=("method",),
    output="explained",
)
class InputInvariance:
    """‖φ'(x + c) − φ(x)‖ / ‖φ(x)‖,  φ' the method on the model that subtracts c first    [Kindermans et al. 2019]

    The same function of the same photo in other units. Baselines and fills are said in pixels and move along; `zero`,
    which is a number of the model's units, does not. Rules of relevance have no meaning for the subtraction, which is
    no part of the model; they have no value. extras: gap, the largest difference of the scores, which are equal
    but for rounding.

    shift  c, added to every number that enters the model
    """

    shift: float = param(default=1.0, says="added to every number that enters the model, in the model's own units")

    async def measure(self, q: Query, e: Map) -> Reading:
        if e.method is None:
            raise InputError("a map that no method made", "the method that made the map")
        if _relevance(e.method):
            nothing = torch.full((len(q.x),), torch.nan, dtype=torch.float64)
            return reading(nothing, without={RULES: nothing.isnan()})
        where, there = Where(variant=Variant(("shifted", self.shift), _unchanged, self.shift)), At(q.x + self.shift)
        got, then, now = await together(
            q.explain(e.method, there, Only(), where), q.score(there, where=where), q.score()
        )
        far = (got.values[0].detach().to("cpu", torch.float64) - e.values).flatten(1).norm(dim=1)
        gap = (numbers(then) - numbers(now))[0].abs()
        return reading(far / e.values.flatten(1).norm(dim=1), extras={"gap": gap})


@metric(family="axiomatic", better="lower", range=(0.0, 1.0), title="Non-sensitivity", cite="nguyen2020quantitative")
class NonSensitivity:
    """share of the parts of which map and model say different things about doing nothing    [Nguyen & Martinez 2020]

    A part does nothing for the map when its value is below the tolerance, and for the model when hiding it changes the
    score by less, each relative to the largest one. extras: dummy, the share of the map's magnitude on parts that do
    nothing for the model; missed, the share of all changes of the score on parts that do nothing for the map.

    tolerance  below which a part does nothing, relative to the largest
    """

    tolerance: float = at_least(0.0, default=1e-3, most=1.0)
    fill: Any = param(default="auto")
    regions: Any = param(default="grid")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        labels = labels_of(q.x, partition(q, self.regions))
        said = sums(amounts(e, q.x, self.reduce).flatten(1), labels).abs()
        parts = said.shape[1]
        alone = (~torch.eye(parts, dtype=torch.bool))[None]
        board = labels.view(len(q.x), *shape(q.x)).to(q.x.device)
        hidden = Coalitions(q.x, alone, board, filled(q, self.fill, "mean")[None])
        clean, left = await together(q.score(), q.score(hidden, Stack()))
        fall = (numbers(clean)[0] - numbers(left)[0]).T.abs()
        there = torch.zeros_like(said).scatter_(1, labels, 1.0) > 0
        still = {"hiding parts does not change the score": ~(fall.amax(1) > 0)}
        quiet = [(one <= self.tolerance * one.amax(1, keepdim=True)) & there for one in (said, fall)]
        return reading(
            (quiet[0] ^ quiet[1]).sum(1) / there.sum(1).double(),
            extras={
                "dummy": (said * quiet[1]).sum(1) / said.sum(1),
                "missed": (fall * quiet[0]).sum(1) / fall.sum(1),
            },
            without=still,
        )
