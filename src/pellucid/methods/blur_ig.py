"""Gradients along the way from a blurred picture to the sharp one."""

from __future__ import annotations

from pellucid.core.ask import Attribution, Query, attribution, together
from pellucid.core.errors import InputError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Weighted
from pellucid.core.method import at_least, method, one_of
from pellucid.core.points import At, Built
from pellucid.ops.checks import completeness
from pellucid.ops.diffusion import diffused, diffusion_slope
from pellucid.ops.quadrature import RULES


@method(
    kind=Kind.CONTRIBUTION,
    title="Blur Integrated Gradients",
    cite=("xu2020attribution", "lindeberg1990scale"),
    keeps={"linear", "completeness", "dummy", "implementation_invariance"},
    family="path",
)
class BlurIG:
    """a_i = −∫₀^σ_max ∂s/∂x_i (L(σ)) ∂L_i(σ)/∂σ dσ,  L(σ) the picture under a blur of σ    [Xu et al. 2020, eq. 4]

    No baseline has to be chosen: the start is the picture without its details. The values sum to s(x) − s(L(σ_max)).
    σ = σ_max u² with u evenly covered, for most of what a model reads is lost in the first few pixels of blur.

    steps      points on the way; the error that remains is in checks["completeness"]
    max_sigma  the blur at the start; 50 is the paper's and leaves little more than colours of a picture of 224 pixels
    rule       how the integral over u is approximated
    """

    steps: int = at_least(1, default=64)
    max_sigma: float = at_least(0.0, default=50.0, above=True)
    rule: str = one_of("gauss_legendre", "midpoint", "trapezoid", "left", "right", default="gauss_legendre")

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        u, w = RULES[self.rule](self.steps)
        sigma = tuple(self.max_sigma * at**2 for at in u)
        weights = tuple(-weight * 2 * self.max_sigma * at for at, weight in zip(u, w, strict=True))  # −dσ
        points = Built(q.x, ("diffused", sigma), len(sigma), lambda k, x: diffused(x, sigma[k]))
        slopes = Built(q.x, ("diffusion slope", sigma), len(sigma), lambda k, x: diffusion_slope(x, sigma[k]))
        values, sharp, start = await together(
            q.grad(points, Weighted(weights, times=slopes)), q.score(), q.score(At(diffused(q.x, self.max_sigma)))
        )
        return attribution(values, checks=[completeness(values, sharp - start)])
