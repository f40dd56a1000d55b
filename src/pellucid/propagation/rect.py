"""Rectified gradients: at every rectifier only the strongest signals go on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Manner, Place, Rule


@dataclass(frozen=True, slots=True)
class Rect(Rule):
    """R_in = 1[a · R_out > τ] · R_out on rectifiers with output a    [kim2019saliency, sec. 4]

    τ is the percentile of a · R_out over the call, one for each row. All other operators have their plain gradient.

    percentile  share of a rectifier's signals that is cut off, in per cent
    """

    percentile: float = 98.0

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "rectified gradient"

    @property
    def manner(self) -> Manner:
        """It does not ask for the layer."""
        return Manner(named=False)

    def rule_for(self, place: Place) -> Rule | None:
        """Itself for rectifiers."""
        return self if place.kind is Kind.RECTIFIER else None

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """All inputs: the output is borrowed."""
        return inputs

    def borrows_output(self, call: Call) -> bool:
        """The model may overwrite it."""
        return True

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The signals above τ."""
        signal = upstream[0]
        worth = (kept[-1] * signal).flatten(1)
        cut = threshold(worth, self.percentile).view(-1, *(1,) * (signal.ndim - 1))
        passed = torch.where(worth.view(signal.shape) > cut, signal, 0.0)
        return (*(None for _ in range(call.subject)), passed)


def threshold(worth: Tensor, percentile: float) -> Tensor:
    """The percentile of every row [row, n]: its number of rank ⌊p (n − 1) / 100⌋ from below, so that the largest of a
    few passes too.
    """
    rank = int(percentile * (worth.shape[1] - 1) / 100) + 1
    return worth.kthvalue(rank, 1).values
