"""What the page is drawn from: a photo, a map as a see-through layer over it, a thumbnail for its tab.

A layer keeps the place of every number on its palette (one byte per pixel) and gives each of the 256 colours an
opacity, so that the page can lay it over the photo, or over the palette's own ground, without a second picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor

from pellucid.core.explanation import Explanation
from pellucid.views.drawing import draw, look_of
from pellucid.views.heat import PALE
from pellucid.views.palette import palette
from pellucid.views.picture import Picture

THUMBNAIL = 56
"""Side on the page; twice as many pixels are kept."""
JPEG_QUALITY = 88
ROOM = 32
"""Levels of 255 within which a channel of the ground counts as being at its end."""
SHINE = 0.55
"""How much of the grey photo is seen below a map, the rest being the palette's ground; the style says the same."""


REVEALED = "revealed"
"""In the place of a palette's name: a part of the photo is seen, the rest is hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class Veil:
    """A palette split into colour and opacity: over `ground` it is the palette again.

    Of a map that reveals a part, it is the same pale colour throughout, opaque where nothing of the part is.

    rgb     uint8 [256, 3].
    alpha   uint8 [256]; 0 where the palette says "nothing".
    ground  the palette's colour for "nothing": red, green, blue.
    """

    rgb: Tensor
    alpha: Tensor
    ground: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A map ready for the page: its picture's words and scale, the place of every pixel on the palette."""

    drawn: Picture
    palette: str
    index: Tensor

    def png(self) -> bytes:
        """A PNG with 256 colours, each with its opacity."""
        return _paletted(self.index, veil(self.palette))

    def thumbnail(self, photo: Tensor | None) -> bytes:
        """The map over the grey photo, small, as JPEG."""
        image = Image.open(BytesIO(self.png())).convert("RGBA")
        image.thumbnail((THUMBNAIL * 2, THUMBNAIL * 2), Image.Resampling.BOX)
        below = Image.new("RGBA", image.size, (*veil(self.palette).ground, 255))
        if photo is not None:
            whole = Image.fromarray(photo.numpy()).resize(image.size)
            grey = Image.blend(below, whole.convert("L").convert("RGBA"), SHINE)
            below = whole.convert("RGBA") if self.palette == REVEALED else grey
        out = BytesIO()
        below.alpha_composite(image)
        below.convert("RGB").save(out, "JPEG", quality=82)
        return out.getvalue()


@cache
def veil(name: str) -> Veil:
    """p = (1 − α) g + α c with the smallest α that keeps c a colour; p the palette, g its colour for "nothing".

    α never falls on the way out from g. A channel of g that is nearly at its end (white, or black) has no say in α: it
    would be driven by the palette's rounding. The equation then holds within that channel's room, a few levels of 255.
    """
    if name == REVEALED:
        return Veil(
            torch.tensor(PALE, dtype=torch.uint8).expand(256, 3), torch.arange(255, -1, -1).to(torch.uint8), PALE
        )
    table = palette(name)
    p = table.table.double()
    middle = 128 if table.diverging else 0
    g = p[middle]
    d = p - g
    room = torch.where(d > 0, 255 - g, g)
    need = torch.where(room < ROOM, 0.0, d.abs() / room.clamp(min=1)).amax(1).clamp(0, 1)
    below, above = (
        need[:middle].flip(0).cummax(0).values.flip(0) if middle else need[:0],
        need[middle:].cummax(0).values,
    )
    alpha = (torch.cat([below, above]) * 255).ceil()
    colour = g + d * torch.where(alpha > 0, 255 / alpha.clamp(min=1), alpha)[:, None]
    red, green, blue = (int(v) for v in g)
    return Veil(colour.round().clamp(0, 255).to(torch.uint8), alpha.to(torch.uint8), (red, green, blue))


def layer(row: Explanation, side: int) -> Layer:
    """The map of a single row, drawn in its usual colours; neither side of it is longer than `side` pixels."""
    look = look_of(row)
    size = _within(_full_size(row), side)
    ruler = draw(row, replace(look, palette="gray", overlay=0.0, underlay="grey"), size=size)[
        0
    ]  # gray i has the index i
    shown = REVEALED if look.underlay == "revealed" and row.inputs.picture is not None else look.palette
    return Layer(replace(ruler, palette=palette(look.palette)), shown, ruler.rgb[..., 0])


def strip(name: str) -> bytes:
    """The veil of a palette from its lowest to its highest colour, one pixel high."""
    return _paletted(torch.arange(256, dtype=torch.uint8)[None], veil(name))


def photo_jpeg(photo: Tensor, side: int) -> bytes:
    """uint8 [height, width, 3] as a JPEG file."""
    image = Image.fromarray(photo.cpu().numpy())
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()


def _paletted(index: Tensor, colours: Veil) -> bytes:
    image = Image.frombytes("P", (index.shape[1], index.shape[0]), index.contiguous().numpy().tobytes())
    image.putpalette(bytes(colours.rgb.flatten().tolist()))
    out = BytesIO()
    image.save(out, "PNG", transparency=bytes(colours.alpha.tolist()), optimize=True)
    return out.getvalue()


def _full_size(row: Explanation) -> tuple[int, int]:
    picture = row.inputs.picture
    if picture is not None:
        return picture.shape[1], picture.shape[2]
    return row.values.shape[row.dims.index("height")], row.values.shape[row.dims.index("width")]


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
