"""Digits to train with, and digits held out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("digits.npz")
HELD_OUT = 2000


class Digits(NamedTuple):
    """Pictures and what they show.

    pictures  float32 [count, 28, 28, 3], grey in three channels, ink 1 on paper 0
    labels    int64 [count], 0 … 9
    """

    pictures: NDArray[np.float32]
    labels: NDArray[np.int64]

    def first(self, count: int) -> Digits:
        return Digits(self.pictures[:count], self.labels[:count])


def read() -> tuple[Digits, Digits]:
    """4,000 digits to train with, and 2,000 that are held out."""
    with np.load(FILE) as held:
        levels, labels = held["levels"], held["labels"].astype(np.int64)
    grey = levels.astype(np.float32)[..., None] / 15
    pictures = np.repeat(grey, 3, axis=3)
    return Digits(pictures[:-HELD_OUT], labels[:-HELD_OUT]), Digits(pictures[-HELD_OUT:], labels[-HELD_OUT:])
