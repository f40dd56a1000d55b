"""Backward passes in which rectifiers let only some signals through."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, Where, attribution
from pellucid.core.explanation import Kind
from pellucid.core.method import method, param
from pellucid.propagation import Deconv, Guided

NEEDS = (Can.GRADIENT, Can.RULES)


@method(
    kind=Kind.SENSITIVITY,
    title="Guided Backpropagation",
    cite=("springenberg2015striving", "adebayo2018sanity"),
    needs=NEEDS,
    family="guided",
)
class GuidedBackprop:
    """R_in = 1[x > 0] · 1[R_out > 0] · R_out at every rectifier    [Springenberg et al. 2015]

    Sharp pictures, but largely independent of the weights behind the first layers (Adebayo et al. 2018): an edge
    detector more than an explanation.

    at      a layer: the guided signal there; None for the input
    """

    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        return await _signal(q, self.at, Where(rule=Guided()))


@method(kind=Kind.SENSITIVITY, title="Deconvnet", cite="zeiler2014visualizing", needs=NEEDS, family="guided")
class Deconvnet:
    """R_in = 1[R_out > 0] · R_out at every rectifier    [Zeiler & Fergus 2014]

    at      a layer: the signal there; None for the input
    """

    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        return await _signal(q, self.at, Where(rule=Deconv()))


async def _signal(q: Query, at: Any, where: Where) -> Attribution:
    if at is None:
        return attribution(await q.grad(where=where))
    _, signal = await q.site(at, where=where)
    return attribution(signal, at=at)
