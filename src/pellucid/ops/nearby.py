"""Explanations of inputs nearby: the points, and how far the explanation moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.fold import Tally
from pellucid.core.points import Points, generator

APART = 1e-6
"""Values smaller than this part of the largest one change by no percentage."""


@dataclass(frozen=True, slots=True, eq=False)
class Near(Points):
    """The clean row, and `samples` rows x + r · u_k with u_k uniform in [−1, 1]: a box around x.

    radius: [batch or 1, ...], broadcast against x, in the units of x. Draw k is the same for every row and method, and
    another than those of any method.
    """

    x: Tensor
    radius: Tensor
    samples: int
    seed: int

    @property
    def count(self) -> int:
        return self.samples + 1

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x = self.x[b0:b1]
        radius = self.radius if len(self.radius) == 1 else self.radius[b0:b1]
        return torch.cat([x if k == 0 else x + radius * self._draw(k) for k in range(k0, k1)])

    def _draw(self, k: int) -> Tensor:
        shape, source = self.x.shape[1:], generator(self.seed, "metric nearby", k)
        return (2 * torch.rand(shape, generator=source, dtype=self.x.dtype) - 1).to(self.x.device)


def radius_of(q: Query, radius: float, of: str) -> Tensor:
    """Half the side of the box in every number, [batch or 1, ...], in the units of x.

    of  `range`: the radius is a fraction of the row's range, of the columns of a table each of its own range there;
        `units`: it is counted in the units of x. Between two categories there is nothing: they do not move.
    """
    columns, known = getattr(q.front, "columns", None), getattr(q.front, "training", None)
    if columns is None or not isinstance(known, Tensor) or q.x.ndim != 2:
        return q.std(radius) if of == "range" else torch.full_like(q.x[:1], radius)
    there = known if len(known) else q.x
    low, high = there.nan_to_num(nan=torch.inf).amin(0), there.nan_to_num(nan=-torch.inf).amax(0)
    span = (high - low).clamp_min(0) if of == "range" else torch.ones_like(low)
    fixed = torch.tensor([bool(one.coded) for one in columns])
    return torch.where(fixed, 0.0, radius * span)[None].to(q.x)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """How far an explanation φ_k is from φ_0, that of the first point: [target, points, batch, 3], float64.

    The three: ‖φ_k − φ_0‖; √mean((φ_k − φ_0) / φ_0)² over the values that are not nearly zero; ‖φ_k − given‖, the
    distance from the explanation that is measured.  given: [batch, ...]
    """

    given: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moves) and (other.given is self.given or torch.equal(other.given, self.given))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def tally(self, count: int, batch: int) -> Tally:
        return _Moves(count, batch, self.given)


class _Moves(Tally):
    """Blocks come in the order of the points, so that φ_0 of a row is there before all others."""

    def __init__(self, count: int, batch: int, given: Tensor) -> None:
        self.count, self.batch, self.given = count, batch, given
        self.first: Tensor | None = None
        self.all = torch.empty(0)

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        values = values.detach().double().cpu().flatten(3)  # [target, points, rows, values]
        if self.first is None:
            self.first = values.new_zeros(values.shape[0], self.batch, values.shape[3])
            self.all = values.new_full((values.shape[0], self.count, self.batch, 3), torch.nan)
        if k0 == 0:
            self.first[:, b0:b1] = values[:, 0]
        first = self.first[:, None, b0:b1]
        off = values - first
        large = first.abs() > APART * first.abs().amax(-1, keepdim=True)
        part = torch.where(large, off / torch.where(large, first, 1), 0).square().sum(-1) / large.sum(-1)
        given = self.given[b0:b1].flatten(1)
        alike = given.shape[1] == values.shape[-1]  # a map of another shape is infinitely far
        gap = (values - given).norm(dim=-1) if alike else torch.full_like(part, torch.inf)
        self.all[:, k0 : k0 + values.shape[1], b0:b1] = torch.stack([off.norm(dim=-1), part.sqrt(), gap], -1)

    def result(self) -> Tensor:
        return self.all
