"""The weights of features over cases as tiles, one facet for every label."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.frame import probability_of
from pellucid.core.players import players_of
from pellucid.plots.names import Name, name_marks, name_of, room_for
from pellucid.plots.rows import STRIP, Asked, cases_of, rows_of
from pellucid.views.cell import INK, QUIET, RED, SMALL
from pellucid.views.figure import Box, Figure, Mark, Photo, Text, bottom
from pellucid.views.letters import fit, width
from pellucid.views.words import number, plain

AGAINST, NOTHING, FOR = (178, 34, 34), (247, 247, 247), (70, 130, 180)
MARGIN, PITCH, GAP, NARROWEST = 24, 32, 16, 150


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """The lines by feature: their names, and their weights by facet and case; how many lines were left out."""

    names: dict[Hashable, Name]
    weights: dict[Hashable, dict[tuple[str, str], float]]
    left_out: int


def plot_explanations(explanation: Asked, n_features: int = 20) -> Figure:
    """Which features count for which label in which case: blue for it, red against it, white where they have no weight.

    explanation  of several cases, best with features in common; below each case stand probability and fit. Several
                 methods have facets of their own
    n_features   lines, at most, those with the largest weights
    Raises InputError for what has no features, ParameterError for a number below 1.
    """
    if n_features < 1:
        raise ParameterError(f"n_features={n_features}", "1 or more")
    rows = rows_of(explanation)
    cases = cases_of(rows)
    several = len({row.record.method for row in rows}) > 1
    facets = [_facet(row, several) for row in rows]
    labels = list(dict.fromkeys(facets))
    table = _table(rows, facets, n_features)
    size = max((abs(w) for line in table.weights.values() for w in line.values()), default=0.0) or 1.0
    heads = max(width(f"Label: {plain(label)}", STRIP, "Medium") for label in labels)
    wide = max(NARROWEST, min(460.0, 84.0 * len(cases)), min(300.0, heads))
    left = MARGIN + max(room_for(table.names.values()), 90.0)
    across = round(left + MARGIN + 10 + len(labels) * (wide + GAP) - GAP)
    top = MARGIN + 24.0
    end = top + PITCH * len(table.names)
    marks: list[Mark] = []
    for line, name in enumerate(table.names.values()):
        marks += name_marks(name, left, top + PITCH * (line + 0.5), 250)
    for place, label in enumerate(labels):
        x = left + 10 + place * (wide + GAP)
        text = fit(f"Label: {plain(label)}", wide, STRIP, "Medium")
        marks.append(Text(x=x, y=MARGIN + 13, text=text, size=STRIP, colour=INK, weight="Medium"))
        marks += _tiles(table, label, cases, size, x, top, wide)
        known = {row.inputs.name[0]: row for row, its in zip(rows, facets, strict=True) if its == label}
        for column, case in enumerate(cases):
            tile = wide / len(cases)
            marks += _foot(known.get(case), case, x + tile * (column + 0.5), end, tile)
    lowest = bottom(marks)
    marks += _foot_names(rows, left, end)
    marks += _scale(size, table.left_out, across, lowest + 24)
    alt = f"Weights of {len(table.names)} features for {', '.join(map(plain, labels))} in {len(cases)} cases."
    return Figure(width=across, height=round(bottom(marks)) + MARGIN, marks=tuple(marks), alt=alt)


def _facet(row: Explanation, several: bool) -> str:
    """Which facet a row belongs to: that of its label, and where there are several methods, of its method."""
    label = row.target.name[0]
    return f"{label} ({row.title})" if several else label


def _table(rows: Sequence[Explanation], facets: Sequence[str], most: int) -> _Table:
    names: dict[Hashable, Name] = {}
    weights: dict[Hashable, dict[tuple[str, str], float]] = {}
    for row, facet in zip(rows, facets, strict=True):
        alone = row.inputs.picture is not None  # the superpixels of a picture are its own
        for player in [p for p in players_of(row) if p.weight]:
            key = (row.inputs.name[0], player.says) if alone else player.says
            names[key] = names.get(key) or name_of(row, player)
            weights.setdefault(key, {})[facet, row.inputs.name[0]] = player.weight
    order = sorted(weights, key=lambda key: -max(map(abs, weights[key].values())))
    kept = order[:most]
    return _Table(
        names={key: names[key] for key in kept},
        weights={key: weights[key] for key in kept},
        left_out=len(order) - len(kept),
    )


def _tiles(
    table: _Table, label: str, cases: Sequence[str], size: float, x: float, top: float, wide: float
) -> list[Mark]:
    high, tile = PITCH * len(table.names), wide / len(cases)
    marks: list[Mark] = [
        Box(x=x - 1, y=top - 1, width=wide + 2, height=high + 2, colour="#b9c1c9"),
        Box(x=x, y=top, width=wide, height=high, colour="#ffffff"),
    ]
    for line, weights in enumerate(table.weights.values()):
        for column, case in enumerate(cases):
            weight = weights.get((label, case))
            if weight is not None:
                colour = "#{:02x}{:02x}{:02x}".format(*_colours(torch.tensor([weight / size]))[0].tolist())
                at = x + column * tile
                marks.append(Box(x=at, y=top + PITCH * line, width=tile, height=PITCH, colour=colour))
    return marks


def _colours(share: Tensor) -> Tensor:
    """−1 … 1 to uint8 [..., 3]: red over a light grey to blue."""
    ends = torch.tensor([AGAINST, NOTHING, FOR], dtype=torch.float64)
    part = share.double().clamp(-1, 1)[..., None]
    mixed = ends[1] + part.clamp(min=0) * (ends[2] - ends[1]) - part.clamp(max=0) * (ends[0] - ends[1])
    return mixed.round().to(torch.uint8)


def _foot(row: Explanation | None, case: str, x: float, y: float, room: float) -> list[Mark]:
    """Below a case: its name, the label's probability, and the fit; red where that failed its check."""
    name = fit(plain(case), room - 8, SMALL)
    marks: list[Mark] = [Text(x=x, y=y + 17, text=name, size=SMALL, colour=INK, anchor="m")]
    if row is None:
        return marks
    chance, r2 = probability_of(row), row.check("r2")
    said = number(row.target.score[0] if chance is None else chance, 2)
    marks.append(Text(x=x, y=y + 34, text=fit(said, room - 4, SMALL), size=SMALL, colour=QUIET, anchor="m"))
    if r2 is not None:
        text = f"{r2.value[0]:.2f}".replace("-", "−")
        ink = QUIET if r2.passed[0] else RED
        marks.append(Text(x=x, y=y + 51, text=text, size=SMALL, colour=ink, anchor="m"))
    return marks


def _foot_names(rows: Sequence[Explanation], right: float, y: float) -> list[Mark]:
    score = "Probability" if any(probability_of(row) is not None for row in rows) else "Score"
    said = ["Case", score, *(["Explanation fit"] if any(row.check("r2") for row in rows) else [])]
    return [
        Text(x=right, y=y + 17 + 17 * i, text=text, size=SMALL, colour=QUIET, anchor="r") for i, text in enumerate(said)
    ]


def _scale(size: float, left_out: int, across: float, y: float) -> list[Mark]:
    """What the colours mean, and how many lines are not there."""
    marks: list[Mark] = []
    if left_out:
        said = f"{left_out} weaker features are not shown"
        marks.append(Text(x=across - MARGIN, y=y + 6, text=said, size=SMALL, colour=QUIET, anchor="r"))
        y += 22
    long = min(240.0, across - 2 * MARGIN - 100)
    x = across - MARGIN - long
    rgb = _colours(torch.linspace(-1, 1, 256, dtype=torch.float64))[None].contiguous()
    end = number(size, 2)
    return [
        *marks,
        Text(x=x - 10, y=y + 9, text="Feature weight", size=SMALL, colour=QUIET, anchor="r"),
        Photo(x=x, y=y, width=long, height=9, rgb=rgb),
        Text(x=x, y=y + 23, text=f"−{end}", size=SMALL, colour=QUIET),
        Text(x=x + long / 2, y=y + 23, text="0", size=SMALL, colour=QUIET, anchor="m"),
        Text(x=x + long, y=y + 23, text=end, size=SMALL, colour=QUIET, anchor="r"),
    ]
