"""The legend below a panel: what the colours of each kind of map mean."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.core.explanation import CHANNEL, TOKEN, Explanation, Kind
from pellucid.views.cell import QUIET, SMALL, strip
from pellucid.views.drawing import look_of
from pellucid.views.figure import Mark, Photo, Text
from pellucid.views.grid import Cell
from pellucid.views.letters import wrap
from pellucid.views.look import LOOKS, Look
from pellucid.views.palette import palette
from pellucid.views.words import Noun, is_row, number, plural, what

_SWATCH, _LEAD = 64, 17

MEANING = {
    Kind.SENSITIVITY: "how fast the score changes with each pixel",
    Kind.CONTRIBUTION: "the part of the score that each pixel is held responsible for",
    Kind.CAM: "how much each place of an inner layer counted for the score",
    Kind.SPREAD: "how much the gradient or the score varies around the picture",
    Kind.PART: "what belongs to the part that keeps the answer",
}
"""What the numbers of a kind are, in half a sentence."""

MEANING_IN_TEXT = {
    Kind.SENSITIVITY: "how fast the score changes with the vector of each token",
    Kind.CONTRIBUTION: "the part of the score that each token is held responsible for",
    Kind.CAM: "how much each token counted for the score",
    Kind.SPREAD: "how much the gradient or the score varies around the text",
    Kind.PART: "the words that keep the answer",
}
"""The same of texts."""

MEANING_IN_ROW = {
    Kind.SENSITIVITY: "how fast the score changes with each column",
    Kind.CONTRIBUTION: "the part of the score that each column is held responsible for",
    Kind.CAM: "how much each column counted for the score",
    Kind.SPREAD: "how much the gradient or the score varies around the row",
    Kind.PART: "the columns that keep the answer",
}
"""The same of rows of a table."""
MEANINGS: dict[Noun, dict[Kind, str]] = {"photo": MEANING, "text": MEANING_IN_TEXT, "row": MEANING_IN_ROW}

_REDUCED = {
    "sum": "summed over channels",
    "norm": "length over channels, √Σx²",
    "max_abs": "the strongest channel",
    "sum_abs": "magnitudes summed over channels",
    "abs_sum": "magnitude of the sum over channels",
    "rgb": "magnitudes of the three channels as red, green and blue",
}
_HUES = {
    "PuOr9_r": ("orange", "purple"),
    "PuOr_r": ("orange", "purple"),
    "PuOr9": ("purple", "orange"),
    "PuOr": ("purple", "orange"),
    "vik": ("red", "blue"),
    "bwr": ("red", "blue"),
    "seismic": ("red", "blue"),
}
"""The colours of the high and of the low end, in words."""
_SHARED = {
    "row": "Maps of one kind in the same row share one scale.",
    "method": "All maps of one method share one scale.",
    "all": "All maps of one kind share one scale.",
}


def legend_marks(
    cells: Sequence[Cell], look: Look | str | None, share: str, left_out: int, x: float, y: float, room: float
) -> list[Mark]:
    """A swatch and a sentence for each kind of map in the figure, then what holds for all of it."""
    methods: dict[tuple[Kind, Look, Noun, bool], list[str]] = {}
    for cell in cells:
        row = cell.row
        names = methods.setdefault((row.kind, look_of(row, look), shown_as(row), CHANNEL in row.dims), [])
        if cell.row.title not in names:
            names.append(cell.row.title)
    marks: list[Mark] = []
    for (kind, chosen, noun, reduced), names in methods.items():
        marks.append(Photo(x=x, y=y + 3, width=_SWATCH, height=7, rgb=strip(palette(chosen.palette), chosen)))
        text = sentence(kind, chosen, names, noun, reduced=reduced)
        y = _lines(marks, text, x + _SWATCH + 14, y, min(room - _SWATCH - 14, 1100)) + 5
    said = what(cell.row for cell in cells).replace("photo", "image")
    more = f"{plural(left_out, f'more {said}')} {'are' if left_out > 1 else 'is'} not shown." if left_out else ""
    tail = " ".join(part for part in (_SHARED.get(share, ""), more) if part)
    if tail:
        _lines(marks, tail, x, y + 4, room)
    return marks


def shown_as(row: Explanation) -> Noun:
    """What the numbers lie on: a picture, the words of a text, the columns of a row."""
    return "text" if TOKEN in row.dims else "row" if is_row(row) else "photo"


def sentence(kind: Kind, look: Look, methods: Sequence[str], noun: Noun = "photo", *, reduced: bool = True) -> str:
    """`Integrated Gradients: the part of the score ..., orange for and purple against; colours end at ...`.

    reduced  whether there were channels, of which one number was made
    """
    more = f" and {len(methods) - 6} more" if len(methods) > 6 else ""
    meaning = MEANINGS[noun][kind]
    meaning = meaning.replace("each pixel", "each region") if look == LOOKS["regions"] else meaning
    parts = [f"{', '.join(methods[:6])}{more}: {meaning}"]
    if look.underlay == "revealed" and noun == "photo":
        parts.append("seen as it is; the rest is pale")
    if look.scale == "centred":
        plus, minus = _HUES.get(look.palette, ("the right end", "the left end"))
        parts.append(
            f"{plus} raises the score, {minus} lowers it"
            if noun == "row" and kind is not Kind.SENSITIVITY
            else f"{plus} counts for the class, {minus} against it"
            if kind is not Kind.SENSITIVITY
            else f"{plus} up, {minus} down"
        )
    if noun == "row":
        return ", ".join(parts) + "."
    if reduced and kind is not Kind.CAM:
        how = _REDUCED[look.reduce]
        parts.append(how.replace("channels", "the vector") if noun == "text" else how)
    end = f"; colours end at the {number(look.clip)}th percentile" if look.clip < 100 else ""
    return ", ".join(parts) + end + "."


def _lines(marks: list[Mark], text: str, x: float, y: float, room: float) -> float:
    for line in wrap(text, room, SMALL):
        marks.append(Text(x=x, y=y + 11, text=line, size=SMALL, colour=QUIET))
        y += _LEAD
    return y
