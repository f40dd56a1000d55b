"""A figure: marks at places, drawn as pixels or written as SVG."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.views.letters import Weight, font
from pellucid.views.picture import png_bytes
from pellucid.views.words import plain
from pellucid.views.write import write_bytes

_SMOOTH = 4
"""Round corners are drawn this many times as large and then averaged."""
Anchor = Literal["l", "m", "r"]
_SHIFT = {"l": "start", "m": "middle", "r": "end"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One line of text; y is its baseline, x its left end, middle or right end."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    weight: Weight = "Regular"
    anchor: Anchor = "l"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle, with round corners if asked."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    radius: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A raster picture, uint8 [height, width, 3], stretched over a rectangle."""

    x: float
    y: float
    width: float
    height: float
    rgb: Tensor = field(repr=False, compare=False)
    alt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A filled polygon with straight sides."""

    points: tuple[tuple[float, float], ...]
    colour: str


Mark = Text | Box | Photo | Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Marks on white. Lengths are logical pixels, 96 to the inch.

    density  pixels per logical pixel in PNG files and notebooks.
    note     what was left out or cannot be shown; empty if nothing.
    alt      what is to be seen, in words.
    """

    width: int
    height: int
    marks: tuple[Mark, ...] = field(repr=False)
    alt: str = ""
    note: str = ""
    density: int = 2

    def image(self) -> Image.Image:
        """The figure as a Pillow image of `density` times its logical size."""
        canvas = Image.new("RGB", (self.width * self.density, self.height * self.density), "white")
        pen = ImageDraw.Draw(canvas)
        for mark in self.marks:
            _paint(canvas, pen, mark, self.density)
        return canvas

    def png(self) -> bytes:
        """A PNG file with the alt text in its description and its resolution set."""
        return png_bytes(self.image(), self.alt, self.density)

    def svg(self) -> str:
        """An SVG file: text stays text, pictures are embedded; it opens without anything else."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" font-family="Roboto, Helvetica, Arial, sans-serif">'
        )
        words = f"<title>{escape(plain(self.alt))}</title>"
        ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
        return "\n".join([head, words, ground, *map(_svg, self.marks), "</svg>\n"])

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a PNG or an SVG file, by the ending of its name.

        Raises ParameterError for another ending, FileExists if there is a file and `overwrite` is False.
        """
        to = Path(path)
        ending = to.suffix.lower()
        if ending not in (".png", ".svg"):
            raise ParameterError(
                f"a figure cannot be written as {ending or 'a file without an ending'}", ".png or .svg"
            )
        return write_bytes(to, self.png() if ending == ".png" else self.svg().encode(), overwrite)

    def _repr_png_(self) -> bytes:
        return self.png()


def _paint(canvas: Image.Image, pen: ImageDraw.ImageDraw, mark: Mark, density: int) -> None:
    if isinstance(mark, Text):
        at = (mark.x * density, mark.y * density)
        pen.text(at, mark.text, mark.colour, font(mark.size * density, mark.weight), anchor=f"{mark.anchor}s")
        return
    if isinstance(mark, Shape):
        _paint_shape(canvas, mark, density)
        return
    left, top = round(mark.x * density), round(mark.y * density)
    size = round((mark.x + mark.width) * density) - left, round((mark.y + mark.height) * density) - top
    if min(size) <= 0:
        return
    if isinstance(mark, Photo):
        photo = Image.fromarray(mark.rgb.numpy())
        canvas.paste(photo if photo.size == size else photo.resize(size, Image.Resampling.BICUBIC), (left, top))
    else:
        canvas.paste(mark.colour, (left, top), _mask(size, mark.radius * density))


def _paint_shape(canvas: Image.Image, mark: Shape, density: int) -> None:
    xs, ys = [x * density for x, _ in mark.points], [y * density for _, y in mark.points]
    left, top = math.floor(min(xs)), math.floor(min(ys))
    size = max(1, math.ceil(max(xs)) - left), max(1, math.ceil(max(ys)) - top)
    large = Image.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH), 0)
    ImageDraw.Draw(large).polygon(
        [((x - left) * _SMOOTH, (y - top) * _SMOOTH) for x, y in zip(xs, ys, strict=True)], fill=255
    )
    canvas.paste(mark.colour, (left, top), large.resize(size, Image.Resampling.BOX))


def _mask(size: tuple[int, int], radius: float) -> Image.Image:
    if not radius:
        return Image.new("L", size, 255)
    large = Image.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH), 0)
    ends = (large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, *ends), radius * _SMOOTH, fill=255)
    return large.resize(size, Image.Resampling.BOX)


def _svg(mark: Mark) -> str:
    if isinstance(mark, Shape):
        corners = " ".join(f"{x:g},{y:g}" for x, y in mark.points)
        return f'<polygon points="{corners}" fill="{mark.colour}"/>'
    place = f'x="{mark.x:g}" y="{mark.y:g}"'
    if isinstance(mark, Text):
        weight = ' font-weight="600"' if mark.weight == "Medium" else ""
        anchor = f' text-anchor="{_SHIFT[mark.anchor]}"' if mark.anchor != "l" else ""
        look = f'font-size="{mark.size:g}" fill="{mark.colour}"{weight}{anchor}'
        return f"<text {place} {look}>{escape(plain(mark.text))}</text>"
    place += f' width="{mark.width:g}" height="{mark.height:g}"'
    if isinstance(mark, Box):
        return f'<rect {place} rx="{mark.radius:g}" fill="{mark.colour}"/>'
    data = base64.b64encode(png_bytes(Image.fromarray(mark.rgb.numpy()))).decode()
    named = f"<title>{escape(plain(mark.alt))}</title>" if mark.alt else ""
    return f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{data}">{named}</image>'


def bottom(marks: Sequence[Mark]) -> float:
    """The lowest point that any mark reaches."""
    return max((_end(mark) for mark in marks), default=0.0)


def moved(mark: Mark, down: float) -> Mark:
    """The same mark lower by so much."""
    if isinstance(mark, Shape):
        return replace(mark, points=tuple((x, y + down) for x, y in mark.points))
    return replace(mark, y=mark.y + down)


def _end(mark: Mark) -> float:
    if isinstance(mark, Shape):
        return max(y for _, y in mark.points)
    return mark.y if isinstance(mark, Text) else mark.y + mark.height
