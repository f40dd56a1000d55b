"""Random subsets of parts: what is hidden, what the map says of it, and what the model says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    def drawn(q: Query, parts: Tensor | None, sizes: Callable[[int], Tensor], samples: int, seed: int) -> Subsets:
        """`samples` subsets of every size, without replacement.

        parts: as `partition` gives them; sizes: shares of the parts, [sizes], for so many parts; at least one part is
        hidden, and at least one shown where there are two. Draws depend on the seed and on the number of parts alone,
        and are others than those of any method.
        """
        labels = labels_of(q.x, parts)
        counts = (labels.amax(1) + 1).tolist()
        known = {n: _subsets(n, sizes(n), samples, seed) for n in set(counts)}
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


def _subsets(parts: int, sizes: Tensor, samples: int, seed: int) -> Tensor:
    """bool [sizes × samples, parts]."""
    count = (sizes * parts).round().long().clamp(1, max(1, parts - 1))
    draw = generator(seed, "metric subsets", parts, samples, len(sizes))
    place = torch.rand(len(sizes), samples, parts, generator=draw, dtype=torch.float64).argsort(-1).argsort(-1)
    return (place < count[:, None, None]).flatten(0, 1)
