"""Questions for another method's explanation: what is asked at equal points runs together, what is equal once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pellucid.core.ask import DOUBLE, Ask, Attribution, Pixels, Session, Variant, Where
from pellucid.core.errors import PellucidError, UnsupportedModel
from pellucid.core.fold import Tally
from pellucid.core.site import Attention, Site, Stream
from pellucid.core.target import Pick
from pellucid.engine.fuse import together


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """The answer to a question for another method's explanation: folded values, and what they mean."""

    values: Any
    like: Attribution


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """A question for another method's explanation, the numbers it is about, and the variant that the asker is of."""

    ask: Ask[Any]
    picks: tuple[Pick, ...]
    under: Variant | None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Those that have a part in it."""
        return tuple(v for v in (self.under, self.ask.where.variant) if v is not None)


class Nested:
    """Collects the answers to one question for another method's explanation, of a variant or the model itself."""

    def __init__(self, inner: Inner) -> None:
        ask, points = inner.ask, inner.ask.points
        if ask.method is None:
            raise RuntimeError("a question for an explanation without a method")
        self.ask, self.picks, self.method = ask, inner.picks, ask.method
        self.variant = varied(Where(only_variant(ask)), inner.under).variant
        self.tally: Tally = ask.fold.tally(points.count, len(points.like))
        self.like: Attribution | None = None

    def alike(self, other: Nested) -> bool:
        """Whether two questions have one answer: the same method object, folded alike, for the same targets."""
        same = self.method is other.method and self.picks is other.picks and self.ask.fold == other.ask.fold
        return same and self.variant == other.variant

    def reply(self) -> Explained:
        if self.like is None:
            raise RuntimeError("an explanation at no points")
        return Explained(self.tally.result(), self.like)


def at_equal_points(nested: Sequence[tuple[Inner, int, int]]) -> list[list[tuple[Inner, int, int]]]:
    """Questions for explanations, those at equal points together; of variants in other units, those of one variant."""
    return together(nested, lambda one, other: _together(one[0], other[0]))


def _together(one: Inner, other: Inner) -> bool:
    mine, theirs = (replace(inner.ask.where, variant=None) for inner in (one, other))
    if mine != theirs or one.ask.points != other.ask.points:
        return False
    variants = [inner.variants for inner in (one, other)]
    return variants[0] == variants[1] or not any(v.shift or v == DOUBLE for each in variants for v in each)


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
    def every_layer(self) -> tuple[Site, ...]:
        return self.inside.every_layer

    def site(self, site: Site) -> Site:
        return self.inside.site(site)

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
