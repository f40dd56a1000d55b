"""Photos as games: what the bundled model says of those of which some superpixels show; every answer is kept."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pellucid
from benchmarks.cases import photos
from benchmarks.games import REGIONS
from pellucid.api.answers import said_of
from pellucid.core.explanation import Explanation
from pellucid.ops.hierarchy import merges

NAMES = ("cat", "coffee", "astronaut")
ROWS = 480
KEPT = np.dtype([("coalition", "<u8"), ("score", "<f8")])


class Scores:
    """The top class's probability for a photo of which some superpixels show; others show their mean colour."""

    def __init__(self, handle: Any, row: Tensor, labels: Tensor, folder: Path, name: str) -> None:
        self.handle, self.row, self.labels = handle, row, labels
        self.tree = merges("nearest", labels, handle.preprocess.to_pixels(row[None])[0])
        self.file, self.players = folder / f"{name}.bin", int(labels.max()) + 1
        means = torch.stack([row[:, labels == k].mean(1) for k in range(self.players)], 1)
        self.hidden, self.top = means[:, labels], int(handle.module(row[None]).argmax())
        kept = np.fromfile(self.file, KEPT) if self.file.exists() else np.empty(0, KEPT)
        self.known: dict[int, float] = dict(zip(kept["coalition"].tolist(), kept["score"].tolist(), strict=True))

    def __call__(self, shown: Any) -> np.ndarray:
        """Scores of coalitions [rows, players]."""
        bits = np.asarray(shown).reshape(len(shown), self.players) > 0.5
        number = (bits.astype(np.uint64) << np.arange(self.players, dtype=np.uint64)).sum(1, dtype=np.uint64)
        new, at = np.unique(number, return_index=True)
        for some in _parts([i for n, i in zip(new.tolist(), at.tolist(), strict=True) if n not in self.known]):
            scores = self._of(torch.from_numpy(bits[some]))
            self.known |= dict(zip(number[some].tolist(), scores.tolist(), strict=True))
            with self.file.open("ab") as file:
                file.write(np.array(list(zip(number[some], scores, strict=True)), KEPT).tobytes())
        return np.array([self.known[n] for n in number.tolist()])

    def _of(self, shown: Tensor) -> np.ndarray:
        rows = torch.where(shown[:, self.labels][:, None], self.row, self.hidden)
        return said_of(self.handle, rows).outputs.softmax(1)[:, self.top].numpy()

    @cached_property
    def model(self) -> Any:
        """The game as a model of a table: a column for every superpixel, 1 where it shows."""
        return pellucid.wrap(self, np.zeros((1, self.players)), emits="values")

    def explained(self, method: Any) -> Explanation:
        """What a method of ours says of the whole photo."""
        return pellucid.explain(self.model, np.ones((1, self.players)), method)[0]

    def values(self, method: Any) -> Tensor:
        """What it says that the players are worth."""
        return self.explained(method).extras["players"].flatten().double()


def _parts(rows: list[int]) -> Iterable[list[int]]:
    return (rows[i : i + ROWS] for i in range(0, len(rows), ROWS))


def games(folder: Path) -> dict[str, Scores]:
    """By the photo's name."""
    handle = pellucid.load("efficientnet_lite0")
    x = photos(handle, len(NAMES))
    labels = pellucid.regions.cut(REGIONS, handle.preprocess.to_pixels(x))
    return {name: Scores(handle, x[i], labels[i], folder, name) for i, name in enumerate(NAMES)}
