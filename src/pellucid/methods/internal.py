"""What flows through the units of one layer."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, attribution, together
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack, Weighted
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import Along, At
from pellucid.ops.checks import completeness
from pellucid.ops.quadrature import RULES

NEEDS = (Can.GRADIENT, Can.SITES)


@method(kind=Kind.CONTRIBUTION, cite="dhamdhere2019important", needs=NEEDS, keeps={"completeness"}, family="internal")
class Conductance:
    """a_j = ∫₀¹ ∂s/∂h_j (x_t) dh_j/dt dt,  x_t = b + t(x − b), h a layer's units    [Dhamdhere et al. 2019, eq. 2]

    Approximated by Σ_k ½(g_k + g_{k−1}) (h_k − h_{k−1}). It sums to s(x) − s(b) when all paths lead through the layer.

    at        the layer; `auto` is the last one with height and width
    steps     panels on the line
    baseline  start of the line, in pixel units
    """

    at: Any = param(default="auto")
    steps: int = at_least(1, default=32)
    baseline: Any = param(default="black")

    async def explain(self, q: Query) -> Attribution:
        b = q.baseline(self.baseline)
        t = tuple(k / self.steps for k in range(self.steps + 1))
        (h, g), top, bottom = await together(q.site(self.at, Along(b, q.x, t), Stack()), q.score(), q.score(At(b)))
        values = ((g[:, 1:] + g[:, :-1]) / 2 * (h[1:] - h[:-1])).sum(1)
        return attribution(values, at=self.at, checks=[completeness(values, top - bottom)])


@method(kind=Kind.SENSITIVITY, title="Internal Influence", cite="leino2018influence", needs=NEEDS, family="internal")
class InternalInfluence:
    """a_j = ∫₀¹ ∂s/∂h_j (b + t(x − b)) dt, for the units h of a layer    [Leino et al. 2018, eq. 1]

    at, steps, baseline as in Conductance; rule as in IntegratedGradients
    """

    at: Any = param(default="auto")
    steps: int = at_least(1, default=32)
    baseline: Any = param(default="black")
    rule: str = one_of("gauss_legendre", "midpoint", "trapezoid", "left", "right", default="gauss_legendre")

    async def explain(self, q: Query) -> Attribution:
        t, w = RULES[self.rule](self.steps)
        _, slope = await q.site(self.at, Along(q.baseline(self.baseline), q.x, t), Weighted(w))
        return attribution(slope, at=self.at)
