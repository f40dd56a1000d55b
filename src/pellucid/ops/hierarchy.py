"""Players in a binary tree: which two parts belong together, from single players up to all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import ParameterError


def merges(hierarchy: Any, labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """The merges of one row's players, int64 [players − 1, 2].

    Step k joins two parts, of the players 0 … n − 1 and those that earlier steps made, n … n + k − 1.

    hierarchy  `nearest`; nested lists of all players, as [[0, 1], [2, [3, 4]]], where lists of more than two are
               halved in their order; or merges themselves, as SciPy's linkage has them in its first two columns
    labels     every place's player, int64 [*places], negative for nobody's
    pixels     the colours of the places, [channel, *places], for pictures

    Raises ParameterError for lists and merges that do not hold every player once.
    """
    players = int(labels.max()) + 1
    if isinstance(hierarchy, str):
        if hierarchy != "nearest":
            raise ParameterError(f"hierarchy={hierarchy!r}", "'nearest', nested lists of players, or merges")
        return nearest(labels, pixels)
    if isinstance(hierarchy, (Tensor, np.ndarray)):
        found = torch.as_tensor(hierarchy)[..., :2].long().tolist()
    else:
        found = _Nested(players).of(hierarchy)
    joined = sorted(part for step in found for part in step)
    late = any(part >= players + k for k, step in enumerate(found) for part in step)
    if late or joined != list(range(2 * players - 2)):
        raise ParameterError(
            f"a hierarchy that joins {joined}", f"each of the {players} players and of the parts but the last once"
        )
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def nearest(labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Neighbours merged step by step, those first whose merging widens the parts least    [Ward 1963]

    The cost of merging A and B is |A| |B| / (|A| + |B|) · |mean_A − mean_B|², of places as fractions of the longest
    side and, for pictures, of colours. Only parts that touch are merged, as long as there are such; of equal costs,
    the first players. Arguments and answer as in `merges`.
    """
    labels = labels.cpu()
    where = labels >= 0
    owner, seen = labels[where], [where.nonzero().double().mT / max(labels.shape)]
    if pixels is not None:
        seen.append(pixels.double().cpu()[:, where])
    size = torch.bincount(owner).double()
    mean = torch.stack([torch.bincount(owner, one) / size for one in torch.cat(seen)], 1)
    near, names = _touching(labels, len(size)), list(range(len(size)))
    found: list[tuple[int, int]] = []
    for part in range(len(size), 2 * len(size) - 1):
        a, b = _cheapest(mean, size, near)
        found.append((names[a], names[b]))
        mean[a] = (size[a] * mean[a] + size[b] * mean[b]) / (size[a] + size[b])
        size[a] += size[b]
        near[a] |= near[b]
        near[:, a] |= near[:, b]
        near[a, a] = False
        names[a] = part
        kept = torch.arange(len(names)) != b
        mean, size, near, names = mean[kept], size[kept], near[kept][:, kept], names[:b] + names[b + 1 :]
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def _cheapest(mean: Tensor, size: Tensor, near: Tensor) -> tuple[int, int]:
    cost = (mean[:, None] - mean).square().sum(2) * (size[:, None] * size / (size[:, None] + size))
    allowed = near if bool(near.any()) else torch.ones_like(near)
    best = int(cost.masked_fill(~allowed.triu(1), torch.inf).argmin())
    return best // len(size), best % len(size)


def _touching(labels: Tensor, players: int) -> Tensor:
    """Which players have places beside each other, bool [players, players]."""
    near = torch.zeros(players, players, dtype=torch.bool)
    for axis in range(labels.ndim):
        a, b = labels.narrow(axis, 0, labels.shape[axis] - 1), labels.narrow(axis, 1, labels.shape[axis] - 1)
        two = (a >= 0) & (b >= 0) & (a != b)
        near[a[two], b[two]] = True
    return near | near.mT


class _Nested:
    """Nested lists made merges; the parts are numbered as they are made."""

    def __init__(self, players: int) -> None:
        self.players = players
        self.found: list[tuple[int, int]] = []

    def of(self, groups: Any) -> list[tuple[int, int]]:
        self._part(groups)
        return self.found

    def _part(self, group: Any) -> int:
        if isinstance(group, int) and not isinstance(group, bool):
            if not 0 <= group < self.players:
                raise ParameterError(f"player {group} in a hierarchy", f"0 … {self.players - 1}")
            return group
        if not isinstance(group, Sequence) or isinstance(group, str) or not group:
            raise ParameterError(f"{group!r} in a hierarchy", "nested lists of players' numbers")
        if len(group) == 1:
            return self._part(group[0])
        half = (len(group) + 1) // 2
        pair = self._part(group[:half]), self._part(group[half:])
        self.found.append(pair)
        return self.players + len(self.found) - 1
