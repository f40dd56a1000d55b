"""Questions about sets of points that overlap become questions about their union: each point is evaluated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.ask import Ask, What
from pellucid.core.fold import Stack
from pellucid.core.points import Points


@runtime_checkable
class Set(Protocol):
    """Points that are members of a family, such as coalitions of the same players on the same rows."""

    @property
    def members(self) -> Tensor | None:
        """What tells members apart, [members, ...]; None where rows have members of their own."""
        ...

    @property
    def many(self) -> int:
        """Points of every member."""
        ...

    def kin(self, other: Points) -> bool:
        """Whether both are of one family."""
        ...

    def of(self, members: Tensor) -> Points:
        """The points of other members of the family."""
        ...


def pooled(asks: Sequence[Ask[Any]]) -> list[tuple[Ask[Any], Tensor | None]]:
    """The questions to ask instead, and which of their answers along the points are the ones wanted; None for all."""
    found: list[tuple[Ask[Any], Tensor | None]] = [(ask, None) for ask in asks]
    families: list[list[int]] = []
    for i, ask in enumerate(asks):
        if not _poolable(ask):
            continue
        kin: Any = ask.points
        family = next((f for f in families if kin.kin(asks[f[0]].points)), None)
        families.append([i]) if family is None else family.append(i)
    for family in families:
        for i, ask, index in _united([(i, asks[i]) for i in family]):
            found[i] = (ask, index)
    return found


def _poolable(ask: Ask[Any]) -> bool:
    told = ask.what in (What.SCORE, What.OUTPUTS) and isinstance(ask.fold, Stack) and ask.where.plain
    return told and isinstance(ask.points, Set) and ask.points.members is not None


def _united(family: Sequence[tuple[int, Ask[Any]]]) -> list[tuple[int, Ask[Any], Tensor | None]]:
    """The questions of one family about the union, where sets that differ overlap; those questions as they are."""
    sets: list[Any] = []
    for _, ask in family:
        if ask.points not in sets:
            sets.append(ask.points)
    if len(sets) < 2 or len({one.members.dtype for one in sets}) > 1:
        return []
    every = torch.cat([one.members for one in sets])
    once, number = torch.unique(
        every.to(torch.uint8) if every.dtype == torch.bool else every, dim=0, return_inverse=True
    )
    if len(once) == len(every):
        return []
    union = sets[0].of(once.to(every.dtype))
    parts = number.split([len(one.members) for one in sets])
    many = union.many
    points = [(part[:, None] * many + torch.arange(many)).flatten() for part in parts]
    return [(i, replace(ask, points=union), points[sets.index(ask.points)]) for i, ask in family]
