"""Self-checks that travel with results."""

from __future__ import annotations

from torch import Tensor

from pellucid.core.ask import RowCheck


def completeness(values: Tensor, difference: Tensor, limit: float = 0.05) -> RowCheck:
    """|Σ_i a_i − Δs| / |Δs|: how much of the difference of scores the values fail to account for.

    values: [target, batch, ...]; difference: Δs = s(x) − s(baseline), [target, batch].
    """
    return RowCheck(
        name="completeness",
        value=(gap := relative_gap(values, difference)),
        passed=gap <= limit,
        limit=limit,
        says="part of the difference of scores that the values do not account for",
    )


def relative_gap(values: Tensor, difference: Tensor) -> Tensor:
    """|Σ_i a_i − Δs| / |Δs|, [target, batch]; 0 where both vanish."""
    total = values.double().flatten(2).sum(2)
    gap = (total - difference.double()).abs()
    return (gap / difference.double().abs()).nan_to_num(nan=0.0)
