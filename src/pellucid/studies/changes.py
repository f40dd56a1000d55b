"""Counterfactuals as people read them: what would have to change, and what the model would say then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One column, as it was and as it would have to be."""

    feature: str
    was: str
    becomes: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.was} → {self.becomes}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counterfactual:
    """A row of which the model says what was wanted, found by asking it once more at the end.

    distance  Σ |change| / scale over the columns, a category that changes counting one
    says      what the model says of it
    score     the number behind that: a probability, where the model has one
    """

    row: Tensor = field(repr=False)
    changes: tuple[Change, ...]
    distance: float
    says: str
    score: float

    def __str__(self) -> str:
        what = "; ".join(map(str, self.changes))
        return f"{what}  (then {self.says}, {self.score:.3g}; distance {self.distance:.3g})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counterfactuals(Sequence[Counterfactual]):
    """What would have to change of one row, the nearest first; empty where nothing was found.

    calls  rows that the model was asked about, the row itself and the last look included
    """

    found: tuple[Counterfactual, ...]
    model: str
    name: str
    was: str
    wanted: str
    calls: int
    budget: int
    seed: int

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, which: int) -> Counterfactual:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.found[which]

    def __iter__(self) -> Iterator[Counterfactual]:
        return iter(self.found)

    @property
    def rows(self) -> Tensor:
        """All rows, [found, columns], as the model takes them."""
        return torch.stack([one.row for one in self.found]) if self.found else torch.zeros(0, 0)

    def __str__(self) -> str:
        head = f"{self.model} says {self.was} of {self.name}; for {self.wanted}"
        if not self.found:
            return f"{head}: none found among {self.calls} rows, within the ranges and with the columns that must stay"
        return "\n".join([f"{head} ({self.calls} rows asked):", *(f"{i + 1}. {one}" for i, one in enumerate(self))])

    __repr__ = __str__
