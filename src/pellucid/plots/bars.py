"""Facets of horizontal bars, on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of, strongest
from pellucid.plots.axis import Axis, axis_of
from pellucid.plots.names import Name, name_marks, name_of, room_for
from pellucid.plots.rows import STRIP_LINE, Line, strip_marks
from pellucid.views.cell import INK, QUIET, SMALL
from pellucid.views.figure import Box, Figure, Mark, Text, bottom
from pellucid.views.letters import width
from pellucid.views.words import number

MARGIN, GAP = 24, 36
LONG, PITCH = 250, 30
SURE = 1.96
"""Standard errors on either side: where the weight lies 19 times out of 20."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bar:
    """One bar: its name, its length, and how far the length may be wrong."""

    name: Name
    value: float
    error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facet:
    """Bars under a strip; note: what was left out."""

    strip: Sequence[Line]
    bars: Sequence[Bar]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Colours of positive and of negative bars, and what they are called in the legend."""

    up: str
    down: str
    words: tuple[str, str] = ("Supports", "Contradicts")


def facet_of(row: Explanation, strip: Sequence[Line], most: int) -> Facet:
    """The strongest players of a row as bars."""
    every = [player for player in players_of(row) if player.weight]
    kept = strongest(every, most)
    bars = [Bar(name=name_of(row, p), value=p.weight, error=SURE * (p.std_error or 0.0)) for p in kept]
    return Facet(strip=strip, bars=bars, note=left_out(every, kept))


def left_out(every: Sequence[Player], kept: Sequence[Player]) -> str:
    """How many are not shown, and how little each of them weighs."""
    rest = len(every) - len(kept)
    if not rest:
        return "" if kept else "no feature has a weight"
    most = max(abs(p.weight) for p in strongest(every)[len(kept) :])
    return f"{rest} more, none above {number(most, 2)}"


def bar_figure(facets: Sequence[Facet], colours: Colours, columns: int, axis: str, alt: str) -> Figure:
    """Facets in a grid, on the same scale; a legend where both signs occur."""
    columns = min(columns, len(facets))
    names = room_for(bar.name for facet in facets for bar in facet.bars)
    wide = round(names) + 10 + LONG
    every = [one for facet in facets for bar in facet.bars for one in (bar.value - bar.error, bar.value + bar.error)]
    scale = axis_of(every, 0.0, LONG)
    marks: list[Mark] = []
    y = float(MARGIN)
    for start in range(0, len(facets), columns):
        line = facets[start : start + columns]
        tall, count = max(len(facet.strip) for facet in line), max(len(facet.bars) for facet in line)
        for place, facet in enumerate(line):
            x = MARGIN + place * (wide + GAP)
            here = Axis(low=scale.low, high=scale.high, left=x + names + 10, long=LONG)
            marks += strip_marks(facet.strip, here.left, y, LONG, tall)
            marks += _facet_marks(facet, here, y + tall * STRIP_LINE + 8, count, colours)
        y = bottom(marks) + 22
    across = 2 * MARGIN + columns * (wide + GAP) - GAP
    signs = {bar.value > 0 for facet in facets for bar in facet.bars if bar.value}
    marks += _legend(colours, signs, axis, across, y)
    return Figure(width=across, height=round(bottom(marks)) + MARGIN - 4, marks=tuple(marks), alt=alt)


def _facet_marks(facet: Facet, axis: Axis, y: float, count: int, colours: Colours) -> list[Mark]:
    """The bars of a facet, with room for `count` of them."""
    end = y + max(1, count) * PITCH + 4
    marks = axis.marks(y, end)
    for place, bar in enumerate(facet.bars):
        middle = y + 2 + PITCH * (place + 0.5)
        a, b = sorted((axis(0.0), axis(bar.value)))
        colour = colours.up if bar.value > 0 else colours.down
        marks.append(Box(x=a, y=middle - 9, width=max(1.0, b - a), height=18, colour=colour))
        if bar.error:
            left, right = axis(bar.value - bar.error), axis(bar.value + bar.error)
            marks.append(Box(x=left, y=middle - 0.75, width=right - left, height=1.5, colour=INK))
        marks += name_marks(bar.name, axis.left - 10, middle, 250)
    if facet.note:
        at = end + 31 if facet.bars else y + PITCH / 2 + 6
        marks.append(Text(x=axis.left, y=at, text=facet.note, size=SMALL, colour=QUIET))
    return marks


def _legend(colours: Colours, signs: set[bool], axis: str, across: float, y: float) -> list[Mark]:
    """What the length and the colours of bars mean, in the middle below all."""
    shown = [(colours.up, colours.words[0])] if True in signs else []
    shown += [(colours.down, colours.words[1])] if False in signs else []
    shown = shown if colours.words != ("", "") else []
    long = width(axis, 12) + sum(30 + width(word, 12) for _, word in shown)
    x = (across - long) / 2
    marks: list[Mark] = [Text(x=x, y=y + 11, text=axis, size=12, colour=QUIET)]
    x += width(axis, 12) + 14
    for colour, word in shown:
        marks.append(Box(x=x, y=y, width=12, height=12, colour=colour))
        marks.append(Text(x=x + 17, y=y + 11, text=word, size=12, colour=INK))
        x += 30 + width(word, 12)
    return marks
