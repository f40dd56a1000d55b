"""How the players of a row are called in a plot: words, and for superpixels how they look."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.explanation import Explanation
from pellucid.core.players import Player
from pellucid.views.cell import INK, LINE
from pellucid.views.figure import Box, Mark, Photo, Text
from pellucid.views.letters import fit, width
from pellucid.views.words import plain

THUMB, TEXT = 24.0, 12.0
_DENSITY = 2
_PALE = 0.8
"""How much of white lies over what is not the superpixel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Name:
    """What stands beside a bar; thumb: uint8 [side, side, 3], how a superpixel looks."""

    text: str
    thumb: Tensor | None = None


def name_of(row: Explanation, player: Player) -> Name:
    """The name of a player: a superpixel with its number, what a column says, a word in quotation marks."""
    regions = row.extras.get("regions")
    if row.inputs.picture is not None and regions is not None and regions.ndim == 3:
        return Name(text=f"superpixel {player.name}", thumb=_thumb(row.inputs.picture[0], regions[0] == player.number))
    return Name(text=plain(f"“{player.says}”" if row.inputs.tokens else player.says))


def room_for(names: Iterable[Name], most: float = 250.0) -> float:
    """How much room the widest of some names takes, at most `most`."""
    thumb = THUMB + 8
    each = (width(name.text, TEXT) + (0 if name.thumb is None else thumb) for name in names)
    return math.ceil(min(most, max(each, default=0.0)))


def name_marks(name: Name, right: float, middle: float, room: float) -> list[Mark]:
    """The name, ending at `right`, its middle at a height."""
    marks: list[Mark] = []
    if name.thumb is not None:
        marks = thumb_marks(name.thumb, right - THUMB, middle - THUMB / 2)
        right, room = right - THUMB - 8, room - THUMB - 8
    text = fit(name.text, room, TEXT)
    return [*marks, Text(x=right, y=middle + 4, text=text, size=TEXT, colour=INK, anchor="r")]


def thumb_marks(thumb: Tensor, x: float, y: float) -> list[Mark]:
    """A small picture with a hairline around it."""
    edge = Box(x=x - 1, y=y - 1, width=THUMB + 2, height=THUMB + 2, colour=LINE)
    return [edge, Photo(x=x, y=y, width=THUMB, height=THUMB, rgb=thumb)]


def _thumb(picture: Tensor, mine: Tensor) -> Tensor:
    """A square around a superpixel, the rest of it pale."""
    rows, columns = mine.cpu().nonzero(as_tuple=True)
    if not len(rows):
        return torch.full((2, 2, 3), 255, dtype=torch.uint8)
    height, width = mine.shape
    side = min(height, width, int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 5)
    top = min(max(0, (int(rows.min()) + int(rows.max()) - side) // 2), height - side)
    left = min(max(0, (int(columns.min()) + int(columns.max()) - side) // 2), width - side)
    window = (slice(top, top + side), slice(left, left + side))
    seen, inside = picture.cpu()[window].double(), mine.cpu()[window][..., None]
    pale = torch.where(inside, seen, (1 - _PALE) * seen + _PALE * 255)
    size = round(THUMB * _DENSITY)
    grid = torch.nn.functional.interpolate(pale.movedim(-1, 0)[None], (size, size), mode="bilinear", antialias=True)
    return grid[0].movedim(0, -1).round().clamp(0, 255).to(torch.uint8).contiguous()
