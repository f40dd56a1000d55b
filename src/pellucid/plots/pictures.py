"""Plots of pictures: superpixels, the superpixels that count, one map per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid import images
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.players import players_of, regions_of
from pellucid.plots.rows import STRIP_LINE, Asked, Line, cases_of, rows_of, strip, strip_marks
from pellucid.regions import Slic
from pellucid.views.cell import INK, QUIET, SMALL, bar_marks, framed
from pellucid.views.drawing import draw, shared_scale
from pellucid.views.figure import Box, Figure, Mark, Photo, Text, bottom
from pellucid.views.letters import fit
from pellucid.views.look import Look
from pellucid.views.outlines import Rgb, borders, colour, enlarged, filled
from pellucid.views.words import describe, plain

MARGIN, GAP, DENSITY = 24, 20, 2
ACROSS = 3
"""Facets beside each other."""
HIGHEST = 480
LOOK = Look(clip=99.9, palette="PuOr9_r")
"""Maps of `image_plot`, clipped as those of shap."""
SHADE = 0.35
"""How much darker the darkest parts of the picture make its map, so that one sees where one is."""


def plot_superpixels(
    photo: images.Source,
    n_superpixels: int = 50,
    weight: float = 20,
    n_iter: int = 10,
    colour: str = "black",
) -> Figure:
    """A photo under the borders of its superpixels, at its own size: to choose their number before explaining.

    photo          anything that `pellucid.images.read` takes
    n_superpixels  about how many
    weight         how much place counts against colour: higher gives more compact superpixels
    n_iter         of the clustering
    colour         of the borders
    Raises ImageError for what is no picture, ParameterError for other numbers or an unknown colour.
    """
    seen = images.read(photo)
    ink = _colour(colour)
    pixels = torch.from_numpy(seen.uint8().copy())
    cut = Slic(n=n_superpixels, weight=weight, iterations=n_iter)
    labels = cut((pixels.double() / 255).movedim(-1, 0)[None])[0]
    height, width = _within(seen.height, seen.width, 640)
    fine = enlarged(labels, (height * DENSITY, width * DENSITY))
    drawn = filled(_finer(pixels, fine.shape), borders(fine, 2), ink, 1.0)
    count = int(labels.max()) + 1
    alt = f"{plain(seen.name)} cut into {count} superpixels"
    return Figure(
        width=width, height=height, marks=(Photo(x=0, y=0, width=width, height=height, rgb=drawn, alt=alt),), alt=alt
    )


def plot_image_explanation(
    explanation: Asked,
    which: int | str = 1,
    threshold: float = 0.02,
    show_negative: bool = False,
    display: Literal["outline", "block"] = "outline",
    fill_alpha: float = 0.3,
    outline_col: Sequence[str] = ("blue", "red"),
    block_col: str = "grey",
) -> Figure:
    """The superpixels of one picture that count for each label, and those that count against it.

    explanation    of one label, or of several
    which          the picture: counted from 1, as in R, or by its name
    threshold      a superpixel is shown when its weight is above it, or at or below −threshold; one that weighs
                   nothing is never shown
    show_negative  also what counts against, in a picture of its own
    display        `outline` marks what counts; `block` hides everything else
    fill_alpha     opacity of the colour inside an outline
    outline_col    colours for what counts for and against the label
    block_col      what hides the rest
    Raises InputError where no picture was cut into regions, ParameterError for other words and numbers.
    """
    if display not in ("outline", "block"):
        raise ParameterError(f"display={display!r}", "outline or block")
    if not 0 <= fill_alpha <= 1 or threshold < 0:
        raise ParameterError(f"fill_alpha={fill_alpha}, threshold={threshold}", "0 ≤ fill_alpha ≤ 1, threshold ≥ 0")
    if isinstance(outline_col, str) or len(outline_col) != 2:
        raise ParameterError(f"outline_col={outline_col!r}", "two colours: for and against")
    inks, hide = [_colour(one) for one in outline_col], _colour(block_col)
    facets = _facets(explanation, which)
    several = len({row.record.method for row in facets}) > 1
    signs = (1, -1) if show_negative else (1,)
    shape = regions_of(facets[0]).shape
    height, width = _within(shape[0], shape[1], 280)
    size = (height * DENSITY, width * DENSITY)
    marks: list[Mark] = []
    y = float(MARGIN)
    for line in _lines(facets):
        strips = [strip(row, method=several) for row in line]
        tall = max(map(len, strips))
        for place, lines in enumerate(strips):
            marks += strip_marks(lines, MARGIN + place * (width + GAP), y, width, tall)
        y += tall * STRIP_LINE + 8
        for sign in signs:
            if show_negative:
                marks += _sign_marks(sign, inks, MARGIN, y)
                y += 24
            for place, row in enumerate(line):
                rgb, said = _counting(row, size, sign, threshold, display, fill_alpha, inks, hide)
                x = MARGIN + place * (width + GAP)
                marks += framed(Photo(x=x, y=y, width=width, height=height, rgb=rgb, alt=said))
            y += height + 14
        y += 10
    across = 2 * MARGIN + min(ACROSS, len(facets)) * (width + GAP) - GAP
    return Figure(
        width=across,
        height=round(bottom(marks)) + MARGIN,
        marks=tuple(marks),
        alt="; ".join(m.alt for m in marks if isinstance(m, Photo)),
    )


def image_plot(explanations: Asked, which: int | str = 1, width: int = 220) -> Figure:
    """The picture beside one map per class, all on one scale that is symmetric around zero.

    explanations  of one label or of several, maps or regions
    which         the picture: counted from 1, or by its name
    width         of each picture in logical pixels
    Raises InputError where there is no map.
    """
    if width < 64:
        raise ParameterError(f"width={width}", "64 or more")
    facets = _facets(explanations, which)
    several = len({row.record.method for row in facets}) > 1
    low, high = shared_scale(facets, LOOK)
    end = max(abs(low), abs(high)) or 1.0
    shape = facets[0].inputs.picture.shape[1:3] if facets[0].inputs.picture is not None else facets[0].values.shape[-2:]
    tall, wide = _within(int(shape[0]), int(shape[1]), width)
    cells: list[Explanation | None] = [None, *facets]
    tallest = max(len(strip(row, method=several)) for row in facets)
    marks: list[Mark] = []
    y = float(MARGIN)
    for line in _lines(cells, ACROSS + 1):
        for place, row in enumerate(line):
            x = MARGIN + place * (wide + GAP)
            marks += _titled(facets[0], row, several, x, y, wide, tallest)
            top = y + STRIP_LINE * tallest + 6
            marks += _photo(facets[0], x, top, (tall, wide)) if row is None else _map(row, end, x, top, (tall, wide))
        y = bottom(marks) + 18
    across = 2 * MARGIN + min(len(cells), ACROSS + 1) * (wide + GAP) - GAP
    long = min(320, across - 2 * MARGIN)
    drawn = draw(facets[0], LOOK, scale=end)[0]
    marks += bar_marks(drawn.palette, LOOK, (-end, end), (across - long) / 2, y + 4, long)
    said = f"part of the {facets[0].target.output.replace('_', ' ')} that each place is held responsible for"
    said = fit(said, across - 2 * MARGIN, SMALL)
    marks.append(Text(x=across / 2, y=y + 44, text=said, size=SMALL, colour=QUIET, anchor="m"))
    return Figure(
        width=across,
        height=round(bottom(marks)) + MARGIN,
        marks=tuple(marks),
        alt=" ".join(describe(row) for row in facets),
    )


# -- parts -------------------------------------------------------------------------------------------------------


def _colour(name: str) -> Rgb:
    return colour(name)


def _facets(explanations: Asked, which: int | str) -> list[Explanation]:
    """The rows of one case. Raises InputError for one that is not there."""
    rows = rows_of(explanations)
    cases = cases_of(rows)
    known = which in cases if isinstance(which, str) else not isinstance(which, bool) and 1 <= which <= len(cases)
    if not known:
        raise InputError(f"which={which!r}", f"a number from 1 to {len(cases)}, or one of {', '.join(cases[:6])}")
    name = which if isinstance(which, str) else cases[which - 1]
    return [row for row in rows if row.inputs.name[0] == name]


def _lines(cells: Sequence[Any], most: int = ACROSS) -> list[Sequence[Any]]:
    return [cells[i : i + most] for i in range(0, len(cells), most)]


def _within(height: int, width: int, most: int) -> tuple[int, int]:
    """Height and width in logical pixels, no wider than `most` and not much higher."""
    scale = min(most / width, HIGHEST / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _finer(pixels: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    photo = Image.fromarray(pixels.cpu().numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(photo))


def _counting(
    row: Explanation,
    size: tuple[int, int],
    sign: int,
    threshold: float,
    display: str,
    alpha: float,
    inks: Sequence[Rgb],
    hide: Rgb,
) -> tuple[Tensor, str]:
    """The picture with the superpixels of one sign marked, and what is to be seen."""
    regions, picture = regions_of(row), row.inputs.picture
    chosen = [p.number for p in players_of(row) if p.weight and _beyond(sign * p.weight, threshold, sign)]
    fine = enlarged(regions, size)
    inside = torch.isin(fine, torch.tensor(chosen, dtype=torch.int64))
    photo = _finer(picture[0], size) if picture is not None else torch.full((*size, 3), 255, dtype=torch.uint8)
    way = "for" if sign > 0 else "against"
    said = f"{len(chosen)} of {int(regions.max()) + 1} superpixels count {way} {plain(row.target.name[0])}"
    if display == "block":
        return filled(photo, ~inside, hide, 1.0), said
    ink = inks[0 if sign > 0 else 1]
    edges = borders(torch.where(inside, fine, -1), 3)
    return filled(filled(photo, inside, ink, alpha), edges, ink, 1.0), said


def _beyond(weight: float, threshold: float, sign: int) -> bool:
    return weight > threshold if sign > 0 else weight >= threshold


def _sign_marks(sign: int, inks: Sequence[Rgb], x: float, y: float) -> list[Mark]:
    red, green, blue = inks[0 if sign > 0 else 1]
    word = "Supports" if sign > 0 else "Contradicts"
    return [
        Box(x=x, y=y + 1, width=11, height=11, colour=f"#{red:02x}{green:02x}{blue:02x}"),
        Text(x=x + 17, y=y + 11, text=word, size=12, colour=INK, weight="Medium"),
    ]


def _titled(
    first: Explanation, row: Explanation | None, several: bool, x: float, y: float, room: float, height: int
) -> list[Mark]:
    """What stands above a map, or above the picture."""
    lines = [Line(text=plain(first.inputs.name[0]), colour=QUIET)] if row is None else strip(row, method=several)
    return strip_marks(lines, x, y, room, height)


def _photo(row: Explanation, x: float, y: float, size: tuple[int, int]) -> list[Mark]:
    picture = row.inputs.picture
    if picture is None:
        return [Box(x=x, y=y, width=size[1], height=size[0], colour="#eceff2")]
    rgb = _finer(picture[0], (size[0] * DENSITY, size[1] * DENSITY))
    return framed(Photo(x=x, y=y, width=size[1], height=size[0], rgb=rgb, alt=plain(row.inputs.name[0])))


def _map(row: Explanation, end: float, x: float, y: float, size: tuple[int, int]) -> list[Mark]:
    fine = (size[0] * DENSITY, size[1] * DENSITY)
    drawn = draw(row, LOOK, scale=end, size=fine)[0]
    rgb = drawn.rgb
    if row.inputs.picture is not None:
        light = _finer(row.inputs.picture[0], fine).double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
        rgb = (rgb.double() * (1 - SHADE + SHADE * light / 255)[..., None]).round().to(torch.uint8)
    return framed(Photo(x=x, y=y, width=size[1], height=size[0], rgb=rgb, alt=drawn.alt))
