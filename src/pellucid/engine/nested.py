"""Questions for another method's explanation: what is asked at equal points runs together, what is equal once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pellucid.core.ask import Ask, Attribution
from pellucid.core.fold import Tally
from pellucid.core.points import Points
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


def at_equal_points(
    nested: Sequence[tuple[Ask[Any], int, int]],
) -> list[tuple[Points, list[tuple[Ask[Any], int, int]]]]:
    """Questions for explanations, those at equal points together."""
    found: list[tuple[Points, list[tuple[Ask[Any], int, int]]]] = []
    for one in nested:
        there = next((members for points, members in found if points == one[0].points), None)
        if there is None:
            found.append((one[0].points, [one]))
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


def moved_to(pick: Pick, numbers: Tensor) -> Pick:
    """A pick for rows that are copies of the clean rows with these numbers."""
    index, minus = (None if one is None else one[numbers] for one in (pick.index, pick.minus))
    return replace(pick, index=index, minus=minus)
