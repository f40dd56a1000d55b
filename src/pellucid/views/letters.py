"""Letters: the font that comes with the package, how wide a text is, and what fits into a width."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from pellucid.views.words import plain

Weight = Literal["Regular", "Medium"]
_DENSITIES = (1, 2)
"""Letters stand on whole pixels, so that a text takes a little more room on coarse ones; both must fit."""


@cache
def font(size: float, weight: Weight = "Regular") -> ImageFont.FreeTypeFont:
    """Roboto of a size in pixels. Laid out without the optional libraries of Pillow: the same on every machine."""
    stored = files("pellucid.views").joinpath(f"data/Roboto-{weight}.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(stored), size, layout_engine=ImageFont.Layout.BASIC)


def width(text: str, size: float, weight: Weight = "Regular") -> float:
    """How far a text reaches, in the unit of `size`."""
    return max(font(size * d, weight).getlength(text) / d for d in _DENSITIES)


def fit(text: str, room: float, size: float, weight: Weight = "Regular") -> str:
    """The text, or as much of its beginning as fits into `room`, with an ellipsis."""
    text = plain(text)
    if width(text, size, weight) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "…", size, weight) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(text: str, room: float, size: float, weight: Weight = "Regular") -> list[str]:
    """Lines no wider than `room`, broken between words; a word that is too wide is cut."""
    lines: list[str] = []
    for word in plain(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, size, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(fit(word, room, size, weight))
    return lines


@cache
def lacks(character: str) -> bool:
    """Whether the font has no drawing for a character."""
    return not character.isspace() and _shape(character) == _shape("\uffff")


def _shape(character: str) -> bytes:
    page = Image.new("L", (64, 64))
    ImageDraw.Draw(page).text((16, 48), character, 255, font(32), anchor="ls")
    return page.tobytes()
