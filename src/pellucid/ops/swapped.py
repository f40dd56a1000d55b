"""Some places take the values of other points, the rest stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.points import Around, Points, generator
from pellucid.ops.places import spread as over_channels


@dataclass(frozen=True, slots=True, eq=False)
class Swapped(Points):
    """Copies of x whose moved places have the values of other points.

    x: [batch, ...]; moved: bool [batch, *places]; others: points beside x.
    """

    x: Tensor
    moved: Tensor
    others: Points

    @property
    def count(self) -> int:
        return self.others.count

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x, moved = self.x[b0:b1], over_channels(self.moved[b0:b1].to(self.x.device), self.x)
        new = self.others.rows(k0, k1, b0, b1).unflatten(0, (k1 - k0, b1 - b0))
        return torch.where(moved, new, x).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Known(Points):
    """The same known rows beside every row.  x: [batch, ...]; known: [samples, ...]"""

    x: Tensor
    known: Tensor

    @property
    def count(self) -> int:
        return len(self.known)

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return self.known[k0:k1].to(self.x).repeat_interleave(b1 - b0, 0)


def elsewhere(q: Query, spread: float, samples: int, seed: int) -> Points:
    """Other values for every place: rows that a table knows, drawn with replacement; else the row with noise.

    spread  standard deviation of the noise, as a fraction of the row's range; of no meaning to tables
    """
    known = getattr(q.front, "training", None)
    if isinstance(known, Tensor) and known.ndim == 2 and len(known) and tuple(known.shape[1:]) == tuple(q.x.shape[1:]):
        draw = torch.randint(len(known), (samples,), generator=generator(seed, "metric rows", len(known)))
        return Known(q.x, known[draw])
    return Around(q.x, q.std(spread), samples, seed)
