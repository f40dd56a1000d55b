"""What counts over many cases, and in one: bars and swarms."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of
from pellucid.plots.axis import axis_of
from pellucid.plots.bars import MARGIN, Bar, Colours, Facet, bar_figure, facet_of
from pellucid.plots.names import Name, name_marks, room_for
from pellucid.plots.rows import Asked, Line, cases_of, heading, rows_of, strip
from pellucid.views.cell import LINE, QUIET, SMALL
from pellucid.views.figure import Box, Figure, Mark, Photo, Text, bottom
from pellucid.views.words import number, plain

ORANGE, PURPLE = "#e08214", "#8073ac"
LOW, HIGH, NEITHER = (30, 110, 200), (222, 45, 80), "#8a949e"
DOT, LANE, LONG = 6.0, 34.0, 460


def bar(explanations: Asked, max_display: int = 10) -> Figure:
    """The strongest features: of one case their weights, of several the mean magnitude of their weights.

    explanations  one facet for every label, and where there are several methods, of every method
    max_display   bars of a facet, at most
    Raises InputError where several cases have no features in common: superpixels belong to one picture.
    """
    _enough(max_display)
    rows = rows_of(explanations)
    methods = len({row.record.method for row in rows}) > 1
    keys = [(row.target.name[0], row.title if methods else "") for row in rows]
    grouped = [[row for row, its in zip(rows, keys, strict=True) if its == key] for key in dict.fromkeys(keys)]
    alt = f"Weights of features for {', '.join(plain(label) for label in dict.fromkeys(key[0] for key in keys))}."
    if all(len(group) == 1 for group in grouped):
        several = len(cases_of(rows)) > 1
        facets = [facet_of(one, strip(one, case=several, method=methods), max_display) for (one,) in grouped]
        colours = Colours(up=ORANGE, down=PURPLE, words=("for the label", "against it"))
        return bar_figure(facets, colours, 2, "Weight", alt)
    facets = [_mean_facet(group, max_display, methods) for group in grouped]
    return bar_figure(facets, Colours(up=ORANGE, down=PURPLE, words=("", "")), 2, "Mean magnitude of the weight", alt)


def beeswarm(explanations: Asked, max_display: int = 10) -> Figure:
    """Every case a dot in the lane of every feature: how far it moves the score, and by the colour, from which value.

    explanations  many cases under one label, with features in common: columns of a table, words
    max_display   lanes, at most
    Raises InputError for several labels or methods, one case only, or superpixels.
    """
    _enough(max_display)
    rows = rows_of(explanations)
    labels = list(dict.fromkeys(plain(row.target.name[0]) for row in rows))
    if len(labels) > 1 or len(rows) < 2:
        raise InputError(
            f"{len(cases_of(rows))} cases and the labels {', '.join(labels[:6])}",
            "many cases under one label",
            "explain with target=..., or choose: explanations.sel(target=...)",
        )
    methods = list(dict.fromkeys(row.record.method for row in rows))
    if len(methods) > 1:
        raise InputError(f"the methods {', '.join(methods)}", "one method", "choose: explanations.sel(method=...)")
    swarms = sorted(_common(rows).items(), key=lambda one: -sum(abs(p.weight) for p in one[1]))
    kept = swarms[:max_display]
    names = [Name(text=plain(name)) for name, _ in kept]
    axis = axis_of([p.weight for _, swarm in kept for p in swarm], MARGIN + room_for(names) + 16, LONG)
    across = round(axis.left + LONG + MARGIN)
    marks = heading(f"Label: {labels[0]}", f"{len(cases_of(rows))} cases", MARGIN, MARGIN, across - 2 * MARGIN)
    top = MARGIN + 34.0
    marks += axis.marks(top, top + LANE * len(kept))
    for place, (name, (_, swarm)) in enumerate(zip(names, kept, strict=True)):
        middle = top + LANE * (place + 0.5)
        marks.append(Box(x=axis.left, y=middle - 0.5, width=LONG, height=1, colour=LINE))
        marks += name_marks(name, axis.left - 16, middle, 250)
        marks += _dots([axis(p.weight) for p in swarm], _colours(swarm), middle)
    rest = f"; {len(swarms) - len(kept)} features are not shown" if len(swarms) > len(kept) else ""
    end = bottom(marks) + 22
    marks.append(Text(x=axis.left, y=end, text=f"Weight{rest}", size=SMALL, colour=QUIET))
    if any(_number(p) is not None for _, swarm in kept for p in swarm):
        marks += _low_to_high(axis.left + LONG - 190, end)
    alt = f"Weights of {len(kept)} features for {labels[0]} in {len(rows)} cases."
    return Figure(width=across, height=round(bottom(marks)) + MARGIN, marks=tuple(marks), alt=alt)


def _enough(max_display: int) -> None:
    if max_display < 1:
        raise ParameterError(f"max_display={max_display}", "1 or more")


def _common(rows: Sequence[Explanation]) -> dict[str, list[Player]]:
    """The players of many cases under their names. Raises InputError for superpixels."""
    if any(row.inputs.picture is not None for row in rows):
        raise InputError("superpixels of several pictures", "features in common, as columns are", "plot one picture")
    together: dict[str, list[Player]] = {}
    for row in rows:
        for player in players_of(row):
            together.setdefault(player.name, []).append(player)
    return together


def _mean_facet(rows: Sequence[Explanation], most: int, method: bool) -> Facet:
    means = {name: sum(abs(p.weight) for p in every) / len(rows) for name, every in _common(rows).items()}
    best = sorted(means, key=lambda name: -means[name])
    bars = [Bar(name=Name(text=plain(name)), value=means[name]) for name in best[:most]]
    rest = len(best) - len(bars)
    lines = [Line(text=rows[0].title)] if method else []
    lines += [Line(text=f"Label: {plain(rows[0].target.name[0])}"), Line(text=f"{len(rows)} cases")]
    note = f"{rest} more, none above {number(means[best[most]], 2)}" if rest else ""
    return Facet(strip=lines, bars=bars, note=note)


def _number(player: Player) -> float | None:
    """The value of a column as a number, where it is one."""
    try:
        return float(str(player.value).replace("−", "-"))
    except ValueError:
        return None


def _colours(swarm: Sequence[Player]) -> list[str]:
    """From blue for the lowest value to red for the highest, by rank; grey where values are no numbers."""
    values = [_number(player) for player in swarm]
    known = sorted({v for v in values if v is not None})
    if len(known) < 2:
        return [NEITHER] * len(values)
    rank = {v: i / (len(known) - 1) for i, v in enumerate(known)}
    return [NEITHER if v is None else _between(rank[v]) for v in values]


def _between(share: float) -> str:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(LOW, HIGH, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _dots(xs: Sequence[float], colours: Sequence[str], middle: float) -> list[Mark]:
    """Dots side by side; where they would lie on each other they move up and down, as far as the lane is high."""
    placed: list[tuple[float, float]] = []
    marks: list[Mark] = []
    most = int((LANE - DOT) / DOT)
    for i in sorted(range(len(xs)), key=lambda i: xs[i]):
        steps = [0.0, *(s * DOT * (k / 2 + 0.5) for k in range(most) for s in (1, -1))]
        free = [s for s in steps if all((xs[i] - x) ** 2 + (s - y) ** 2 >= 0.8 * DOT**2 for x, y in placed[-40:])]
        up = max(-(LANE - DOT) / 2, min((LANE - DOT) / 2, free[0] if free else steps[i % len(steps)]))
        placed.append((xs[i], up))
        dot = Box(x=xs[i] - DOT / 2, y=middle + up - DOT / 2, width=DOT, height=DOT, colour=colours[i], radius=DOT / 2)
        marks.append(dot)
    return marks


def _low_to_high(x: float, y: float) -> list[Mark]:
    """The scale of the dots' colours."""
    share = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
    low, high = torch.tensor(LOW, dtype=torch.float64), torch.tensor(HIGH, dtype=torch.float64)
    strip_ = ((1 - share) * low + share * high).round().to(torch.uint8)[None].contiguous()
    return [
        Text(x=x + 34, y=y, text="low", size=SMALL, colour=QUIET, anchor="r"),
        Photo(x=x + 40, y=y - 8, width=90, height=8, rgb=strip_),
        Text(x=x + 136, y=y, text="high value", size=SMALL, colour=QUIET),
    ]
