"""Integrated gradients on a path that moves the least sensitive features first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, attribution, together
from pellucid.core.explanation import Kind
from pellucid.core.fold import Tally
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import At, Points
from pellucid.ops.checks import completeness


@method(
    kind=Kind.CONTRIBUTION,
    title="Guided Integrated Gradients",
    cite="kapishnikov2021guided",
    keeps={"completeness", "dummy", "symmetry", "implementation_invariance"},
    family="path",
)
class GuidedIG:
    """a_i = ∫ ∂s/∂x_i (γ(t)) γ_i'(t) dt,  γ(0) = b, γ(1) = x    [Kapishnikov et al. 2021, eq. 3, algorithm 1]

    Every step of the path γ goes the n-th part of the way, measured as Σ_i |x_i − γ_i|, and goes it with those features
    whose gradient is smallest, so that noise from steep places off the way is not gathered. All features stay within
    max_dist of where they would be on the straight line: 0 is the straight line, 1 lets them go as they like. Features
    with equal gradients (to rounding) move together.

    The steps depend on each other, so they are as many rounds. For several targets every one has a path of its own, and
    the gradients of all targets are computed on each.

    steps     steps on the path; the error that remains is in checks["completeness"]
    baseline  where the path starts, in pixel units
    fraction  part of the features that are moved at a time, those with the smallest |∂s/∂x_i|
    max_dist  how far a feature may be ahead of or behind the straight line, as a fraction of its way
    rule      the gradient of a step: the mean of both ends, or, as in the algorithm of the paper, that of the first
    """

    steps: int = at_least(1, default=128)
    baseline: Any = param(default="black")
    fraction: float = at_least(0.0, default=0.25, above=True, most=1.0)
    max_dist: float = at_least(0.0, default=0.02, most=1.0)
    rule: str = one_of("trapezoid", "left", default="trapezoid")

    async def explain(self, q: Query) -> Attribution:
        b = q.baseline(self.baseline)
        wide = torch.promote_types(q.x.dtype, torch.float32)  # half precision cannot tell how far a feature has gone
        way = q.x.to(wide) - b.to(wide)
        ends = [q.grad()] if self.rule == "trapezoid" else []
        slope, top, bottom, *last = await together(q.grad(At(b)), q.score(), q.score(At(b)), *ends)
        done = values = torch.zeros_like(
            slope, dtype=wide
        )  # [target, batch, ...]: the part of its way that every feature has gone
        for step in range(1, self.steps + 1):
            further = advance(done, slope.to(wide), way.abs(), step / self.steps, self.fraction, self.max_dist)
            here, moved, done = slope, (further - done) * way, further
            if step < self.steps:
                slope = await q.grad(_Paths((b + done * way).to(q.x)), _Own())
            elif last:
                slope = last[0]
            values = values + moved * ((here + slope) / 2 if last else here)
        return attribution(values, checks=[completeness(values, top - bottom)])


def advance(done: Tensor, slope: Tensor, length: Tensor, at: float, fraction: float, max_dist: float) -> Tensor:
    """How much of its way every feature has gone after the step that ends at `at`.

    done: [target, batch, ...] before the step; slope: the gradient, alike; length: of the ways, [batch, ...]. The mean
    of the result, weighted with the lengths, is `at`.
    """
    if at >= 1:
        return torch.ones_like(done)
    low, high = max(at - max_dist, 0.0), min(at + max_dist, 1.0)
    length = length.expand_as(done).flatten(2)
    done, cost, shape = done.flatten(2).clamp_min(low), slope.flatten(2).abs(), done.shape
    whole = length.sum(2, dtype=torch.float64)
    chosen_count = int(fraction * (cost.shape[2] - 1)) + 1
    ties = 1 + 1e3 * torch.finfo(cost.dtype).eps
    while True:
        gap = at * whole - (length * done).sum(2, dtype=torch.float64)
        free = (done < high) & (length > 0)
        unfinished = (gap > 1e-7 * whole) & free.any(2)
        if not bool(unfinished.any()):
            return done.reshape(shape)
        cost = cost.masked_fill(~free, torch.inf)
        chosen = free & (cost <= cost.kthvalue(chosen_count, 2, keepdim=True).values * ties) & unfinished[..., None]
        room = (length * (high - done) * chosen).sum(2, dtype=torch.float64)
        part = (gap / room).where(unfinished, 0.0).to(done)[..., None]
        moved = torch.where(part < 1, done + part * (high - done), high)
        before, done = done, torch.where(chosen, moved, done)
        if torch.equal(before, done):  # what is missing is less than rounding
            return done.reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Paths(Points):
    """The place of every target on its own path; point k belongs to target k.  places: [target, batch, ...]"""

    places: Tensor

    @property
    def count(self) -> int:
        return len(self.places)

    @property
    def like(self) -> Tensor:
        return self.places[0]

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return self.places[k0:k1, b0:b1].flatten(0, 1)


@dataclass(frozen=True, slots=True)
class _Own:
    """Of the gradients of all targets at all points, that of target k at point k: [target, batch, ...]."""

    def tally(self, count: int, batch: int) -> Tally:
        return _Diagonal(batch)


class _Diagonal(Tally):
    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.all: Tensor | None = None

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        if self.all is None:
            self.all = values.new_zeros(values.shape[0], self.batch, *values.shape[3:])
        for point in range(values.shape[1]):
            self.all[k0 + point, b0:b1] = values[k0 + point, point]

    def result(self) -> Tensor:
        if self.all is None:
            raise RuntimeError("a fold without any answer")
        return self.all
