"""Self-checks that travel with results."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.ask import RowCheck
from pellucid.core.errors import SiteError


def completeness(values: Tensor, difference: Tensor, limit: float = 0.05) -> RowCheck:
    """|Σ_i a_i − Δs| / |Δs|: how much of the difference of scores the values fail to account for.

    values: [target, batch, ...]; difference: Δs = s(x) − s(baseline), [target, batch].
    """
    return RowCheck(
        name="completeness",
        value=(gap := relative_gap(values, difference)),
        passed=gap <= limit,
        limit=limit,
        says="part of the difference of scores that the values do not account for; more steps lower it",
    )


def relative_gap(values: Tensor, difference: Tensor) -> Tensor:
    """|Σ_i a_i − Δs| / |Δs|, [target, batch]; 0 where both vanish."""
    total = values.double().flatten(2).sum(2)
    gap = (total - difference.double()).abs()
    return torch.where(gap == 0, gap, gap / difference.double().abs())


def with_places(act: Tensor, at: object) -> Tensor:
    """An activation [batch, channel, height, width]; SiteError for one without height and width."""
    if act.ndim != 4:
        raise SiteError(
            f"layer {at} answers {tuple(act.shape[1:])} per row, without height and width",
            "a layer with a feature map",
            "at='auto' finds the last one; pellucid layers MODEL lists all",
        )
    return act
