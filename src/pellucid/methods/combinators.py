"""Any method, averaged under noise or along a path."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moments, Weighted
from pellucid.core.method import Method, at_least, is_method, method, one_of, param
from pellucid.core.points import Along, Around
from pellucid.ops.quadrature import RULES


@method(kind=Kind.SENSITIVITY, cite="smilkov2017smoothgrad", needs=(Can.SCORE,), family="combinator")
class Smooth:
    """a = E[m(x + ε)],  ε ~ N(0, σ²), for any method m    [after Smilkov et al. 2017]

    method   the method; the targets stay those of the clean input
    samples, spread, statistic, seed as in SmoothGrad
    """

    method: Any = param(kw_only=False)
    samples: int = at_least(2, default=16)
    spread: float = at_least(0.0, default=0.15)
    statistic: str = one_of("mean", "square", "variance", default="mean")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        inner = _method(self.method)
        points = Around(q.x, q.std(self.spread), self.samples, self.seed)
        got = await q.explain(inner, points, Moments())
        m, like = got.values, got.like
        kind = like.kind or inner.about.kind
        if self.statistic != "mean":
            values = m.square if self.statistic == "square" else m.var
            return attribution(values, dims=like.dims[1:], at=like.at, kind=Kind.SPREAD)
        return attribution(m.mean, dims=like.dims[1:], at=like.at, kind=kind, std_error=m.std_error)


@method(kind=Kind.SENSITIVITY, cite="sundararajan2017axiomatic", needs=(Can.SCORE,), family="combinator")
class Integrate:
    """a = f · ∫₀¹ m(b + t(x − b)) dt, for any method m    [after Sundararajan et al. 2017]

    method       the method; the targets stay those of the clean input
    steps, baseline, rule as in IntegratedGradients
    times_input  f = x − b, so that Integrate(Gradient) is integrated gradients; otherwise f = 1
    """

    method: Any = param(kw_only=False)
    steps: int = at_least(1, default=16)
    baseline: Any = param(default="black")
    rule: str = one_of("gauss_legendre", "midpoint", "trapezoid", "left", "right", default="gauss_legendre")
    times_input: bool = param(default=False)

    async def explain(self, q: Query) -> Attribution:
        inner = _method(self.method)
        b = q.baseline(self.baseline)
        t, w = RULES[self.rule](self.steps)
        got = await q.explain(inner, Along(b, q.x, t), Weighted(w))
        values, like = got.values, got.like
        if not self.times_input:
            return attribution(values, dims=like.dims[1:], at=like.at, kind=like.kind or inner.about.kind)
        if values.shape[1:] != q.x.shape:
            raise ParameterError(
                f"times_input with {inner.about.title}, whose values have shape {tuple(values.shape[2:])}",
                f"values of the input's shape {tuple(q.x.shape[1:])}",
            )
        return attribution((q.x - b) * values, kind=Kind.CONTRIBUTION)


def _method(given: Any) -> Method:
    if not is_method(given):
        raise ParameterError(
            f"method={given!r}", "a method, such as GradCAM()", "give an instance, not a name or class"
        )
    return given
