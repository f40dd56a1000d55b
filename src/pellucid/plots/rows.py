"""What is plotted: the rows of one explanation or of several, and the words above each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation, listed
from pellucid.core.frame import probability_of
from pellucid.views.cell import INK, QUIET, RED
from pellucid.views.figure import Mark, Text
from pellucid.views.letters import fit, width
from pellucid.views.words import number, plain

Asked = Explanation | Iterable[Explanation]
STRIP, STRIP_LINE = 12.0, 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a strip."""

    text: str
    colour: str = INK


def rows_of(explanations: Asked) -> list[Explanation]:
    """Single rows: those of the first case under all labels, then those of the second, and so on.

    Raises InputError where there are none.
    """
    them = listed(explanations)
    cases = list(dict.fromkeys(name for one in them for name in one.inputs.name))
    rows = [row for case in cases for one in them for row in one if row.inputs.name[0] == case]
    if not rows:
        raise InputError("no explanations to plot", "at least one")
    return rows


def cases_of(rows: Sequence[Explanation]) -> list[str]:
    """Names of the cases, each once."""
    return list(dict.fromkeys(row.inputs.name[0] for row in rows))


def only(explanations: Asked, what: str) -> Explanation:
    """The one row that there is. Raises InputError where there are several."""
    rows = rows_of(explanations)
    if len(rows) > 1:
        raise InputError(f"{len(rows)} rows for {what}", "one case under one label", "choose one: explanations[0][0]")
    return rows[0]


def strip(row: Explanation, *, case: bool = False, method: bool = False) -> list[Line]:
    """What R's lime writes above a facet: label, probability, and how well the local model fits.

    case: the case comes first; method: the method does. A fit that failed its check is red.
    """
    lines = [Line(text=row.title)] if method else []
    lines += [Line(text=f"Case: {plain(row.inputs.name[0])}")] if case else []
    lines.append(Line(text=f"Label: {plain(row.target.name[0])}"))
    chance = probability_of(row)
    lines.append(
        Line(text=f"Score: {number(row.target.score[0])}" if chance is None else f"Probability: {number(chance, 2)}")
    )
    r2 = row.check("r2")
    if r2 is not None:
        low = not r2.passed[0]
        said = f"Explanation fit: {r2.value[0]:.2f}".replace("-", "−")
        lines.append(Line(text=f"{said} (low)" if low else said, colour=RED if low else INK))
    return lines


def strip_marks(lines: Sequence[Line], x: float, y: float, room: float, height: int | None = None) -> list[Mark]:
    """A strip whose last line ends at y + its height; with fewer lines than `height` it is pushed down."""
    down = ((height or len(lines)) - len(lines)) * STRIP_LINE
    return [
        Text(
            x=x,
            y=y + down + STRIP_LINE * i + 11,
            text=fit(line.text, room, STRIP, "Medium"),
            size=STRIP,
            colour=line.colour,
            weight="Medium",
        )
        for i, line in enumerate(lines)
    ]


def heading(text: str, detail: str, x: float, y: float, room: float) -> list[Mark]:
    """A title with quieter words behind it, on one line."""
    title = fit(text, max(room - width(detail, 12.5) - 10, 0.6 * room), 15, "Medium")
    at = x + width(title, 15, "Medium") + 10
    return [
        Text(x=x, y=y + 13, text=title, size=15, colour=INK, weight="Medium"),
        Text(x=at, y=y + 13, text=fit(detail, max(10.0, x + room - at), 12.5), size=12.5, colour=QUIET),
    ]
