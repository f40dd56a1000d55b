"""What becomes of the answers of many points: streaming accumulators, so that memory does not grow with their number.

Answers arrive block by block as [targets, points, rows, ...]; a tally adds them up in the order of the points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.core.points import Points


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Mean and second moments over the points, each [targets, batch, ...]."""

    mean: Tensor
    square: Tensor
    """Mean of the squares."""
    var: Tensor
    """Unbiased variance; zero for a single point."""
    count: int

    @property
    def std_error(self) -> Tensor:
        """Standard error of `mean`, √(var / count)."""
        return (self.var / self.count).sqrt()


class Tally:
    """A running result. `add` values [targets, points, rows, ...] of points k0.. and clean rows b0..b1."""

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        raise NotImplementedError

    def result(self) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Weighted:
    """Σ_k w_k v_k, [targets, batch, ...].  weights: one per point; times: a factor per point, applied before."""

    weights: tuple[float, ...]
    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        if len(self.weights) != count:
            raise ParameterError(f"{len(self.weights)} weights for {count} points", "one weight for every point")
        return _Sum(batch, self.weights, self.times)


@dataclass(frozen=True, slots=True)
class Mean:
    """(1/n) Σ_k v_k, [targets, batch, ...]."""

    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        return _Sum(batch, (1.0 / count,) * count, self.times)


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, mean square and unbiased variance over the points, as a `Moment`."""

    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        return _Moments(batch, count, self.times)


@dataclass(frozen=True, slots=True)
class Stack:
    """Every answer, [targets, points, batch, ...]; for scores, or for few points."""

    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        return _Stack(batch, count, self.times)


@dataclass(frozen=True, slots=True)
class Only:
    """The answer at a single point, [targets, batch, ...]."""

    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        if count != 1:
            raise ParameterError(
                f"the only answer at {count} points", "one point", "say what becomes of all: Mean() ..."
            )
        return _Sum(batch, None, self.times)


def _scaled(values: Tensor, times: Points | None, k0: int, b0: int, b1: int) -> Tensor:
    if times is None:
        return values
    points = values.shape[1]
    factor = times.rows(k0, k0 + points, b0, b1)
    return values * factor.view(points, b1 - b0, *factor.shape[1:])


class _Sum(Tally):
    def __init__(self, batch: int, weights: tuple[float, ...] | None, times: Points | None) -> None:
        self.batch, self.weights, self.times = batch, weights, times
        self.total: Tensor | None = None

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        values = _scaled(values, self.times, k0, b0, b1)
        points = values.shape[1]
        if self.weights is None:
            part = values[:, 0]
        else:
            weights = values.new_tensor(self.weights[k0 : k0 + points])
            part = (
                values[:, 0] * weights[0]
                if points == 1
                else (values * weights.view(1, -1, *(1,) * (values.ndim - 2))).sum(1)
            )
        if self.total is None:
            if b1 - b0 == self.batch:
                self.total = part
                return
            self.total = part.new_zeros(part.shape[0], self.batch, *part.shape[2:])
        self.total[:, b0:b1] += part

    def result(self) -> Tensor:
        if self.total is None:
            raise RuntimeError("a fold without any answer")
        return self.total


class _Moments(Tally):
    """Sums of d and d² with d = v − v₀, the first value being the shift: exact for constants, no cancellation."""

    def __init__(self, batch: int, count: int, times: Points | None) -> None:
        self.batch, self.count, self.times = batch, count, times
        self.shift: Tensor | None = None
        self.first: Tensor
        self.second: Tensor

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        values = _scaled(values, self.times, k0, b0, b1)
        if self.shift is None:
            shape = (values.shape[0], self.batch, *values.shape[3:])
            self.shift, self.first, self.second = (values.new_zeros(shape) for _ in range(3))
        if k0 == 0:
            self.shift[:, b0:b1] = values[:, 0]
        d = values - self.shift[:, None, b0:b1]
        self.first[:, b0:b1] += d.sum(1)
        self.second[:, b0:b1] += d.square_().sum(1)

    def result(self) -> Moment:
        if self.shift is None:
            raise RuntimeError("a fold without any answer")
        n = self.count
        off = self.first / n
        mean = self.shift + off
        scatter = (self.second / n - off.square()).clamp_min_(0)
        var = scatter * (n / (n - 1)) if n > 1 else torch.zeros_like(mean)
        return Moment(mean, scatter + mean.square(), var, n)


class _Stack(Tally):
    def __init__(self, batch: int, count: int, times: Points | None) -> None:
        self.batch, self.count, self.times = batch, count, times
        self.all: Tensor | None = None

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        values = _scaled(values, self.times, k0, b0, b1)
        if self.all is None:
            self.all = values.new_empty(values.shape[0], self.count, self.batch, *values.shape[3:])
        self.all[:, k0 : k0 + values.shape[1], b0:b1] = values

    def result(self) -> Tensor:
        if self.all is None:
            raise RuntimeError("a fold without any answer")
        return self.all


@dataclass(frozen=True, slots=True)
class Totals:
    """The sum over all axes of every answer, [targets, points, batch]: what completeness is checked with."""

    times: Points | None = None

    def tally(self, count: int, batch: int) -> Tally:
        return _Totals(batch, count, self.times)


class _Totals(Tally):
    def __init__(self, batch: int, count: int, times: Points | None) -> None:
        self.times, self.stack = times, _Stack(batch, count, None)

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        self.stack.add(_scaled(values, self.times, k0, b0, b1).flatten(3).sum(3), k0, b0, b1)

    def result(self) -> Tensor:
        return self.stack.result()


class Fold(Protocol):
    """What becomes of the answers: a frozen value that begins a tally. Equal folds share their answers."""

    def tally(self, count: int, batch: int) -> Tally:
        """An empty tally for so many points and clean rows."""
        ...
