"""Questions for another method's explanation: what is asked at equal points runs together, what is equal once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pellucid.core.ask import Ask, Attribution, Pixels, Session, Variant, Where
from pellucid.core.errors import PellucidError, UnsupportedModel
from pellucid.core.fold import Tally
from pellucid.core.points import Points
from pellucid.core.site import Attention, Site, Stream
from pellucid.core.target import Pick


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """The answer to a question for another method's explanation: folded values, and what they mean."""

    values: Any
    like: Attribution


class Nested:
    """Collects the answers to one question for another method's explanation."""

    def __init__(self, ask: Ask[Any], picks: tuple[Pick, ...], points: Points) -> None:
        if ask.method is None:
            raise RuntimeError("a question for an explanation without a method")
        self.ask, self.picks, self.method = ask, picks, ask.method
        self.tally: Tally = ask.fold.tally(points.count, len(points.like))
        self.like: Attribution | None = None

    def alike(self, other: Nested) -> bool:
        """Whether two questions have one answer: the same method object, folded alike, for the same targets."""
        return self.method is other.method and self.picks is other.picks and self.ask.fold == other.ask.fold

    def reply(self) -> Explained:
        if self.like is None:
            raise RuntimeError("an explanation at no points")
        return Explained(self.tally.result(), self.like)


def at_equal_points(nested: Sequence[tuple[Ask[Any], int, int]]) -> list[list[tuple[Ask[Any], int, int]]]:
    """Questions for explanations, those at equal points of the same variant of the model together."""
    found: list[list[tuple[Ask[Any], int, int]]] = []
    for one in nested:
        ask = one[0]
        alike = (them for them in found if them[0][0].where == ask.where and them[0][0].points == ask.points)
        there = next(alike, None)
        if there is None:
            found.append([one])
        else:
            there.append(one)
    return found


def placed(lone: list[Nested], new: Nested) -> int:
    """The place of a question among different ones, to which it is added if it is new."""
    for i, one in enumerate(lone):
        if one.alike(new):
            return i
    lone.append(new)
    return len(lone) - 1


def varied(where: Where, variant: Variant | None) -> Where:
    """Where a question is answered that is asked of a variant. Raises UnsupportedModel for a second variant."""
    if variant is None or where.variant == variant:
        return where
    if where.variant is not None:
        raise UnsupportedModel(
            f"a question for {where.variant.name} inside one for {variant.name}",
            "one variant of the model at a time",
            "precision='model', where the method has that",
        )
    return replace(where, variant=variant)


def only_variant(ask: Ask[Any]) -> Variant | None:
    """The variant that another method's explanation is asked of. Raises PellucidError where more is wanted."""
    if ask.where != Where(variant=ask.where.variant):
        raise PellucidError("an explanation under a rule or an edit", "a variant of the model, or nothing")
    return ask.where.variant


@dataclass(frozen=True, slots=True)
class Single:
    """The inside of a variant, which has no double of its own."""

    inside: Session

    @property
    def doubles(self) -> bool:
        return False

    @property
    def layers(self) -> tuple[Site, ...]:
        return self.inside.layers

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return self.inside.attentions

    @property
    def stream(self) -> Stream:
        return self.inside.stream

    @property
    def weighted(self) -> tuple[str, ...]:
        return self.inside.weighted


@dataclass(frozen=True, slots=True)
class Moved:
    """The link between pixels and rows of a model in other units: `shift` more than they were."""

    pixels: Pixels
    shift: float

    def to_rows(self, pixels: Tensor) -> Tensor:
        return self.pixels.to_rows(pixels) + self.shift

    def to_pixels(self, rows: Tensor) -> Tensor:
        return self.pixels.to_pixels(rows - self.shift)


def moved_to(pick: Pick, numbers: Tensor) -> Pick:
    """A pick for rows that are copies of the clean rows with these numbers."""
    index, minus = (None if one is None else one[numbers] for one in (pick.index, pick.minus))
    return replace(pick, index=index, minus=minus)
