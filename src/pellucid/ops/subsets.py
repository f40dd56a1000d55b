"""Random subsets of parts: what is hidden, what the map says of it, and what the model says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Query
from pellucid.core.fold import Stack
from pellucid.core.points import generator
from pellucid.ops.boards import Coalitions
from pellucid.ops.places import labels_of, shape, sums


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
        or `coins`. Draws depend on the seed and on the number of parts alone, so that more samples begin with the same
        subsets, and metrics that want fewer ask nothing new; they are others than those of any method.
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
        return q.score(Coalitions(q.x, ~self.hidden, labels, fill[None]), Stack())

    def totals(self, values: Tensor) -> Tensor:
        """Σ of a map over every subset; values: float64 [batch, *places]; gives [batch, samples]."""
        worth = sums(values.flatten(1), self.labels)
        return (self.hidden.to(worth) @ worth[:, :, None])[:, :, 0]


def sized(parts: int, sizes: Tensor, samples: int, seed: int) -> Tensor:
    """Without replacement, bool [sizes × samples, parts]; at least one is hidden, and one shown where there are two."""
    count = (sizes * parts).round().long().clamp(1, max(1, parts - 1))
    return _drawn("metric subsets", parts, tuple(count.tolist()), samples, seed)


def coins(parts: int, sizes: Tensor, samples: int, seed: int) -> Tensor:
    """Every part by itself with the probability that sizes say, bool [sizes × samples, parts]."""
    return _drawn("metric coins", parts, tuple(sizes.tolist()), samples, seed)


@lru_cache(maxsize=2)  # every map, and every metric of the same subsets, asks for them again
def _drawn(name: str, parts: int, sizes: tuple[float, ...], samples: int, seed: int) -> Tensor:
    """Size by size and draw by draw, each draw being a number in 0 … 1 for every part.

    sizes  how many of the smallest are chosen, or below which number
    """
    found: list[Tensor] = []
    for k, size in enumerate(sizes):
        draw = generator(seed, name, parts, k)
        for _ in range(samples):
            u = torch.rand(parts, generator=draw, dtype=torch.float64)
            found.append(u <= u.kthvalue(size).values if isinstance(size, int) else u < size)
    return torch.stack(found)
