"""What stands in one place of the panel: the photo with its predictions, or a map with its colour bar and checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.explanation import TOKEN, Explanation, written
from pellucid.views.columns import columns
from pellucid.views.drawing import Ends, draw, look_of
from pellucid.views.figure import Anchor, Box, Mark, Photo, Text, bottom
from pellucid.views.grid import Cell
from pellucid.views.heat import Overlay, Revealed
from pellucid.views.letters import fit, width, wrap
from pellucid.views.look import Look
from pellucid.views.palette import Palette
from pellucid.views.picture import Picture
from pellucid.views.tokens import tokens
from pellucid.views.words import checked, is_row, number, plain

INK, QUIET, LINE, TRACK = "#1c2127", "#626c77", "#dfe3e8", "#eceff2"
BAR, BAR_EXPLAINED = "#b4bec9", "#2f5f8f"
RED, RED_GROUND = "#a61b12", "#fdeceb"
AMBER, AMBER_GROUND = "#7a4a00", "#fff3dd"

TITLE, SMALL = 13.0, 11.5
SEEN = (60, 72, 84)
"""Stands for the picture in the scale of a map that reveals a part of it."""
DENSITY = 2
CELLS = 16
"""Columns of a row that are listed beside its explanations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Measures of one panel: the width of a map, and how many predictions stand below a photo."""

    size: int = 224
    predictions: int = 3

    def box(self, height: int, width: int) -> tuple[float, float]:
        """Height and width of a picture that fits into the square of a cell."""
        scale = self.size / max(height, width)
        return round(height * scale), round(width * scale)


def photo_marks(row: Explanation, x: float, y: float, style: Style, explained: frozenset[int | None]) -> list[Mark]:
    """The explained picture under its name; below it the model's best classes if any class of it is explained."""
    marks: list[Mark] = [_title(row.inputs.name[0], x, y, style.size, colour=QUIET)]
    picture = row.inputs.picture
    if row.inputs.tokens:
        marks = text_marks(row.inputs.name[0], x, y, style)
    elif row.inputs.cells:
        marks += row_marks(row, x, y + 20, style)
    elif picture is None:
        side = style.size
        middle = y + 20 + side / 2 + 4
        marks.append(Box(x=x, y=y + 20, width=side, height=side, colour=TRACK))
        marks.append(Text(x=x + side / 2, y=middle, text="no picture was kept", size=SMALL, colour=QUIET, anchor="m"))
    else:
        h, w = style.box(picture.shape[1], picture.shape[2])
        marks += framed(Photo(x=x, y=y + 20, width=w, height=h, rgb=picture[0].cpu(), alt=plain(row.inputs.name[0])))
    return marks + prediction_marks(row, x, bottom(marks) + 10, style, explained) if explained else marks


def text_marks(text: str, x: float, y: float, style: Style) -> list[Mark]:
    """A text that was explained, in lines."""
    lines = wrap(text, style.size, TITLE)
    return [Text(x=x, y=y + 11 + 18 * i, text=line, size=TITLE, colour=INK) for i, line in enumerate(lines)]


def row_marks(row: Explanation, x: float, y: float, style: Style) -> list[Mark]:
    """The columns of a row with their values."""
    listed = list(zip(row.inputs.features, row.inputs.cells[0], strict=True))
    shown = listed if len(listed) <= CELLS else listed[: CELLS - 1]
    marks: list[Mark] = []
    for name, value in shown:
        said = fit(written(value), 0.5 * style.size, SMALL)
        label = fit(name, style.size - width(said, SMALL) - 10, SMALL)
        marks.append(Text(x=x, y=y + 12, text=label, size=SMALL, colour=QUIET))
        marks.append(Text(x=x + style.size, y=y + 12, text=said, size=SMALL, colour=INK, anchor="r"))
        marks.append(Box(x=x, y=y + 18, width=style.size, height=1, colour=TRACK))
        y += 20
    if len(shown) < len(listed):
        more = f"… {len(listed) - len(shown)} more columns"
        marks.append(Text(x=x, y=y + 12, text=more, size=SMALL, colour=QUIET))
    return marks


def prediction_marks(
    row: Explanation, x: float, y: float, style: Style, explained: frozenset[int | None]
) -> list[Mark]:
    """The best classes with their probabilities as bars; the explained ones are dark."""
    p = row.prediction
    best = list(zip(p.index[0], p.name[0], p.probability[0], strict=True))[: style.predictions]
    marks: list[Mark] = []
    for place, (index, name, chance) in enumerate(best):
        top = y + 24 * place
        mine = index in explained
        value = f"{chance:.2f}" if p.is_probability else number(chance)
        room = style.size - width(value, SMALL) - 10
        ink = INK if mine else QUIET
        weight = "Medium" if mine else "Regular"
        label = fit(name, room, SMALL, weight)
        marks.append(Text(x=x, y=top + 11, text=label, size=SMALL, colour=ink, weight=weight))
        marks.append(Text(x=x + style.size, y=top + 11, text=value, size=SMALL, colour=ink, weight=weight, anchor="r"))
        if p.is_probability:
            marks.append(Box(x=x, y=top + 16, width=style.size, height=3, colour=TRACK))
            long = max(1.0, style.size * min(1.0, max(0.0, chance)))
            marks.append(Box(x=x, y=top + 16, width=long, height=3, colour=BAR_EXPLAINED if mine else BAR))
    return marks


def cell_marks(
    cell: Cell, x: float, y: float, style: Style, look: Look | str | None, scale: Ends | None, predictions: bool
) -> list[Mark]:
    """A map: title above, colour bar with numbers, remarks and failed checks below."""
    row = cell.row
    marks: list[Mark] = [_title(cell.title, x, y, style.size)]
    if cell.detail:
        marks.append(Text(x=x, y=y + 27, text=fit(cell.detail, style.size, SMALL), size=SMALL, colour=QUIET))
        y += 16
    shown = _text if TOKEN in row.dims else _bars if is_row(row) else _map
    here, drawn, w, end = shown(row, x, y + 20, style, look, scale)
    marks += here
    bar = w if w > 0.6 * style.size else style.size
    if not is_row(row):  # whose bars carry their numbers
        marks += bar_marks(drawn.palette, look_of(row, look), drawn.scale, x, end + 8, bar)
    for text, red in chips_of(row, drawn.note):
        marks += chip(text, red, x, bottom(marks) + 8, style.size)
    if not predictions:
        return marks
    return marks + prediction_marks(row, x, bottom(marks) + 10, style, frozenset(row.target.index))


def _map(
    row: Explanation, x: float, y: float, style: Style, look: Look | str | None, scale: Ends | None
) -> tuple[list[Mark], Picture, float, float]:
    """The framed map, what was drawn, how wide it is, and where it ends."""
    picture = row.inputs.picture
    shape = row.values.shape[-2:] if picture is None else picture.shape[1:3]
    h, w = style.box(shape[0], shape[1])
    drawn = draw(row, look, scale=scale, size=(round(h * DENSITY), round(w * DENSITY)))[0]
    return framed(Photo(x=x, y=y, width=w, height=h, rgb=drawn.rgb, alt=drawn.alt)), drawn, w, y + h


def _text(
    row: Explanation, x: float, y: float, style: Style, look: Look | str | None, scale: Ends | None
) -> tuple[list[Mark], Picture, float, float]:
    """The coloured text, what was drawn, how wide it is, and where it ends."""
    text = tokens(row, look, scale=scale)[0]
    marks = text.marks(x, y, style.size)
    return marks, text.drawn, style.size, bottom(marks)


def _bars(
    row: Explanation, x: float, y: float, style: Style, look: Look | str | None, scale: Ends | None
) -> tuple[list[Mark], Picture, float, float]:
    """The columns as bars, what was drawn, how wide it is, and where it ends."""
    bars = columns(row, look, scale=scale)[0]
    marks = bars.marks(x, y, style.size)
    return marks, bars.drawn, style.size, bottom(marks)


def bar_marks(colours: Palette, look: Look, ends: Ends, x: float, y: float, w: float) -> list[Mark]:
    """A colour bar with the numbers that its ends stand for, and 0 in the middle if that is where it lies."""
    marks: list[Mark] = [Photo(x=x, y=y, width=w, height=7, rgb=strip(colours, look))]
    return marks + [
        Text(x=x + {"l": 0.0, "m": w / 2, "r": w}[anchor], y=line, text=text, size=SMALL, colour=QUIET, anchor=anchor)
        for text, anchor, line in _end_words(ends, y + 20, w)
    ]


def _end_words(ends: Ends, y: float, w: float) -> list[tuple[str, Anchor, float]]:
    """The numbers below a colour bar: text, where it is anchored, and its line. None of them touch."""
    low, high, centred = number(ends[0]), number(ends[1]), ends[0] == -ends[1]
    if ends[0] == ends[1]:
        return [("no scale", "l", y)]
    left, right, zero = (width(text, SMALL) for text in (low, high, "0"))
    if left + right + 8 > w:
        return [(f"± {high}", "l", y)] if centred else [(low, "l", y), (high, "r", y + 15)]
    middle: list[tuple[str, Anchor, float]] = (
        [("0", "m", y)] if centred and 2 * max(left, right) + zero + 16 <= w else []
    )
    return [(low, "l", y), *middle, (high, "r", y)]


def strip(colours: Palette, look: Look) -> Tensor:
    """uint8 [1, 256, 3]: the palette as a reader meets it; over a picture it lets a middle grey shine through.

    Of a picture of which a part is revealed: from pale to ink.
    """
    table = colours.table[None]
    if not look.overlay:
        return table
    unit = torch.linspace(0, 1, 256, dtype=torch.float64)[None]
    if look.underlay == "revealed":
        return Revealed(table.new_tensor(SEEN).expand_as(table), look.overlay)(unit)
    strength = (2 * unit - 1).abs() if look.scale == "centred" else unit
    return Overlay(torch.full_like(table, 128), look.overlay, look.underlay)(table, strength)


def framed(photo: Photo) -> list[Mark]:
    """A picture with a hairline around it, so that a light map has an edge on white."""
    edge = Box(x=photo.x - 1, y=photo.y - 1, width=photo.width + 2, height=photo.height + 2, colour=LINE)
    return [edge, photo]


def chips_of(row: Explanation, note: str) -> list[tuple[str, bool]]:
    """Failed checks (red) and what is odd about the drawing (amber). Clipping is said once, in the legend."""
    failed = [(f"{c.name.replace('_', ' ')} {checked(c)}", True) for c in row.checks if not c.passed[0]]
    odd = [(part, False) for part in note.split("; ") if part and not part.startswith("clipped at the")]
    return failed + odd


def chip(text: str, red: bool, x: float, y: float, room: float) -> list[Mark]:
    """A remark that must be seen: red where a check failed, else amber."""
    ink, ground = (RED, RED_GROUND) if red else (AMBER, AMBER_GROUND)
    lines = wrap(text, room - 30, SMALL)
    wide = max(width(line, SMALL) for line in lines) + 30
    return [
        Box(x=x, y=y, width=wide, height=7 + 15 * len(lines), colour=ground, radius=4),
        Box(x=x + 9, y=y + 8, width=6, height=6, colour=ink, radius=0 if red else 3),
        *(Text(x=x + 21, y=y + 15 + 15 * place, text=line, size=SMALL, colour=ink) for place, line in enumerate(lines)),
    ]


def _title(text: str, x: float, y: float, room: float, colour: str = INK) -> Text:
    """A title, a little smaller where that saves it from being cut."""
    size = TITLE if width(text, TITLE, "Medium") <= room else TITLE - 2
    return Text(x=x, y=y + 11, text=fit(text, room, size, "Medium"), size=size, colour=colour, weight="Medium")
