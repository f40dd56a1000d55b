"""Self-checks that travel with results."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.ask import RowCheck
from pellucid.core.errors import SiteError


def completeness(
    values: Tensor,
    difference: Tensor,
    limit: float = 0.05,
    floor: Tensor | None = None,
    says: str = "part of the difference of scores that the values do not account for; more steps lower it",
) -> RowCheck:
    """|Σ_i a_i − Δs| / max(|Δs|, floor): how much of the difference of scores the values fail to account for.

    values: [target, batch, ...]; difference: Δs = s(x) − s(baseline), [target, batch]; floor: smallest difference that
    rounding leaves a meaning, likewise.
    """
    return RowCheck(
        name="completeness",
        value=(gap := relative_gap(values, difference, floor)),
        passed=gap <= limit,
        limit=limit,
        says=says,
    )


def relative_gap(values: Tensor, difference: Tensor, floor: Tensor | None = None) -> Tensor:
    """|Σ_i a_i − Δs| / max(|Δs|, floor), [target, batch]; 0 where both vanish."""
    total = values.double().flatten(2).sum(2)
    gap = (total - difference.double()).abs()
    size = difference.double().abs()
    return torch.where(gap == 0, gap, gap / (size if floor is None else size.maximum(floor.double())))


def with_places(act: Tensor, at: object) -> Tensor:
    """An activation [batch, channel, height, width]; SiteError for one without height and width."""
    if act.ndim != 4:
        raise SiteError(
            f"layer {at} answers {tuple(act.shape[1:])} per row, without height and width",
            "a layer with a feature map",
            "at='auto' finds the last one; pellucid layers MODEL lists all",
        )
    return act
