"""Gradients at random points between backgrounds and the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, RowCheck, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moment, Moments, Totals
from pellucid.core.method import at_least, method, param
from pellucid.core.points import At, Between, Span, generator


@method(
    kind=Kind.CONTRIBUTION,
    title="Expected Gradients",
    cite=("erion2021improving", "lundberg2017unified"),
    keeps={"linear", "dummy", "implementation_invariance"},
    family="path",
)
class ExpectedGradients:
    """a_i = E[(x_i − b_i) ∂s/∂x_i (b + t(x − b))],  b from backgrounds, t ~ U(0, 1)    [Erion et al. 2021, eq. 3]

    Also known as GradientSHAP. The sum over i is s(x) − E[s(b)] in expectation; checks["completeness"] compares both
    with four standard errors of the sum.

    samples    draws of (b, t)
    baselines  backgrounds in pixel units: names, numbers, tensors; each drawn with equal probability; those of the
               default fit rows of any shape
    spread     noise on the input before each draw, as a fraction of its range
    seed       start of the draws
    """

    samples: int = at_least(2, default=64)
    baselines: Any = param(default=("black", "white", "noise"))
    spread: float = at_least(0.0, default=0.0)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        backgrounds = torch.stack([q.baseline(b) for b in _many(self.baselines)])
        draw = generator(self.seed, "expected gradients")
        which = torch.randint(len(backgrounds), (self.samples,), generator=draw).tolist()
        t = torch.rand(self.samples, generator=draw, dtype=torch.float64).tolist()
        points = Between(q.x, backgrounds, tuple(which), tuple(t), q.std(self.spread), self.seed)
        asks = [q.grad(points, Moments(Span(points))), q.grad(points, Totals(Span(points))), q.score()]
        got = await together(*asks, *(q.score(At(b)) for b in backgrounds))
        product: Moment = got[0]
        drawn = torch.stack([got[3 + b] for b in which])  # s(b) of the draws themselves
        return attribution(
            product.mean, std_error=product.std_error, checks=[_sum_check(got[1], got[2] - drawn.mean(0))]
        )


def _sum_check(totals: Tensor, difference: Tensor) -> RowCheck:
    """|Σ_i a_i − Δs| in standard errors of the sum."""
    count = totals.shape[1]
    rounding = 1e3 * torch.finfo(totals.dtype).eps * (totals.abs().mean(1) + difference.abs())
    error = (totals.std(1) / count**0.5).maximum(rounding)  # draws that all agree leave nothing but rounding
    gap = (totals.mean(1) - difference).abs() / error.clamp_min(torch.finfo(totals.dtype).tiny)
    return RowCheck(
        name="completeness",
        value=gap,
        passed=gap <= 4.0,
        limit=4.0,
        says="distance between the sum of the values and the difference of scores, in standard errors of the sum",
    )


def _many(specs: Any) -> tuple[Any, ...]:
    many = tuple(specs) if isinstance(specs, (tuple, list)) else (specs,)
    if not many:
        raise ParameterError("no baselines", "at least one background")
    return many
