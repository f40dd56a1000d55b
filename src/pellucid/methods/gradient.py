"""The plain gradient, and the gradient times what it belongs to."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.explanation import Kind
from pellucid.core.method import method, param


@method(
    kind=Kind.SENSITIVITY,
    cite="simonyan2014deep",
    keeps={"linear", "dummy", "symmetry", "implementation_invariance"},
    family="gradient",
)
class Gradient:
    """a_i = ∂s/∂x_i    [Simonyan et al. 2014; "vanilla gradient", "saliency" with the sign kept]

    at      a layer: the gradient with respect to its activation; None for the input
    """

    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        if self.at is None:
            return attribution(await q.grad())
        _, slope = await q.site(self.at)
        return attribution(slope, at=self.at)


@method(
    kind=Kind.CONTRIBUTION,
    title="Input × Gradient",
    cite="shrikumar2016not",
    keeps={"linear", "dummy", "symmetry", "implementation_invariance"},
    family="gradient",
)
class InputXGradient:
    """a_i = x_i ∂s/∂x_i    [Shrikumar et al. 2016], x in the units of the model's rows

    at      a layer: its activation times the gradient there; None for the input
    """

    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        if self.at is None:
            return attribution(q.x * await q.grad())
        act, slope = await q.site(self.at)
        return attribution(act * slope, at=self.at)
