"""Gradients under noise: their mean, their mean square, their variance."""

from __future__ import annotations

from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moment, Moments
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import Around


@method(
    kind=Kind.SENSITIVITY,
    title="SmoothGrad",
    cite=("smilkov2017smoothgrad", "hooker2019benchmark"),
    keeps={"linear", "dummy", "implementation_invariance"},
    family="gradient",
)
class SmoothGrad:
    """a_i = E[g_i],  g = ∂s/∂x (x + ε),  ε ~ N(0, σ²)    [Smilkov et al. 2017]

    samples      draws; the standard error of the mean is reported
    spread       σ as a fraction of the picture's range, in pixels; the paper recommends 0.1 to 0.2
    statistic    `mean`; `square` is E[g²] (SmoothGrad-squared, Hooker et al. 2019); `variance` is VarGrad, unbiased
    times_input  multiply the mean with the clean input: x_i E[g_i], not E[(x_i + ε_i) g_i]
    seed         start of the noise; the draws are the same for every image and method
    """

    samples: int = at_least(1, default=32)
    spread: float = at_least(0.0, default=0.15)
    statistic: str = one_of("mean", "square", "variance", default="mean")
    times_input: bool = param(default=False)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        if self.times_input and self.statistic != "mean":
            raise ParameterError(f"times_input with statistic={self.statistic!r}", "statistic='mean'")
        if self.samples == 1 and self.statistic == "variance":
            raise ParameterError("the variance of a single draw", "samples=2 or more")
        g: Moment = await q.grad(Around(q.x, q.std(self.spread), self.samples, self.seed), Moments())
        if self.statistic == "square":
            return attribution(g.square, kind=Kind.SPREAD)
        if self.statistic == "variance":
            return attribution(g.var, kind=Kind.SPREAD)
        error = g.std_error if self.samples > 1 else None  # one draw does not tell
        if self.times_input:
            error = None if error is None else q.x.abs() * error
            return attribution(q.x * g.mean, kind=Kind.CONTRIBUTION, std_error=error)
        return attribution(g.mean, std_error=error)


@method(kind=Kind.SPREAD, title="VarGrad", cite="adebayo2018local", family="gradient")
class VarGrad:
    """a_i = Var[g_i],  g = ∂s/∂x (x + ε),  ε ~ N(0, σ²), unbiased    [Adebayo et al. 2018]

    samples, spread, seed as in SmoothGrad, whose gradients are shared.
    """

    samples: int = at_least(2, default=32)
    spread: float = at_least(0.0, default=0.15)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        g: Moment = await q.grad(Around(q.x, q.std(self.spread), self.samples, self.seed), Moments())
        return attribution(g.var)
