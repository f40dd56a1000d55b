"""Faithfulness against cost: every method of a scorecard as a point, the controls as lines to be beaten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from pellucid.core.scorecard import Line, Scorecard, many
from pellucid.views.cell import INK, LINE, QUIET, RED, SMALL
from pellucid.views.figure import Box, Figure, Mark, Shape, Text
from pellucid.views.letters import width
from pellucid.views.words import plain

WIDE, HIGH = 640, 380
LEFT, TOP, RIGHT, BOTTOM = 76, 78, 150, 64
GOOD, SOFT = "#1f5687", "#8fb0cd"
DOT = 5.0


def pareto(card: Scorecard, *, title: bool = True) -> Figure:
    """Mean rank over cost in model rows, on a logarithmic axis; nothing is both cheaper and better than the line.

    title  False where a heading stands above it already
    Filled points may be recommended, red crosses failed a sanity test; dashes are maps that know nothing of the model.
    """
    points = [one for one in card.lines if not one.control and not math.isnan(one.score) and one.rows > 0]
    controls = [one for one in card.lines if one.control and not math.isnan(one.score)]
    across, down = _cost(points), _score(card, [*points, *controls])
    marks: list[Mark] = [Text(x=LEFT - 52, y=50 if title else 34, text=_under(card), size=SMALL, colour=QUIET)]
    if title:
        marks.append(Text(x=LEFT - 52, y=30, text="Faithfulness against cost", size=15, colour=INK, weight="Medium"))
    marks += _frame(across, down, points, [*points, *controls], card.what)
    for one in controls:
        marks += _control(one, down(one.score), controls, down)
    marks += _front(points, across, down)
    taken: list[tuple[float, float, float, float]] = [
        (across(o.rows) - DOT, down(o.score) - DOT, across(o.rows) + DOT, down(o.score) + DOT) for o in points
    ] + [(LEFT, down(o.score) - 1, LEFT + WIDE, down(o.score) + 1) for o in controls]
    for one in sorted(points, key=lambda o: o.method != card.advice.method):  # the chosen one's name stands beside it
        marks += _point(card, one, across(one.rows), down(one.score), taken)
    return Figure(width=LEFT + WIDE + RIGHT, height=TOP + HIGH + BOTTOM, marks=tuple(marks), alt=_alt(card, points))


def front(lines: Sequence[Line]) -> list[Line]:
    """The candidates that no other one beats in both, the cheapest first."""
    known = (one for one in lines if one.candidate and not math.isnan(one.score) and one.rows > 0)
    found: list[Line] = []
    for one in sorted(known, key=lambda o: (o.rows, o.score)):
        if not found or one.score < found[-1].score:
            found.append(one)
    return found


class _cost:  # noqa: N801 - read as a function
    """Rows per photo → x, logarithmic."""

    def __init__(self, points: Sequence[Line]) -> None:
        rows = [one.rows for one in points] or [1.0]
        self.low, self.high = math.log10(min(rows)) - 0.12, math.log10(max(rows)) + 0.25

    def __call__(self, rows: float) -> float:
        return LEFT + 12 + (math.log10(rows) - self.low) / (self.high - self.low) * (WIDE - 24)

    @property
    def ticks(self) -> list[float]:
        every = [m * 10.0**k for k in range(math.floor(self.low), math.ceil(self.high) + 1) for m in (1, 2, 5)]
        return [t for t in every if self.low <= math.log10(t) <= self.high]


class _score:  # noqa: N801 - read as a function
    """Mean rank → y, the best on top."""

    def __init__(self, card: Scorecard, lines: Sequence[Line]) -> None:
        scores = [one.score for one in lines] or [1.0]
        self.low, self.high = max(1.0, math.floor(min(scores))), math.ceil(max(scores) + 0.2)

    def __call__(self, score: float) -> float:
        return TOP + 14 + (score - self.low) / max(1e-9, self.high - self.low) * (HIGH - 28)

    @property
    def ticks(self) -> list[int]:
        step = 2 if self.high - self.low > 7 else 1
        return list(range(int(self.low), int(self.high) + 1, step))


def _frame(across: _cost, down: _score, points: Sequence[Line], lines: Sequence[Line], what: str) -> list[Mark]:
    marks: list[Mark] = []
    for tick in across.ticks:
        x = across(tick)
        marks.append(Box(x=x - 0.5, y=TOP, width=1, height=HIGH, colour=LINE))
        marks.append(Text(x=x, y=TOP + HIGH + 18, text=f"{tick:g}", size=SMALL, colour=QUIET, anchor="m"))
    for tick in down.ticks:
        y = down(tick)
        marks.append(Box(x=LEFT, y=y - 0.5, width=WIDE, height=1, colour=LINE))
        marks.append(Text(x=LEFT - 8, y=y + 4, text=f"{tick}", size=SMALL, colour=QUIET, anchor="r"))
    marks.append(
        Text(
            x=LEFT + WIDE / 2,
            y=TOP + HIGH + 42,
            text=f"model rows per {what}, forward and backward (cheaper to the left)",
            size=12,
            colour=QUIET,
            anchor="m",
        )
    )
    marks.append(Text(x=LEFT - 52, y=TOP - 8, text="mean rank, 1 is best", size=12, colour=QUIET))
    return marks


def _control(one: Line, y: float, controls: Sequence[Line], down: _score) -> list[Mark]:
    """A dashed line with its name on the right; names that would touch are moved apart."""
    dashes: list[Mark] = [
        Box(x=LEFT + 12 * k, y=y - 0.5, width=7, height=1, colour=QUIET) for k in range(math.ceil(WIDE / 12))
    ]
    places = _apart(sorted(down(c.score) for c in controls), 15.0)
    order = sorted(range(len(controls)), key=lambda i: down(controls[i].score))
    at = places[[controls[i] for i in order].index(one)]
    return [*dashes, Text(x=LEFT + WIDE + 8, y=at + 4, text=plain(one.title).lower(), size=SMALL, colour=QUIET)]


def _apart(ys: Sequence[float], least: float) -> list[float]:
    out: list[float] = []
    for y in ys:
        out.append(max(y, out[-1] + least) if out else y)
    return out


def _front(points: Sequence[Line], across: _cost, down: _score) -> list[Mark]:
    """Steps through the candidates that nothing beats in both."""
    marks: list[Mark] = []
    for a, b in pairwise(front(points)):
        x0, x1, y0, y1 = across(a.rows), across(b.rows), down(a.score), down(b.score)
        marks.append(Box(x=x0, y=y0 - 1, width=x1 - x0, height=2, colour=SOFT))
        marks.append(Box(x=x1 - 1, y=y1, width=2, height=y0 - y1, colour=SOFT))
    return marks


def _point(
    card: Scorecard, one: Line, x: float, y: float, taken: list[tuple[float, float, float, float]]
) -> list[Mark]:
    chosen = one.method == card.advice.method
    marks: list[Mark] = [_disc(x, y, DOT + 4, GOOD), _disc(x, y, DOT + 2, "#ffffff")] if chosen else []
    marks += [_disc(x, y, DOT, GOOD)] if one.candidate else _cross(x, y)
    name, weight = plain(one.title), "Medium" if chosen else "Regular"
    wide = width(name, 12, weight)
    for left, base in _places(x, y, wide):
        box = (left, base - 11, left + wide, base + 3)
        inside = left >= LEFT and box[2] <= LEFT + WIDE + 4 and box[1] >= TOP - 4 and box[3] <= TOP + HIGH
        if inside and not any(_touch(box, other) for other in taken):
            break
    else:
        left, base = x + DOT + 5, y + 4
        box = (left, base - 11, left + wide, base + 3)
    taken.append(box)
    marks.append(Text(x=left, y=base, text=name, size=12, colour=RED if not one.candidate else INK, weight=weight))
    return marks


def _places(x: float, y: float, wide: float) -> list[tuple[float, float]]:
    """Where a name may stand beside its point: right, left, above, below, then further off."""
    near = [(x + 10, y + 4), (x - 10 - wide, y + 4), (x - wide / 2, y - 11), (x - wide / 2, y + 20)]
    off = [(x + 10, y - 9), (x + 10, y + 17), (x - 10 - wide, y - 9), (x - 10 - wide, y + 17)]
    return [*near, *off, (x + 10, y - 22), (x + 10, y + 30), (x - 10 - wide, y - 22), (x - 10 - wide, y + 30)]


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] + 2 and b[0] < a[2] + 2 and a[1] < b[3] + 1 and b[1] < a[3] + 1


def _disc(x: float, y: float, radius: float, colour: str) -> Mark:
    return Box(x=x - radius, y=y - radius, width=2 * radius, height=2 * radius, colour=colour, radius=radius)


def _cross(x: float, y: float) -> list[Mark]:
    a, b = 5.0, 1.3
    return [
        Shape(points=((x - a, y - a + b), (x - a + b, y - a), (x + a, y + a - b), (x + a - b, y + a)), colour=RED),
        Shape(points=((x + a, y - a + b), (x + a - b, y - a), (x - a, y + a - b), (x - a + b, y + a)), colour=RED),
    ]


def _under(card: Scorecard) -> str:
    decide = " and ".join(c.title.lower() for c in card.columns if c.decides)
    said = f"{plain(card.model.name)}, {many(len(card.photos), card.what)}; ranks by {decide}"
    return said + ("; × failed a sanity test" if any(o.failed and not o.candidate for o in card.lines) else "")


def _alt(card: Scorecard, points: Sequence[Line]) -> str:
    said = "; ".join(f"{o.title}: mean rank {o.score:.1f} at {o.rows:.0f} rows per {card.what}" for o in points)
    return f"Mean rank against cost. {said}."
