"""Feature permutation: how much worse a model gets where a column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.points import generator

Losses = Callable[[Tensor], Tensor]
"""What the model gives for all rows, [rows, outputs] -> the loss of every row, float64 [rows]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Importance:
    """How much the mean loss grows where a feature is shuffled, for every feature.

    values     float64 [features]; negative where the model does better without, which is noise or overfitting
    std_error  of the values, over rows and draws
    loss       mean loss as it is
    """

    features: tuple[str, ...]
    values: Tensor
    std_error: Tensor
    loss: float
    metric: str
    rows: int
    repeats: int
    seed: int
    model: str

    def __str__(self) -> str:
        wide = max(map(len, self.features))
        order = self.values.argsort(descending=True, stable=True).tolist()
        head = f"{self.metric} of {self.model} on {self.rows} rows: {self.loss:.4g}; what shuffling adds"
        return "\n".join(
            [head, *(f"{self.features[j]:<{wide}}  {self.values[j]:+.4g} ± {self.std_error[j]:.2g}" for j in order)]
        )

    __repr__ = __str__


def orders(rows: int, repeats: int, seed: int, name: str) -> Iterator[Tensor]:
    """Random orders of the rows, int64 [rows], that depend on the feature's name and nothing else of it."""
    draw = generator(seed, "feature permutation", name, rows)
    for _ in range(repeats):
        yield torch.randperm(rows, generator=draw)


def shuffled(rows: Tensor, columns: Sequence[int], order: Tensor) -> Tensor:
    """The rows with some columns taken from other rows, the same other row for all of them."""
    made = rows.clone()
    made[:, list(columns)] = rows[order.to(rows.device)][:, list(columns)]
    return made


def importance(
    ask: Callable[[Tensor], Tensor],
    losses: Losses,
    rows: Tensor,
    groups: Mapping[str, Sequence[int]],
    repeats: int,
    seed: int,
) -> tuple[Tensor, Tensor, float]:
    """I_g = mean over rows and draws of loss(rows with g shuffled) − loss(rows)    [Breiman 2001, Fisher et al. 2019]

    ask     what the model gives, [rows, outputs]
    groups  columns that are shuffled together, by name
    Returns values and standard errors, float64 [groups], and the mean loss. The errors hold for other rows like these:
    a row counts by what it gets from others and by what it gives to them, and both are in its share of the variance
    [Hoeffding 1948], the noise of few draws being counted twice.
    """
    before = losses(ask(rows))
    values: list[Tensor] = []
    errors: list[Tensor] = []
    for name, columns in groups.items():
        share, total = torch.zeros_like(before), 0.0
        for order in orders(len(rows), repeats, seed, name):
            more = losses(ask(shuffled(rows, columns, order))) - before
            total += float(more.mean()) / repeats
            share = share + (more + torch.zeros_like(more).index_add(0, order, more)) / repeats
        values.append(before.new_tensor(total))
        errors.append(share.std() / len(rows) ** 0.5)
    return torch.stack(values), torch.stack(errors), float(before.mean())
