"""From questions to shared work: equal points are merged into groups, groups that run alike into lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import eq
from typing import Any, TypeVar

from torch import Tensor

from pellucid.core.ask import Ask, Lane, What, Where
from pellucid.core.fold import Fold, Stack, Tally
from pellucid.core.points import Points
from pellucid.core.site import Site
from pellucid.core.target import Pick, Unit

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Taker:
    """Collects one answer; equal questions with the same picks share it."""

    what: What
    fold: Fold
    site: Site | None
    picks: Sequence[Pick]
    tally: Tally
    inner: Tally | None = None
    """For sites, the activations beside the gradients."""

    def takes(self, ask: Ask[Any], site: Site | None, picks: Sequence[Pick]) -> bool:
        return self.what is ask.what and self.site == site and self.picks is picks and self.fold == ask.fold

    def reply(self) -> Any:
        if self.inner is None:
            return self.tally.result()
        inner = self.inner.result()
        return (inner[0] if isinstance(inner, Tensor) else inner), self.tally.result()


@dataclass(slots=True, eq=False)
class Group:
    """All questions at the same points, evaluated the same way."""

    points: Points
    where: Where
    takers: list[Taker] = field(default_factory=list)
    anchor: bool = False
    """Holds the clean rows from which targets are resolved."""
    beside: list[Taker] = field(default_factory=list)
    """Who wants the scores of the reference rows."""

    def lane(self) -> Lane:
        slopes = [t.site for t in self.takers if t.what is What.SITE and t.site is not None]
        units = [p.target.site for t in self.takers for p in t.picks if isinstance(p.target, Unit)]
        return Lane(
            self.where,
            any(t.what is What.GRADIENT for t in self.takers),
            tuple(dict.fromkeys(slopes + units)),
            tuple(dict.fromkeys(slopes)),
        )

    def picks(self) -> tuple[tuple[Pick, ...], int]:
        """What is explained here, those whose gradient is wanted first, and the number of those."""
        graded = dict.fromkeys(p for t in self.takers if t.what in (What.GRADIENT, What.SITE) for p in t.picks)
        scored = dict.fromkeys(p for t in (*self.takers, *self.beside) if t.what is What.SCORE for p in t.picks)
        return tuple(graded | scored), len(graded)


@dataclass(frozen=True, slots=True)
class Block:
    """Points k0..k1 of clean rows b0..b1 of one group."""

    group: Group
    k0: int
    k1: int
    b0: int
    b1: int

    @property
    def count(self) -> int:
        return (self.k1 - self.k0) * (self.b1 - self.b0)

    def halves(self) -> tuple[Block, Block]:
        """Split along points first, then along clean rows; the block has more than one row."""
        g, k0, k1, b0, b1 = self.group, self.k0, self.k1, self.b0, self.b1
        if k1 - k0 > 1:
            mid = (k0 + k1) // 2
            return Block(g, k0, mid, b0, b1), Block(g, mid, k1, b0, b1)
        mid = (b0 + b1) // 2
        return Block(g, k0, k1, b0, mid), Block(g, k0, k1, mid, b1)


def merge(groups: list[Group], ask: Ask[Any], site: Site | None, where: Where, picks: Sequence[Pick]) -> Taker:
    """Put a question into the group with equal points, or a new one, and give back who collects its answer."""
    group = next((g for g in groups if g.where == where and g.points == ask.points), None)
    if group is None:
        group = Group(ask.points, where)
        groups.append(group)
    for taker in group.takers:
        if taker.takes(ask, site, picks):
            return taker
    count, batch = ask.points.count, ask.points.like.shape[0]
    inner = None
    if ask.what is What.SITE:
        inner = (Stack() if isinstance(ask.fold, Stack) else type(ask.fold)(*_weights(ask.fold))).tally(count, batch)
    taker = Taker(ask.what, ask.fold, site, picks, ask.fold.tally(count, batch), inner)
    group.takers.append(taker)
    return taker


def _weights(fold: Fold) -> tuple[Any, ...]:
    weights = getattr(fold, "weights", None)
    return () if weights is None else (weights,)


def ride(groups: list[Group]) -> None:
    """Let scores ride on a pass at the same points that differs only in what comes back: rules, changed signals.

    And on a pass that has the same points for references.
    """
    for plain in [g for g in groups if g.where == Where(g.where.variant) and all(t.what in FORWARD for t in g.takers)]:
        for other in groups:
            w, variant = other.where, plain.where.variant
            forward = Where(variant, rule=w.rule, against=w.against, signal=w.signal)
            if w == forward and w != plain.where and other.points == plain.points:
                other.takers = [*plain.takers, *other.takers]
                other.anchor = other.anchor or plain.anchor
                groups.remove(plain)
                break
            scores = not plain.anchor and all(t.what is What.SCORE for t in plain.takers)
            if scores and w.variant == variant and w.against == plain.points:
                other.beside += plain.takers
                groups.remove(plain)
                break


FORWARD = (What.SCORE, What.OUTPUTS)


@dataclass(slots=True, eq=False)
class Share:
    """Groups that run alike: same lane, same picks."""

    lane: Lane
    picks: tuple[Pick, ...]
    graded: int
    """How many of the picks, the first ones, are differentiated."""
    groups: list[Group]

    @property
    def rows(self) -> int:
        return sum(g.points.count * g.points.like.shape[0] for g in self.groups)


def shares(groups: Iterable[Group]) -> list[Share]:
    """Groups that run alike, on rows of one shape, and explain the same picks; those with the anchor first."""
    found: dict[Any, Share] = {}
    for group in sorted(groups, key=lambda g: not g.anchor):
        lane, (picks, graded) = group.lane(), group.picks()
        like = group.points.like
        key = (lane, tuple(map(id, picks)), graded, like.shape[1:], like.dtype)
        found.setdefault(key, Share(lane, picks, graded, [])).groups.append(group)
    return list(found.values())


def families(every: Sequence[Share]) -> list[list[Share]]:
    """Shares in the order given, those together that differ in the variant of the model alone."""
    return together(every, _apart_in_variant)


def together(every: Iterable[T], alike: Callable[[T, T], bool]) -> list[list[T]]:
    """All in the order given, each with the first others that it is like."""
    found: list[list[T]] = []
    for one in every:
        there = next((them for them in found if alike(them[0], one)), None)
        if there is None:
            found.append([one])
        else:
            there.append(one)
    return found


def _apart_in_variant(one: Share, other: Share) -> bool:
    if one.lane.where.variant is None or other.lane.where.variant is None or one.graded != other.graded:
        return False
    alike = replace(one.lane, where=replace(one.lane.where, variant=other.lane.where.variant)) == other.lane
    same = len(one.picks) == len(other.picks) and all(a is b for a, b in zip(one.picks, other.picks, strict=True))
    points = [g.points for g in one.groups], [g.points for g in other.groups]
    return alike and same and len(points[0]) == len(points[1]) and all(map(eq, *points))


def chunks(groups: Sequence[Group], rows: int) -> Iterator[list[Block]]:
    """Cut the groups into blocks and pack blocks into chunks of at most `rows` rows."""
    chunk: list[Block] = []
    room = rows
    for group in groups:
        for block in blocks(group, rows):
            if block.count > room and chunk:
                yield chunk
                chunk, room = [], rows
            chunk.append(block)
            room -= block.count
    if chunk:
        yield chunk


def blocks(group: Group, rows: int) -> Iterator[Block]:
    """A group in rectangular blocks of at most `rows` rows, point by point where a batch does not fit."""
    count, batch = group.points.count, group.points.like.shape[0]
    if batch == 0:
        return
    if batch >= rows:
        for k in range(count):
            for b in range(0, batch, rows):
                yield Block(group, k, k + 1, b, min(b + rows, batch))
        return
    step = rows // batch
    for k in range(0, count, step):
        yield Block(group, k, min(k + step, count), 0, batch)
