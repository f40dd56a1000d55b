"""Colours for numbers: tables of 256 colours, two kinds, chosen to survive colour blindness by default."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import ParameterError, nearest

_STORED = ("PuOr", "bwr", "seismic", "cividis", "magma", "viridis", "gray", "jet", "vik", "PuOr9")
_DIVERGING = frozenset({"PuOr", "PuOr9", "bwr", "seismic", "vik"})
_REMARKS = {"jet": "jet is not even in lightness: its bright bands are no feature of the numbers"}

PALETTES = tuple(sorted(_STORED, key=str.lower))
"""All names. Each may carry `_r`, which turns the palette around."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A table of 256 colours from the lowest to the highest number.

    name       as in matplotlib or the Scientific Colour Maps; `_r` at the end means turned around.
    table      uint8 [256, 3], red, green, blue in sRGB.
    diverging  the middle is a neutral colour and means 0; the two halves are the two signs.
    remark     what a reader should be told beside the picture; empty for most.
    """

    name: str
    table: Tensor = field(repr=False, compare=False)
    diverging: bool
    remark: str = ""

    def __call__(self, unit: Tensor) -> Tensor:
        """uint8 [..., 3]: the nearest of the 256 colours for numbers in 0..1 of any shape."""
        return self.table[(unit.clamp(0, 1) * 255).round().long()]


@cache
def palette(name: str) -> Palette:
    """The palette of that name. Raises ParameterError with the nearest names."""
    turned = name.endswith("_r")
    plain = name.removesuffix("_r")
    if plain not in _STORED:
        close = nearest(plain, PALETTES)
        raise ParameterError(
            f"there is no palette {name!r}",
            f"one of {', '.join(PALETTES)}, each also with _r at the end (turned around)",
            f"perhaps {close}" if close else "",
        )
    table = _tables()[_STORED.index(plain)]
    return Palette(name, table.flip(0) if turned else table.clone(), plain in _DIVERGING, _REMARKS.get(plain, ""))


@cache
def _tables() -> Tensor:
    with files("pellucid.views").joinpath("data/palettes.npy").open("rb") as stored:
        return torch.from_numpy(np.load(stored, allow_pickle=False).copy())
