"""Rows of a table: every column as a bar, the strongest first, with what it says."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path

from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of, strongest
from pellucid.views.drawing import Ends, draw
from pellucid.views.figure import Box, Figure, Mark, Text, bottom
from pellucid.views.letters import fit, width
from pellucid.views.look import Look
from pellucid.views.palette import Palette
from pellucid.views.picture import Picture
from pellucid.views.words import is_row, number, plain

SIZE, SMALL, PITCH, THICK = 12.0, 11.5, 34.0, 8.0
"""Letters of names and of numbers, height of a line, and of its bar; logical pixels."""
INK, QUIET, LINE = "#1c2127", "#626c77", "#c6ccd2"
MOST = 12
"""Columns that are drawn; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One bar: what the column says, its number, and the standard error of that, if known."""

    says: str
    value: float
    std_error: float | None

    @property
    def text(self) -> str:
        """The number as it is written."""
        return number(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A row of a table, its columns as bars.

    columns  those drawn, the strongest first
    rest     what is to be said of the others; empty where there are none
    fit      how well the linear model behind the numbers fits; empty for methods without one
    ends     what the whole width means; zero lies within
    drawn    colours, and what is to be said of the numbers
    """

    columns: tuple[Column, ...]
    rest: str
    fit: str
    ends: Ends
    drawn: Picture

    @property
    def tones(self) -> tuple[str, str]:
        """The colours of bars above and below zero."""
        return tones(self.drawn.palette)

    def span(self, column: Column) -> tuple[float, float]:
        """Where its bar begins and ends, as shares of the width."""
        start, end = sorted((self.at(0.0), self.at(column.value)))
        return start, end

    def at(self, value: float) -> float:
        """Where a number lies, as a share of the width."""
        low, high = self.ends
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0

    def marks(self, x: float, y: float, room: float) -> list[Mark]:
        """One column below the other, from y down."""
        out: list[Mark] = []
        for column in self.columns:
            said = column.text
            label = fit(column.says, room - width(said, SMALL) - 10, SIZE)
            out.append(Text(x=x, y=y + 12, text=label, size=SIZE, colour=INK))
            out.append(Text(x=x + room, y=y + 12, text=said, size=SMALL, colour=INK, anchor="r"))
            start, end = self.span(column)
            tone = self.tones[0] if column.value > 0 else self.tones[1]
            long = max(1.0, room * (end - start))
            out.append(Box(x=x + room * start, y=y + 18, width=long, height=THICK, colour=tone))
            if column.std_error:
                low, high = self.at(column.value - column.std_error), self.at(column.value + column.std_error)
                middle = y + 18 + THICK / 2
                out.append(Box(x=x + room * low, y=middle - 0.75, width=room * (high - low), height=1.5, colour=INK))
            out.append(Box(x=x + room * self.at(0.0) - 0.5, y=y + 16, width=1, height=THICK + 4, colour=LINE))
            y += PITCH
        for line in (self.rest, self.fit):
            if line:
                out.append(Text(x=x, y=y + 11, text=fit(line, room, SMALL), size=SMALL, colour=QUIET))
                y += 17
        return out

    def html(self) -> str:
        """Lines that keep their colours wherever they are put; needs no style sheet and no script."""
        lines = "".join(self._line(column) for column in self.columns)
        below = "".join(f'<div style="opacity:.7">{escape(line)}</div>' for line in (self.rest, self.fit) if line)
        return f'<div role="img" aria-label="{escape(self.drawn.alt)}">{lines}{below}</div>'

    def _line(self, column: Column) -> str:
        start, end = (f"{100 * share:.2f}%" for share in self.span(column))
        tone = self.tones[0] if column.value > 0 else self.tones[1]
        stops = f"transparent {start},{tone} {start},{tone} {end},transparent {end}"
        return (
            '<div style="display:flex;justify-content:space-between;gap:10px;line-height:1.3">'
            f'<span style="overflow-wrap:anywhere">{escape(plain(column.says))}</span><span>{column.text}</span></div>'
            f'<div style="height:8px;margin:3px 0 8px;background:linear-gradient(to right,{stops})"></div>'
        )

    def figure(self, across: int = 420) -> Figure:
        """The row with its bars, to be saved as PNG or SVG.

        across  width in logical pixels
        """
        marks = self.marks(16, 12, across - 32)
        return Figure(
            width=across,
            height=round(bottom(marks) + 16),
            marks=tuple(marks),
            alt=self.drawn.alt,
            note=self.drawn.note,
        )

    def png(self, across: int = 420) -> bytes:
        """The figure as a PNG file."""
        return self.figure(across).png()

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the figure as a PNG or an SVG file. Raises FileExists if there is one and `overwrite` is False."""
        return self.figure().save(path, overwrite)

    def _repr_html_(self) -> str:
        return self.html()


def columns(
    explanation: Explanation, look: Look | str | None = None, *, scale: float | Ends | None = None, most: int = MOST
) -> list[Bars]:
    """Rows of an explanation with their columns as bars. The explanation stays as it is.

    look   how to draw, as for maps; None chooses by kind.
    scale  what the whole width means: a pair, or the largest magnitude; None takes it from each row.
    most   columns that are drawn
    Raises InputError where the values are not those of columns.
    """
    if not is_row(explanation):
        raise InputError(f"an explanation with the axes {', '.join(explanation.dims)} is no row", "the axis feature")
    drawn = draw(explanation, look, scale=scale)
    given = None if scale is None else drawn[0].scale
    return [_bars(row, one, most, given) for row, one in zip(explanation, drawn, strict=True)]


def _bars(row: Explanation, drawn: Picture, most: int, given: Ends | None) -> Bars:
    every = strongest(players_of(row))
    kept = [player for player in every if player.weight][:most] or every[:most]
    shown = tuple(Column(says=plain(p.says), value=p.weight, std_error=p.std_error) for p in kept)
    reach = [c.value + side * (c.std_error or 0.0) for c in shown for side in (-1, 1) if isfinite(c.value)]
    ends = given or (min([0.0, *reach]), max([0.0, *reach]))
    return Bars(columns=shown, rest=_rest(every[len(kept) :]), fit=fit_of(row), ends=ends, drawn=drawn)


def _rest(others: list[Player]) -> str:
    if not others:
        return ""
    those = f"{len(others)} more column" + ("" if len(others) == 1 else "s")
    if not any(player.weight for player in others):
        return f"{those} without a weight"
    return f"{those}, together {number(sum(player.weight for player in others))}"


def fit_of(row: Explanation) -> str:
    """How well the linear model behind a row's numbers fits: R², and what it says of the row itself."""
    r2, said = row.check("r2"), row.extras.get("prediction")
    if r2 is None:
        return ""
    good = f"fit R² {number(r2.value[0], 2)}"
    if said is None or said.ndim != 1:
        return good
    return f"{good}; predicts {number(float(said[0]))}, the model {number(row.target.score[0])}"


def tones(colours: Palette) -> tuple[str, str]:
    """Strong colours of a palette, for what is above and for what is below zero."""
    table = colours.table
    high, low = table[round(0.85 * (len(table) - 1))], table[round(0.15 * (len(table) - 1))]
    return "#{:02x}{:02x}{:02x}".format(*high.tolist()), "#{:02x}{:02x}{:02x}".format(*low.tolist())
