"""Gradients along a straight line."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, Where, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Weighted
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import Along, At
from pellucid.core.site import as_site
from pellucid.ops.checks import completeness, relative_gap
from pellucid.ops.quadrature import RULES


@method(
    kind=Kind.CONTRIBUTION,
    title="Integrated Gradients",
    cite="sundararajan2017axiomatic",
    keeps={"linear", "completeness", "dummy", "symmetry", "implementation_invariance"},
    family="path",
)
class IntegratedGradients:
    """a_i = (x_i − b_i) ∫₀¹ ∂s/∂x_i (b + t(x − b)) dt    [Sundararajan et al. 2017, eq. 1]

    steps      points on the line; the error that remains is in checks["completeness"]
    baseline   an input that carries no evidence, in pixel units; several in a tuple are averaged
    rule       how the integral is approximated
    tolerance  None, or the largest completeness gap allowed: a row's steps are doubled until it is not above it
    max_steps  where doubling ends
    at         a layer: the path runs between its activations at baseline and input, with the input itself in place
    """

    steps: int = at_least(1, default=32)
    baseline: Any = param(default="black")
    rule: str = one_of("gauss_legendre", "midpoint", "trapezoid", "left", "right", default="gauss_legendre")
    tolerance: float | None = at_least(0.0, default=None)
    max_steps: int = at_least(1, default=512)
    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        ends = await self._ends(q)
        where = Where() if self.at is None else Where(into=as_site(self.at))
        steps, n, limit = self.steps, len(ends), inf if self.tolerance is None else self.tolerance
        values = used = q.x.new_zeros(())
        short = torch.ones(1, 1, dtype=torch.bool, device=q.x.device)
        while True:
            t, w = RULES[self.rule](steps)
            got = await together(
                *(q.grad(Along(b, x, t), Weighted(w), where) for b, x in ends),
                *(q.score(At(b), where=where) for b, _ in ends),
                q.score(),
            )
            latest = _mean([(x - b) * slope for (b, x), slope in zip(ends, got[:n], strict=True)])
            difference = got[-1] - _mean(list(got[n:-1]))
            # what is good enough stays: no row and no target depends on how long the others take
            values = torch.where(short.view(*short.shape, *(1,) * (latest.ndim - 2)), latest, values)
            used = torch.where(short, steps, used).expand_as(difference)
            short = relative_gap(values, difference) > limit
            if steps * 2 > self.max_steps or not bool(short.any()):
                break
            steps *= 2
        check = completeness(values, difference, 0.05 if self.tolerance is None else self.tolerance)
        return attribution(values, at=self.at, checks=[check], extras={"steps": used.long()})

    async def _ends(self, q: Query) -> list[tuple[Tensor, Tensor]]:
        """Start and end of every path."""
        many = self.baseline if isinstance(self.baseline, (tuple, list)) else (self.baseline,)
        if not many:
            raise ParameterError("no baselines", "at least one start of a path", "baseline='black'")
        starts = [q.baseline(b) for b in many]
        if self.at is None:
            return [(b, q.x) for b in starts]
        (end, _), *inner = await together(q.site(self.at), *(q.site(self.at, At(b)) for b in starts))
        return [(act, end) for act, _ in inner]


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(0)
