"""Explanations with known weights, and what holds for every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
from tests.unit.views.planted import planted

from pellucid.core.explanation import Check, Chosen, Explanation, Inputs
from pellucid.plots.axis import ZERO
from pellucid.views.figure import Box, Figure, Shape, Text
from pellucid.views.letters import width

SIDE = 24


def fit(value: float) -> Check:
    return Check(name="r2", value=(value,), passed=(value >= 0.5,), limit=0.5)


def chosen(label: str, score: float) -> Chosen:
    return Chosen(index=(281,), name=(label,), score=(score,), output="probability", asked="Top(1)")


def picture(
    weights: Sequence[float], label: str = "tabby", name: str = "cat.png", r2: float = 0.7, score: float = 0.4
) -> Explanation:
    """A picture of nine square superpixels."""
    line = torch.arange(SIDE) // (SIDE // 3)
    regions = line[:, None] * 3 + line
    players = torch.tensor([list(weights)])
    e = planted(players[0][regions][None], side=SIDE, names=[name], checks=(fit(r2),))
    more = {"intercept": torch.tensor([score - sum(weights)]), "prediction": torch.tensor([score])}
    return replace(e, target=chosen(label, score), extras={"players": players, "regions": regions[None], **more})


def line(
    weights: Sequence[float],
    cells: Sequence[str] | None = None,
    label: str = "yes",
    name: str = "row 1",
    features: Sequence[str] | None = None,
) -> Explanation:
    """A row of a table."""
    e = planted(torch.zeros(1, 4, 4), pictures=False, checks=(fit(0.3),))
    inputs = Inputs(
        name=(name,),
        picture=None,
        shape=(len(weights),),
        features=tuple(features or (f"feature {i}" for i in range(len(weights)))),
        cells=(tuple(cells or ("1",) * len(weights)),),
    )
    values = torch.tensor([list(weights)])
    return replace(e, values=values, dims=("batch", "feature"), inputs=inputs, target=chosen(label, 0.9))


def said(figure: Figure) -> list[str]:
    return [mark.text for mark in figure.marks if isinstance(mark, Text)]


def check_layout(figure: Figure) -> None:
    """Nothing leaves the figure, no two texts touch, and it can be written."""
    boxes = []
    for mark in figure.marks:
        if isinstance(mark, Text):
            wide = width(mark.text, mark.size, mark.weight)
            left = mark.x - {"l": 0.0, "m": wide / 2, "r": wide}[mark.anchor]
            boxes.append((left, mark.y - 0.75 * mark.size, left + wide, mark.y + 0.2 * mark.size, mark.text))
            assert left >= 0 and left + wide <= figure.width and 0 < mark.y < figure.height, mark
        elif isinstance(mark, Shape):
            assert all(0 <= x <= figure.width and 0 <= y <= figure.height for x, y in mark.points)
        else:
            assert mark.x >= -1 and mark.y >= -1, mark
            assert mark.x + mark.width <= figure.width + 1 and mark.y + mark.height <= figure.height + 1, mark
    for mark in figure.marks:  # threads from arrows to names cross no words
        if isinstance(mark, Box) and mark.width == 1 and mark.colour == ZERO and mark.height > 60:
            assert not any(a <= mark.x <= c and mark.y < b < mark.y + mark.height - 4 for a, b, c, _, _ in boxes), mark
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    assert figure.svg().startswith("<svg") and figure.alt
    assert figure.image().size == (figure.width * figure.density, figure.height * figure.density)
