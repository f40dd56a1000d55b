"""Games with known answers: models that look only at which cells of a white picture are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.ops.designs import Design

GRID = (2, 3)
PLAYERS = 6
CELLS = "cells(2, 3)"
WHITE = torch.ones(1, 3, 8, 9, dtype=torch.float64)


class Shown(nn.Module):
    """Any function of the shares at which the cells of a grid are shown, where hidden is black."""

    def __init__(self, worth: Callable[[Tensor], Tensor], grid: tuple[int, int] = GRID) -> None:
        super().__init__()
        self.worth, self.grid = worth, grid
        self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))  # what the model computes in

    def forward(self, x: Tensor) -> Tensor:
        return self.worth(F.adaptive_avg_pool2d(x.mean(1), self.grid).flatten(1))


def number(shown: Tensor) -> Tensor:
    """The number of every coalition: player i is bit i."""
    return ((shown > 0.5).long() << torch.arange(shown.shape[-1])).sum(-1)


def table(targets: int = 2, players: int = PLAYERS, seed: int = 0) -> Tensor:
    """The worth of every coalition, drawn at random: [2^players, targets]."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2**players, targets, generator=draw, dtype=torch.float64)


def looked_up(worths: Tensor) -> Shown:
    return Shown(lambda shown: worths[number(shown)])


def weights(targets: int = 2, players: int = PLAYERS) -> Tensor:
    return torch.linspace(-1, 2, targets * players, dtype=torch.float64).view(players, targets)


def additive(w: Tensor) -> Shown:
    return Shown(lambda shown: 0.3 + shown @ w)


def shapley_by_hand(worths: Sequence[float]) -> list[float]:
    """Over all orders of the players, the mean of what each adds to those before it."""
    return by_orders(worths, list(permutations(range(len(worths).bit_length() - 1))))


def by_orders(worths: Any, every: Sequence[Sequence[int]]) -> list[Any]:
    """The mean over orders of the players of what each adds to those before it.  worths: by the bits of who is in"""
    values: list[Any] = [0.0] * len(every[0])
    for order in every:
        before = 0
        for i in order:
            values[i] += (worths[before | 1 << i] - worths[before]) / len(every)
            before |= 1 << i
    return values


def banzhaf_by_hand(worths: Sequence[float]) -> list[float]:
    players = len(worths).bit_length() - 1
    return [
        sum(worths[s | 1 << i] - worths[s & ~(1 << i)] for s in range(1 << players)) / (1 << players)
        for i in range(players)
    ]


def designed(method: Any, players: int) -> Design:
    """The coalitions of a method's first round."""
    if hasattr(method, "_design"):
        return method._design(players)
    drawn = method._draw(players, method.samples, method.seed)
    return method._first(drawn) if hasattr(method, "_first") else drawn
