"""Counterfactuals of a table: rows nearby of which the model says something else.

The search is a generator: it yields rows and is sent margins, above zero where the model says what is wanted. It
needs no slope of the model: steps of trees are found by looking, flat sides by differences.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from pellucid.core.points import generator
from pellucid.studies.space import Space, nearest_of_line

T = TypeVar("T")
Steps = Generator[Tensor, Tensor, T]
"""Yields rows [rows, columns], is sent margins [rows], returns."""

STARTS = 3
"""Rows that are brought nearer, of those that were found first."""
ROUNDS = 6
"""Times that a row is brought nearer, at most."""
PARTS = torch.linspace(0, 1, 9, dtype=torch.float64)[1:-1]
STEPS = torch.tensor([0.25, 0.5, 1, 2, 4, 8], dtype=torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A row that the model says what is wanted of, [columns], how far it is, and the margin there."""

    row: Tensor
    distance: float
    margin: float


def search(space: Space, count: int, budget: int, seed: int, data: Tensor | None = None) -> Steps[list[Found]]:
    """Up to `count` rows of which the model says what is wanted, near and with few columns changed; the nearest first.

    Every further one does without the column that changed most in one found before, so that they differ.

    budget  rows that may be asked about
    data    rows that may serve as starts, [rows, columns]
    """
    found: list[Found] = []
    waiting = [torch.zeros_like(space.free)]
    tried: set[tuple[bool, ...]] = set()
    purse = _Purse(budget)
    while waiting and len(found) < count and purse.left > 0:
        stay = waiting.pop(0)
        if tuple(stay.tolist()) in tried:
            continue
        tried.add(tuple(stay.tolist()))
        purse.open(max(1, purse.left // (count - len(found))))
        one = yield from _nearest(space.without(stay), purse, seed, data)
        if one is None:
            continue
        if not any(torch.equal(space.changed(one.row[None]), space.changed(other.row[None])) for other in found):
            found.append(one)
        waiting += [stay | (torch.arange(len(stay)) == column) for column in _by_size(space, one.row)]
    return sorted(found, key=lambda one: one.distance)


def _by_size(space: Space, row: Tensor) -> list[int]:
    """The columns that changed, the one that went farthest first."""
    far = torch.where(space.coded, 1.0, (row - space.x).abs() / space.scale)
    far = torch.where(space.changed(row[None])[0], far, 0.0)
    return [j for j in far.argsort(descending=True, stable=True).tolist() if far[j] > 0]


class _Purse:
    """How many rows may still be asked about, in all and for the counterfactual at hand."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.here = budget

    def open(self, here: int) -> None:
        self.here = min(here, self.left)

    def ask(self, space: Space, rows: Tensor) -> Steps[list[Found]]:
        """Of allowed rows near to those given, as many as can be paid for: those that succeed, nearest first."""
        rows, margin = yield from self.margins(space, rows)
        far = space.distance(rows)
        order = torch.where(margin > 0, far, torch.inf).argsort(stable=True)
        hits = order[: int((margin > 0).sum())].tolist()
        return [Found(row=rows[i], distance=float(far[i]), margin=float(margin[i])) for i in hits]

    def margins(self, space: Space, rows: Tensor) -> Steps[tuple[Tensor, Tensor]]:
        rows = torch.unique(space.snap(rows), dim=0)[: self.here]
        if not len(rows):
            return rows, torch.zeros(0, dtype=torch.float64)
        self.left, self.here = self.left - len(rows), self.here - len(rows)
        margin = yield rows
        return rows, margin.double()


def _nearest(space: Space, purse: _Purse, seed: int, data: Tensor | None) -> Steps[Found | None]:
    """Starts by looking along every column, at known rows, and in growing surroundings; then brings them nearer."""
    if not bool(space.free.any()):
        return None
    starts = yield from purse.ask(space, _along(space))
    if data is not None:
        known = torch.where(space.free, data, space.x)
        order = space.distance(space.snap(known)).argsort(stable=True)[: max(16, purse.here // 4)]
        starts += yield from purse.ask(space, known[order])
    draw = generator(seed, "counterfactual", len(space.x))
    for reach in STEPS:
        if starts or purse.here <= 0:
            break
        starts = yield from purse.ask(space, _around(space, float(reach), 128, draw))
    best = None
    for start in _apart(space, sorted(starts, key=lambda one: one.distance)):
        one = yield from _refined(space, start, purse)
        best = one if best is None or one.distance < best.distance else best
    return best


def _apart(space: Space, found: list[Found]) -> list[Found]:
    """The nearest few that change different columns."""
    kept: dict[tuple[bool, ...], Found] = {}
    for one in found:
        kept.setdefault(tuple(space.changed(one.row[None])[0].tolist()), one)
    return list(kept.values())[:STARTS]


def _along(space: Space) -> Tensor:
    """x with one column somewhere else: some steps up and down and the ends of a number, every category."""
    made: list[Tensor] = []
    for j in space.free.nonzero().flatten().tolist():
        low, high = space.low[j], space.high[j]
        if bool(space.coded[j]):
            values = torch.arange(int(low), int(high) + 1).double()
        else:
            steps = torch.cat([-STEPS, STEPS]) * space.scale[j]
            values = torch.cat([space.x[j] + steps, torch.stack([low, high])])
        values = values[values.isfinite()]
        rows = space.x.repeat(len(values), 1)
        rows[:, j] = values
        made.append(rows)
    return torch.cat(made)


def _around(space: Space, reach: float, count: int, draw: torch.Generator) -> Tensor:
    """Random rows with any number of columns changed, numbers by up to `reach` scales."""
    free, columns = space.free, len(space.x)
    many = torch.randint(1, int(free.sum()) + 1, (count, 1), generator=draw)
    rank = torch.where(free, torch.rand(count, columns, generator=draw), 2.0).argsort(1).argsort(1)
    step = (2 * torch.rand(count, columns, generator=draw, dtype=torch.float64) - 1) * reach * space.scale
    low, high = space.low.nan_to_num(), space.high.nan_to_num()
    other = low + (high - low) * torch.rand(count, columns, generator=draw, dtype=torch.float64)
    moved = torch.where(space.coded, other, space.x + step)
    return torch.where((rank < many) & free, moved, space.x)


# -- nearer ------------------------------------------------------------------------------------------------------


def _refined(space: Space, one: Found, purse: _Purse) -> Steps[Found]:
    """Bring a row nearer, and fewer columns of it away from x, until that helps no more."""
    for _ in range(ROUNDS):
        before = one.distance
        one = yield from _fewer(space, one, purse)
        one = yield from _closer(space, one, purse)
        one = yield from _over_the_line(space, one, purse)
        if purse.here <= 0 or one.distance > before * (1 - 1e-4):
            break
    return (yield from _fewer(space, one, purse))


def _fewer(space: Space, one: Found, purse: _Purse) -> Steps[Found]:
    """Take columns back, one at a time, while the model goes on saying what is wanted."""
    while True:
        columns = space.changed(one.row[None])[0].nonzero().flatten()
        if len(columns) < 2:
            return one
        rows = one.row.repeat(len(columns), 1)
        rows[torch.arange(len(columns)), columns] = space.x[columns]
        better = yield from purse.ask(space, rows)
        if not better:
            return one
        one = better[0]


def _closer(space: Space, one: Found, purse: _Purse) -> Steps[Found]:
    """Towards x: all columns together, then every one by itself, by eighths of what remains."""
    together = space.changed(one.row[None])[0]
    alone = [torch.arange(len(together)) == j for j in _by_size(space, one.row)]
    for columns in [together, *(alone if len(alone) > 1 else [])]:
        columns = columns & ~space.coded
        near = space.x
        for _ in range(4):
            if not bool(columns.any()):
                break
            far = one.row
            rows = torch.where(columns, near + PARTS[:, None] * (far - near), far)
            better = yield from purse.ask(space, rows)
            step = (far - near) / (len(PARTS) + 1)
            if better and better[0].distance < one.distance:
                one = better[0]
            near = torch.where(columns, one.row - step, one.row)
    return one


def _over_the_line(space: Space, one: Found, purse: _Purse) -> Steps[Found]:
    """Where the margin is smooth: the nearest row by its slope, which differences around the row give."""
    columns = (space.free & ~space.coded).nonzero().flatten()
    if not len(columns) or purse.here < 3 * len(columns):
        return one
    h = torch.where(space.whole, space.scale.ceil(), 0.01 * space.scale)[columns]
    high = one.row.repeat(len(columns), 1)
    low = high.clone()
    at = torch.arange(len(columns))
    high[at, columns] = (one.row[columns] + h).minimum(space.high[columns])
    low[at, columns] = (one.row[columns] - h).maximum(space.low[columns])
    rows, margin = yield from purse.margins(space, torch.cat([high, low]))
    slope = _slope(space, one, rows, margin)
    if not bool(slope.any()):
        return one
    line = nearest_of_line(space, one.row, one.margin, slope, 0.0)
    x = torch.where(space.coded, one.row, space.x)
    reach = torch.tensor([0.9, 0.99, 1, 1 + 1e-6, 1 + 1e-4, 1.001, 1.01, 1.1, 1.3], dtype=torch.float64)
    better = yield from purse.ask(space, x + reach[:, None] * (line - x))
    return better[0] if better and better[0].distance < one.distance else one


def _slope(space: Space, one: Found, rows: Tensor, margin: Tensor) -> Tensor:
    """Difference quotients of the margin, [columns], from rows that differ from one row in a single column."""
    slope = torch.zeros_like(space.x)
    for j in (space.free & ~space.coded).nonzero().flatten().tolist():
        here = (rows[:, j] != one.row[j]).nonzero().flatten()
        if len(here):
            values = torch.cat([rows[here, j], one.row[j : j + 1]])
            margins = torch.cat([margin[here], margin.new_tensor([one.margin])])
            first, last = int(values.argmin()), int(values.argmax())
            slope[j] = (margins[last] - margins[first]) / (values[last] - values[first])
    return slope
