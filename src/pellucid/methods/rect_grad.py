"""Gradients of which only the strongest pass each rectifier."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, Where, attribution
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.propagation.rect import Rect


@method(
    kind=Kind.SENSITIVITY,
    title="RectGrad",
    cite="kim2019saliency",
    needs=(Can.GRADIENT, Can.RULES),
    family="guided",
)
class RectGrad:
    """R_in = 1[a · R_out > τ] · R_out at every rectifier with output a    [Kim et al. 2019]

    τ is a percentile of a · R_out, one for each row and rectifier: what matters little to the score in any layer is
    taken for noise. The signal at the input, not multiplied with it.

    percentile  share of a rectifier's signals that is cut off, in per cent
    at          a layer: the signal there; None for the input
    """

    percentile: float = at_least(0.0, default=98.0, most=100.0)
    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        where = Where(rule=Rect(self.percentile))
        if self.at is None:
            return attribution(await q.grad(where=where))
        _, signal = await q.site(self.at, where=where)
        return attribution(signal, at=self.at)
