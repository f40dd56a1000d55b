"""The panel: images, methods, targets and models in one figure, with what the models predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation, listed
from pellucid.views.cell import INK, LINE, QUIET, Style, cell_marks, photo_marks
from pellucid.views.drawing import Ends, look_of, shared_scale
from pellucid.views.figure import Box, Figure, Mark, Text, bottom
from pellucid.views.grid import Cell, Columns, Group, Row, arrange
from pellucid.views.legend import legend_marks
from pellucid.views.letters import fit, lacks, width
from pellucid.views.look import Look
from pellucid.views.words import plain, what

Share = Literal["none", "row", "method", "all"]

MARGIN, GAP, LINE_GAP, ROW_GAP = 40, 24, 20, 36
MAX_COLUMNS = 7
NARROWEST = 640
MAX_PIXELS = 40_000_000


def panel(
    explanations: Explanation | Iterable[Explanation],
    *,
    look: Look | str | None = None,
    share: Share = "none",
    columns: Columns = "methods",
    size: int = 224,
    max_columns: int = MAX_COLUMNS,
    max_images: int = 8,
) -> Figure:
    """One figure of many maps, ready to be saved as PNG or SVG.

    look         how to draw all of them; None draws each by its kind.
    share        which maps get the same scale, always among those of one kind and look: `none`, those of a `row`, those
                 of a `method` (the whole column, so that images, targets and models can be compared), or `all`.
    columns      what stands side by side: `methods`, `models` or `targets`.
    size         width of a map in logical pixels; the PNG has twice as many.
    max_columns  maps beside each other; more go on in further lines of about the same length.
    max_images   images shown; the figure says how many were left out.
    Raises InputError when there is nothing to show, ParameterError for other words or sizes.
    """
    if share not in ("none", "row", "method", "all"):
        raise ParameterError(f"share={share!r}", "none, row, method or all")
    if size < 64 or max_columns < 1 or max_images < 1:
        raise ParameterError(
            f"size={size}, max_columns={max_columns}, max_images={max_images}", "size ≥ 64, the others ≥ 1"
        )
    them = listed(explanations)
    groups, left_out = arrange(them, columns, max_images)
    longest = max(len(line) for group in groups for row in group.rows for line in lines_of(row.cells, max_columns))
    across = max(2 * MARGIN + (longest + 1) * (size + GAP) - GAP, NARROWEST)
    plan = _Plan(
        look=look, share=share, columns=columns, style=Style(size=size), max_columns=max_columns, across=across
    )
    scales = _scales(groups, plan)
    marks: list[Mark] = []
    y = float(MARGIN)
    for place, group in enumerate(groups):
        y = _group(marks, group, plan, scales, y, first=place == 0)
    cells = [cell for group in groups for row in group.rows for cell in row.maps]
    marks += legend_marks(cells, look, share, left_out, MARGIN, y + 4, across - 2 * MARGIN)
    height = bottom(marks) + MARGIN
    return Figure(
        width=across,
        height=round(height),
        marks=tuple(marks),
        alt=_alt(cells, left_out),
        note=_note(marks),
        density=2 if across * height * 4 <= MAX_PIXELS else 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    look: Look | str | None
    share: Share
    columns: Columns
    style: Style
    max_columns: int
    across: int


def _scales(groups: Sequence[Group], plan: _Plan) -> dict[int, Ends]:
    """The shared scale of every cell (by identity), empty when every map has its own."""
    together: dict[object, list[Cell]] = {}
    for group in groups:
        for row in group.rows:
            for cell in row.maps:
                chosen = (look_of(cell.row, plan.look), cell.row.kind)
                key = {"row": id(row), "method": cell.method, "all": 0, "none": id(cell)}[plan.share]
                together.setdefault((key, chosen), []).append(cell)
    if plan.share == "none":
        return {}
    return {
        id(cell): ends
        for members in together.values()
        for ends in [shared_scale([c.row for c in members], plan.look)]
        for cell in members
    }


def _group(marks: list[Mark], group: Group, plan: _Plan, scales: dict[int, Ends], y: float, first: bool) -> float:
    """Add a group below y; gives where it ends."""
    heading = fit(group.heading, plan.across - 2 * MARGIN, 20, "Medium")
    marks.append(Text(x=MARGIN, y=y + 18, text=heading, size=20, colour=INK, weight="Medium"))
    marks.append(Box(x=MARGIN, y=y + 32, width=plan.across - 2 * MARGIN, height=1, colour=LINE))
    y += 56
    for row in group.rows:
        y = _row(marks, row, plan, scales, y, first) + ROW_GAP
    return y


def _row(marks: list[Mark], row: Row, plan: _Plan, scales: dict[int, Ends], y: float, first: bool) -> float:
    size, room = plan.style.size, plan.across - 2 * MARGIN - 10
    heading = fit(row.heading, room - width(row.detail, 13), 15, "Medium")
    marks.append(Text(x=MARGIN, y=y + 12, text=heading, size=15, colour=INK, weight="Medium"))
    marks.append(Text(x=MARGIN + width(heading, 15, "Medium") + 10, y=y + 12, text=row.detail, size=13, colour=QUIET))
    y += 34
    models = plan.columns == "models"
    explained = frozenset() if models else frozenset(cell.row.target.index[0] for cell in row.maps)
    photo = photo_marks(row.maps[0].row, MARGIN, y, plan.style, explained)
    marks += photo
    end = bottom(photo)
    for line in lines_of(row.cells, plan.max_columns):
        here: list[Mark] = []
        for place, cell in enumerate(line):
            if cell is None:
                continue
            x = MARGIN + (place + 1) * (size + GAP)
            here += cell_marks(cell, x, y, plan.style, plan.look, scales.get(id(cell)), models and first)
        marks += here
        end = max(end, bottom(here))
        y = bottom(here) + LINE_GAP if here else y
    return end


def lines_of(cells: Sequence[Cell | None], most: int) -> list[Sequence[Cell | None]]:
    """Cells in as few lines as `most` allows, of lengths that differ by one at most in the last."""
    count = -(-len(cells) // most)
    length = -(-len(cells) // count)
    return [cells[i : i + length] for i in range(0, len(cells), length)]


def _note(marks: Sequence[Mark]) -> str:
    missing = sorted({c for m in marks if isinstance(m, Text) for c in m.text if lacks(c)})
    return f"the letters of the PNG lack: {' '.join(missing)}" if missing else ""


def _alt(cells: Sequence[Cell], left_out: int) -> str:
    def few(names: Iterable[str]) -> str:
        each = list(dict.fromkeys(map(plain, names)))
        return ", ".join(each[:6]) + (f" and {len(each) - 6} more" if len(each) > 6 else "")

    noun = what(cell.row for cell in cells)
    red = sum(not ok for cell in cells for check in cell.row.checks for ok in check.passed)
    return (
        f"{len(cells)} {_DRAWN[noun]}. {_NAMED[noun]}: "
        + few(c.row.inputs.name[0] for c in cells)
        + (f" ({left_out} more are not shown)" if left_out else "")
        + f". Models: {few(c.row.record.model.name for c in cells)}. Methods: {few(c.method for c in cells)}. "
        + f"Explained: {few(c.row.target.name[0] for c in cells)}. "
        + (f"{red} failed checks." if red else "No failed checks.")
    )


_NAMED = {"photo": "Images", "text": "Texts", "row": "Rows", "input": "Inputs"}
_DRAWN = {"photo": "maps", "text": "coloured texts", "row": "bar charts", "input": "maps"}
