"""Random subsets of parts: what is hidden, what the map says of it, and what the model says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Query
from pellucid.core.fold import Stack
from pellucid.core.points import Points, generator
from pellucid.ops.places import labels_of, shape, spread, sums


@dataclass(frozen=True, slots=True, eq=False)
class Parts(Points):
    """Rows of which some parts are shown: m ⊙ x + (1 − m) ⊙ fill, over all channels of a place.

    x: [batch, ...]; shown: [batch or 1, samples, parts], bool, or the share at which parts are shown; labels: number of
    every place's part, int64 [batch, *places]; fill: [batch or 1, ...], in the units of x.
    """

    x: Tensor
    shown: Tensor
    labels: Tensor
    fill: Tensor

    @property
    def count(self) -> int:
        return self.shown.shape[1]

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x, labels = self.x[b0:b1], self.labels[b0:b1]
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        shown = (self.shown if len(self.shown) == 1 else self.shown[b0:b1])[:, k0:k1].to(x.device)
        each = shown.expand(len(x), -1, -1)
        mask = spread(torch.stack([one[:, where] for one, where in zip(each, labels, strict=True)], 1), x)
        made = torch.where(mask, x, fill) if mask.dtype == torch.bool else torch.lerp(fill, x, mask.to(x.dtype))
        return made.flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Subsets:
    """Which parts of every row are hidden, sample by sample.

    labels  number of every place's part, int64 [batch, places]
    hidden  bool [batch or 1, samples, parts]
    """

    labels: Tensor
    hidden: Tensor

    @staticmethod
    def drawn(
        q: Query,
        parts: Tensor | None,
        sizes: Callable[[int], Tensor],
        samples: int,
        seed: int,
        sets: Callable[[int, Tensor, int, int], Tensor] | None = None,
    ) -> Subsets:
        """`samples` subsets of every size.

        parts: as `partition` gives them; sizes: shares of the parts, [sizes], for so many parts; sets: `sized` (None)
        or `coins`. Draws depend on the seed and on the number of parts alone, and are others than those of any method.
        """
        draw = sized if sets is None else sets
        labels = labels_of(q.x, parts)
        counts = (labels.amax(1) + 1).tolist()
        known = {n: draw(n, sizes(n), samples, seed) for n in set(counts)}
        if len(known) == 1:
            return Subsets(labels, known[counts[0]][None])
        most = max(known)
        pad = torch.nn.functional.pad
        return Subsets(labels, torch.stack([pad(known[n], (0, most - n)) for n in counts]))

    def scores(self, q: Query, fill: Tensor) -> Ask[Tensor]:
        """The question for the scores without every subset, [target, samples, batch]."""
        labels = self.labels.view(len(q.x), *shape(q.x)).to(q.x.device)
        return q.score(Parts(q.x, ~self.hidden, labels, fill), Stack())

    def totals(self, values: Tensor) -> Tensor:
        """Σ of a map over every subset; values: float64 [batch, *places]; gives [batch, samples]."""
        worth = sums(values.flatten(1), self.labels)
        return (self.hidden.to(worth) @ worth[:, :, None])[:, :, 0]


def sized(parts: int, sizes: Tensor, samples: int, seed: int) -> Tensor:
    """Without replacement, bool [sizes × samples, parts]; at least one is hidden, and one shown where there are two."""
    count = (sizes * parts).round().long().clamp(1, max(1, parts - 1))
    draw = generator(seed, "metric subsets", parts, samples, len(sizes))
    place = torch.rand(len(sizes), samples, parts, generator=draw, dtype=torch.float64).argsort(-1).argsort(-1)
    return (place < count[:, None, None]).flatten(0, 1)


def coins(parts: int, sizes: Tensor, samples: int, seed: int) -> Tensor:
    """Every part by itself with the probability that sizes say, bool [sizes × samples, parts]."""
    draw = generator(seed, "metric coins", parts, samples, len(sizes))
    coin = torch.rand(len(sizes), samples, parts, generator=draw, dtype=torch.float64)
    return (coin < sizes[:, None, None]).flatten(0, 1)
