"""What a simple model is told of a row: numbers, categories one by one, and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of rows.

    name    as people call it
    values  for columns that hold the number of a category: the names of all categories
    shown   for columns that say whether a part of a picture is there
    """

    name: str
    values: tuple[str, ...] = ()
    shown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One number made of a column: itself, or whether it is one category, which then is 1."""

    feature: Feature
    column: int
    level: int | None = None

    @property
    def name(self) -> str:
        return self.feature.name if self.level is None else f"{self.feature.name} = {self.feature.values[self.level]}"

    def says(self, above: bool, threshold: float) -> str:
        """The condition that the number lies above a threshold, or not."""
        name = self.feature.name
        if self.feature.shown:
            return f"{name} {'shown' if above else 'hidden'}"
        if self.level is not None:
            return f"{name} is {'' if above else 'not '}{self.feature.values[self.level]}"
        return f"{name} {'>' if above else '≤'} {threshold:.4g}"


def terms_of(features: Sequence[Feature]) -> tuple[Term, ...]:
    """Every column as one term, categories as one for each; of two categories, the second alone."""
    made: list[Term] = []
    for column, feature in enumerate(features):
        count = len(feature.values)
        levels = [None] if not count else [1] if count == 2 else list(range(count))
        made += [Term(feature=feature, column=column, level=level) for level in levels]
    return tuple(made)


def matrix(rows: Tensor, terms: Sequence[Term]) -> Tensor:
    """The terms of rows, float64 [rows, terms]. Numbers that are missing become the median of their column's others."""
    x = rows.detach().double().cpu()
    gone = x.isnan()
    if bool(gone.any()):
        x = torch.where(gone, x.nanmedian(0).values.nan_to_num(), x)
    columns = [x[:, t.column] if t.level is None else (x[:, t.column] == t.level).double() for t in terms]
    return torch.stack(columns, 1)
