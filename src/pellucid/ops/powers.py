"""Means of the powers of many answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.fold import Tally
from pellucid.core.points import Points


@dataclass(frozen=True, slots=True)
class Powers:
    """(1/n) Σ_k v_k^p for p = 1 … most, beside each other: [targets, batch, most, ...]."""

    most: int = 3
    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        return _Powers(self.most, count, batch)


class _Powers(Tally):
    def __init__(self, most: int, count: int, batch: int) -> None:
        self.most, self.count, self.batch = most, count, batch
        self.total: Tensor | None = None

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        if self.total is None:
            self.total = values.new_zeros((values.shape[0], self.batch, self.most, *values.shape[3:]))
        powers = torch.stack([values**p for p in range(1, self.most + 1)])
        self.total[:, b0:b1] += powers.sum(2).movedim(0, 2) / self.count

    def result(self) -> Tensor:
        if self.total is None:
            raise RuntimeError("a fold without any answer")
        return self.total
