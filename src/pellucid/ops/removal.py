"""Taking places away in an order: the points of deletion and insertion curves, and the orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Query, together
from pellucid.core.fold import Stack
from pellucid.core.points import At, Points, generator
from pellucid.ops.places import labels_of, shape, spread, sums


@dataclass(frozen=True, slots=True, eq=False)
class Removed(Points):
    """Copies of x in which the first places of an order show the fill.

    x: [batch, ...]; rank: the place in the order, int32 [batch, *places], 0 goes first; counts: how many parts are gone
    at every point, int64 [points, batch]; fill: [batch or 1, ...], in the units of x.
    """

    x: Tensor
    rank: Tensor
    counts: Tensor
    fill: Tensor

    @property
    def count(self) -> int:
        return len(self.counts)

    @property
    def like(self) -> Tensor:
        return self.x

    def gone(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        """Which places are gone, bool [points, batch, *places]."""
        rank = self.rank[b0:b1].to(self.x.device)
        counts = self.counts[k0:k1, b0:b1].to(self.x.device)
        return rank < counts.view(*counts.shape, *(1,) * (rank.ndim - 1))

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x = self.x[b0:b1]
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        return torch.where(spread(self.gone(k0, k1, b0, b1), x), fill, x).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """In which order the parts of every row go.

    rank   of every place's part, int32 [batch, *places]
    parts  how many there are, int64 [batch]
    ahead  places that are gone when k parts are, int64 [batch, most parts + 1]
    ties   share of the parts whose importance another one has as well, float64 [batch]
    """

    rank: Tensor
    parts: Tensor
    ahead: Tensor
    ties: Tensor

    @staticmethod
    def of(importance: Tensor, parts: Tensor | None = None, seed: int = 0) -> Order:
        """The most important first.

        importance: of every place, float64 [batch, *places]; a part has the mean of its places; parts: number of every
        place's part, or None. Equal ones follow in an order drawn from the seed, the same for every map and row, so
        that neither corner of a flat map goes first.
        """
        flat = importance.flatten(1)
        labels = labels_of(flat, parts)
        size = sums(torch.ones_like(flat), labels)
        there = size > 0
        worth = torch.where(there, sums(flat, labels) / size, -torch.inf)
        most = worth.shape[1]
        shuffled = torch.randperm(most, generator=generator(seed, "ties", most))
        order = shuffled[worth[:, shuffled].argsort(dim=1, descending=True, stable=True)]
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(most).expand_as(order))
        ahead = torch.nn.functional.pad(size.gather(1, order).cumsum(1), (1, 0)).round().long()
        placed = rank.gather(1, labels).view(importance.shape).int()
        return Order(placed, there.sum(1), ahead, _tied(worth.gather(1, order), there.sum(1)))

    def reversed(self) -> Order:
        """The least important first: the same order, backwards."""
        last = self.parts.view(-1, *(1,) * (self.rank.ndim - 1)) - 1
        most = self.ahead.shape[1] - 1
        k = (self.parts[:, None] - torch.arange(most + 1)).clamp_min(0)
        ahead = self.ahead[:, -1:] - self.ahead.gather(1, k)
        return Order((last - self.rank).int(), self.parts, ahead, self.ties)

    def counts(self, steps: int, most: float = 1.0) -> Tensor:
        """How many parts are gone after every step, int64 [steps + 1, batch], from none to the share `most` of them.

        Symmetric: what is gone forwards is left backwards, so that a curve and its reverse ask the same questions.
        """
        whole = (self.parts * most).round().long().clamp_min(1)
        at = torch.arange(steps + 1)[:, None]
        low = (2 * whole * at + steps).div(2 * steps, rounding_mode="floor")
        return torch.where(2 * at <= steps, low, whole - low.flip(0))

    def shares(self, counts: Tensor) -> Tensor:
        """The share of the places that are gone, float64 [batch, points]."""
        total = math.prod(self.rank.shape[1:])
        return self.ahead.gather(1, counts.T).double() / total


def _tied(worth: Tensor, parts: Tensor) -> Tensor:
    """worth: sorted, [batch, parts]; what is not there comes last."""
    same = (worth[:, 1:] == worth[:, :-1]) & worth[:, 1:].isfinite()
    pad = torch.nn.functional.pad
    return (pad(same, (1, 0)) | pad(same, (0, 1))).sum(1).double() / parts


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Walk:
    """One way of taking parts away: the questions of a curve.

    order: the first of it goes first; fill: what removed places show, [batch, ...]; steps: points after the start;
    most: share of the parts that goes; keep: the parts come instead, the first of the order first. That is the removal
    of the reverse, read backwards, and asks the same questions.
    """

    order: Order
    fill: Tensor
    steps: int
    most: float = 1.0
    keep: bool = False

    @property
    def way(self) -> Order:
        return self.order.reversed() if self.keep else self.order

    def asks(self, q: Query) -> tuple[Ask[Tensor], ...]:
        """The clean rows, what lies between, and the fill alone where all goes."""
        way, counts = self.way, self.way.counts(self.steps, self.most)
        if self.most < 1:
            return q.score(), q.score(Removed(q.x, way.rank, counts[1:], self.fill), Stack())
        between = Removed(q.x, way.rank, counts[1:-1], self.fill)
        return q.score(), q.score(between, Stack()), q.score(At(self.fill.expand_as(q.x)))

    def curve(self, answers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Shares of the places that are gone, or shown (x), and scores (y), float64 [batch, steps + 1] each."""
        way = self.way
        y = torch.cat([numbers(a).unsqueeze(1) if a.ndim == 2 else numbers(a) for a in answers], 1)[0].T
        x = way.shares(way.counts(self.steps, self.most))
        return (1 - x.flip(1), y.flip(1)) if self.keep else (x, y)


async def walked(q: Query, *walks: Walk) -> list[tuple[Tensor, Tensor]]:
    """The curves of several walks, all asked in one round, so that they and other metrics meet."""
    asked = [walk.asks(q) for walk in walks]
    answers = iter(await together(*(ask for one in asked for ask in one)))
    return [walk.curve([next(answers) for _ in one]) for walk, one in zip(walks, asked, strict=True)]


def numbers(scores: Tensor) -> Tensor:
    """Scores as metrics calculate with them: float64 on the CPU."""
    return scores.detach().to("cpu", torch.float64)


def area(x: Tensor, y: Tensor) -> Tensor:
    """∫ y dx by trapezoids over the whole range of x, relative to its length: [batch] of [batch, points] each."""
    return torch.trapezoid(y, x, dim=1) / (x[:, -1] - x[:, 0])


def places_of(x: Tensor) -> int:
    """How many places a row has."""
    return math.prod(shape(x))
