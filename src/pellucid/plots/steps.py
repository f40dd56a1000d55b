"""How the score comes about step by step: waterfalls and forces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of, strongest
from pellucid.plots.axis import ZERO, Axis, axis_of
from pellucid.plots.bars import MARGIN, PITCH
from pellucid.plots.names import TEXT, THUMB, Name, name_marks, name_of, room_for, thumb_marks
from pellucid.plots.rows import Asked, heading, only, strip
from pellucid.plots.summary import ORANGE, PURPLE
from pellucid.views.cell import INK, LINE, QUIET, SMALL
from pellucid.views.figure import Box, Figure, Mark, Shape, Text, bottom
from pellucid.views.letters import fit, width
from pellucid.views.words import number, plain

LONG, FORCE = 420, 820
HEAD = 7.0
LINES = 4
"""Lines of names below a force plot, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """Part of the way from the start to the end."""

    name: Name
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """From a number, by steps, to another. `start_is` and `end_is` say what the two are."""

    start: float
    end: float
    start_is: str
    end_is: str
    steps: Sequence[Step]


def waterfall(explanation: Asked, max_display: int = 10) -> Figure:
    """How the weights lead from the start (below) to the score (above), the strongest last.

    explanation  of one case under one label
    max_display  steps, at most; the last of them is the sum of all others
    Raises InputError for several rows or what has no features.
    """
    row = only(explanation, "a waterfall")
    way = way_of(row, max_display)
    places = [way.start]
    for step in way.steps:
        places.append(places[-1] + step.weight)
    axis = axis_of(places, MARGIN + room_for(step.name for step in way.steps) + 16, LONG, zero=False)
    across = round(axis.left + LONG + 70)
    marks = _title(row, across)
    top = bottom(marks) + 40
    end = top + PITCH * len(way.steps) + 4
    marks += axis.marks(top, end, zero=False, free=[way.start])
    marks += _level(axis(places[-1]), top - 8, top + PITCH + 2, f"{way.end_is} {number(way.end)}", top - 14, across)
    marks += _level(axis(way.start), end - PITCH - 6, end + 24, f"{way.start_is} {number(way.start)}", end + 37, across)
    for place, step in enumerate(way.steps):
        middle = end - 4 - PITCH * (place + 0.5) + 2
        marks += _arrow(axis(places[place]), axis(places[place + 1]), middle - 10, 20.0, step.weight)
        marks += _said(step, axis(places[place]), axis(places[place + 1]), middle)
        marks += name_marks(step.name, axis.left - 16, middle, 250)
        if place:
            marks.append(Box(x=axis(places[place]) - 0.5, y=middle + 10, width=1, height=PITCH - 20, colour=ZERO))
    return Figure(width=across, height=round(end + 37) + MARGIN, marks=tuple(marks), alt=_alt(row, way))


def force(explanation: Asked, max_display: int = 8) -> Figure:
    """What pushes the score up from the left, and what pushes it down from the right; they meet at the score.

    explanation  of one case under one label
    max_display  features whose names are written, the strongest ones; all have their place
    Raises InputError for several rows or what has no features.
    """
    row = only(explanation, "a force plot")
    way = way_of(row, 10**6)
    order = sorted(way.steps, key=lambda step: -abs(step.weight))
    up, down = ([s for s in order if s.weight * sign > 0] for sign in (1, -1))
    ends = [way.end - sum(s.weight for s in up), way.end - sum(s.weight for s in down), way.end, way.start]
    axis = axis_of(ends, float(MARGIN), FORCE, zero=False)
    across = FORCE + 2 * MARGIN
    marks = _title(row, across)
    top = bottom(marks) + 70
    marks += _ruler(axis, top - 14, (way.start, way.end))
    middles: list[tuple[Step, float]] = []
    for steps, sign in ((up, 1), (down, -1)):
        at = way.end
        for step in steps:
            before = at - step.weight
            marks += _arrow(axis(before), axis(at), top, 34.0, step.weight, gap=True)
            middles.append((step, (axis(before) + axis(at)) / 2 - sign * HEAD / 2))
            at = before
    named = sorted(middles, key=lambda one: -abs(one[0].weight))[:max_display]
    marks += _named(named, top + 34, across)
    said = [f"{way.start_is} {number(way.start)}", f"{way.end_is} {number(way.end)}"]
    levels = [axis(way.start), axis(way.end)]
    for x, text, middle in zip(levels, said, _apart(levels, said, across), strict=True):
        marks += _level(x, top - 36, top + 40, text, top - 42, across, middle)
    return Figure(width=across, height=round(bottom(marks)) + MARGIN, marks=tuple(marks), alt=_alt(row, way))


def way_of(row: Explanation, most: int) -> Way:
    """From the start to the score, weakest steps first, at most `most` of them.

    A local model leads from its intercept to its prediction. Values that add up to the score lead there from that of
    nothing shown; of others the start is what they leave.
    """
    if most < 2:
        raise ParameterError(f"max_display={most}", "2 or more")
    players = [player for player in players_of(row) if player.weight]
    total = sum(player.weight for player in players)
    steps = _steps(row, players, most)
    intercept = row.extras.get("intercept")
    if intercept is not None and intercept.ndim == 1:
        start = float(intercept[0])
        return Way(start=start, end=start + total, start_is="intercept", end_is="linear model", steps=steps)
    end, output = row.target.score[0], row.target.output.replace("_", " ")
    start_is = "nothing shown" if row.check("efficiency") is not None else "without these"
    return Way(start=end - total, end=end, start_is=start_is, end_is=output, steps=steps)


def _steps(row: Explanation, players: Sequence[Player], most: int) -> list[Step]:
    kept = strongest(players, most if len(players) <= most else most - 1)
    rest = strongest(players)[len(kept) :]
    steps = [Step(name=name_of(row, p), weight=p.weight) for p in reversed(kept)]
    others = Step(name=Name(text=f"{len(rest)} others"), weight=sum(p.weight for p in rest))
    return [others, *steps] if rest else steps


# -- parts -------------------------------------------------------------------------------------------------------


def _title(row: Explanation, across: float) -> list[Mark]:
    lines = strip(row)
    detail = " · ".join([line.text for line in lines[1:]] + [row.title, plain(row.inputs.name[0])])
    return heading(lines[0].text, detail, MARGIN, MARGIN, across - 2 * MARGIN)


def _arrow(a: float, b: float, y: float, high: float, weight: float, gap: bool = False) -> list[Mark]:
    """A bar from a to b with a head at b; gap: with a notch behind, so that it fits on another's head."""
    way = 1 if b >= a else -1
    colour = ORANGE if weight > 0 else PURPLE
    long = abs(b - a)
    if long < 1:
        return [Box(x=min(a, b), y=y, width=max(0.75, long), height=high, colour=colour)]
    head = min(HEAD, long)
    if gap:
        b -= way * min(1.0, long / 3)
        tail: tuple[tuple[float, float], ...] = ((a - way * HEAD, y + high), (a, y + high / 2), (a - way * HEAD, y))
        return [
            Shape(points=((b - way * HEAD, y), (b, y + high / 2), (b - way * HEAD, y + high), *tail), colour=colour)
        ]
    neck = b - way * head
    return [Shape(points=((a, y), (neck, y), (b, y + high / 2), (neck, y + high), (a, y + high)), colour=colour)]


def _said(step: Step, a: float, b: float, middle: float) -> list[Mark]:
    """The weight inside its arrow, or beside it where there is no room."""
    said = number(step.weight, 2)
    said = f"+{said}" if step.weight > 0 else said
    if width(said, SMALL, "Medium") + 16 <= abs(b - a):
        at = (a + b) / 2 - (3 if b > a else -3)
        return [Text(x=at, y=middle + 4, text=said, size=SMALL, colour="#ffffff", weight="Medium", anchor="m")]
    ink = "#a85c00" if step.weight > 0 else "#5e4a94"
    return [Text(x=max(a, b) + 6, y=middle + 4, text=said, size=SMALL, colour=ink, weight="Medium")]


def _ruler(axis: Axis, y: float, taken: Sequence[float]) -> list[Mark]:
    """An axis above the arrows; numbers that would lie on a level are left out."""
    marks: list[Mark] = [Box(x=axis.left, y=y, width=axis.long, height=1, colour=LINE)]
    for tick in axis.ticks:
        marks.append(Box(x=axis(tick) - 0.5, y=y - 6, width=1, height=6, colour=LINE))
        said = number(round(tick, 12))
        if all(abs(axis(tick) - axis(level)) > width(said, SMALL) / 2 + 5 for level in taken):
            marks.append(Text(x=axis(tick), y=y - 10, text=said, size=SMALL, colour=QUIET, anchor="m"))
    return marks


def _apart(xs: Sequence[float], said: Sequence[str], across: float) -> list[float]:
    """The middles of two texts that belong to two places, side by side where they would touch."""
    half = [width(text, TEXT, "Medium") / 2 for text in said]
    at = [min(max(x, MARGIN + h), across - MARGIN - h) for x, h in zip(xs, half, strict=True)]
    left, right = (0, 1) if xs[0] <= xs[1] else (1, 0)
    push = max(0.0, at[left] + half[left] + 16 - (at[right] - half[right]))
    at[left] = max(MARGIN + half[left], at[left] - push)
    at[right] = max(at[right], at[left] + half[left] + 16 + half[right])
    return at


def _level(
    x: float, top: float, end: float, said: str, y: float, across: float, middle: float | None = None
) -> list[Mark]:
    """A vertical line with words at y, in the middle of the line or at `middle`, kept inside the figure."""
    half = width(said, TEXT, "Medium") / 2
    at = min(max(x if middle is None else middle, MARGIN + half), across - MARGIN - half)
    return [
        Box(x=x - 0.75, y=top, width=1.5, height=end - top, colour=INK),
        Text(x=at, y=y, text=said, size=TEXT, colour=INK, weight="Medium", anchor="m"),
    ]


def _named(named: Sequence[tuple[Step, float]], y: float, across: float) -> list[Mark]:
    """Names below the arrows, in lines so that none touch; what finds no room is left out."""
    marks: list[Mark] = []
    taken: list[list[tuple[float, float]]] = [[] for _ in range(LINES)]
    threads: list[tuple[float, int]] = []
    for step, x in named:
        said = "" if step.name.thumb is not None else fit(step.name.text, 200, SMALL)
        value = f"+{number(step.weight, 2)}" if step.weight > 0 else number(step.weight, 2)
        wide = max(THUMB if step.name.thumb is not None else width(said, SMALL), width(value, SMALL)) + 10
        left = min(max(x - wide / 2, MARGIN), across - MARGIN - wide)
        free = next((i for i in range(LINES) if _fits(i, x, (left, left + wide), taken, threads)), None)
        if free is None:
            continue
        threads.append((x, free))
        taken[free].append((left, left + wide))
        marks += _name_below(step, said, value, x, left + wide / 2, y, 14.0 + free * 48.0)
    return marks


def _fits(
    line: int,
    x: float,
    ends: tuple[float, float],
    taken: list[list[tuple[float, float]]],
    threads: list[tuple[float, int]],
) -> bool:
    """Whether a name on a line touches no other, and neither its thread nor those of others cross a name."""
    beside = all(ends[0] >= b or ends[1] <= a for a, b in taken[line])
    thread = any(a < x < b for above in taken[:line] for a, b in above)
    return beside and not thread and not any(ends[0] < at < ends[1] for at, below in threads if below > line)


def _name_below(step: Step, said: str, value: str, x: float, middle: float, y: float, down: float) -> list[Mark]:
    ink = "#a85c00" if step.weight > 0 else "#5e4a94"
    marks: list[Mark] = [Box(x=x - 0.5, y=y + 2, width=1, height=down - 4, colour=ZERO)]
    if step.name.thumb is not None:
        marks += thumb_marks(step.name.thumb, middle - THUMB / 2, y + down)
    else:
        marks.append(Text(x=middle, y=y + down + 12, text=said, size=SMALL, colour=INK, anchor="m"))
    under = y + down + (THUMB + 12 if step.name.thumb is not None else 26)
    return [*marks, Text(x=middle, y=under, text=value, size=SMALL, colour=ink, weight="Medium", anchor="m")]


def _alt(row: Explanation, way: Way) -> str:
    best = sorted(way.steps, key=lambda step: -abs(step.weight))[:3]
    return (
        f"{plain(row.title)} for ‘{plain(row.target.name[0])}’: from {way.start_is} {number(way.start)} to "
        f"{way.end_is} {number(way.end)}; strongest: "
        + ", ".join(f"{step.name.text} ({number(step.weight, 2)})" for step in best)
        + "."
    )
