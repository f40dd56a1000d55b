"""Which method should I believe for this model? Methods × metrics over photos, and what follows from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileExists
from pellucid.core.explanation import Explanations, ModelCard
from pellucid.core.measurements import ARROWS, Measurements
from pellucid.core.sanity import SIGNS, Sanity

SCHEMA = 1
NEAR = 1e-3
"""Part of the range of all values below which two are equal: maps that differ by rounding turn at their kinks."""
RANDOM = "control_random"
"""The control that has to be beaten beyond doubt; no other one may rank better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one method, over the photos."""

    mean: float
    low: float
    high: float
    """Ends of the interval in which the mean over such photos lies, at the scorecard's level; NaN for one photo."""
    rank: float
    """Mean over the photos of its rank among all methods and controls, 1 for the best; NaN where nothing is better."""
    values: tuple[float, ...]
    reason: str = ""
    """Why there is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric."""

    metric: str
    title: str
    family: str
    better: str
    says: str
    photos: int
    """On how many photos it was measured."""
    decides: bool
    """Whether the recommendation rests on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One method, or a control: a map that knows nothing of the model."""

    method: str
    title: str
    control: bool
    cells: tuple[Cell, ...]
    """One per column."""
    score: float
    """Mean rank over the photos and the metrics that decide, 1 for the best of everything."""
    ranks: tuple[float, ...]
    """The same per photo."""
    p: float
    """How likely so large a difference from the best candidate is by chance, adjusted for their number; NaN for it."""
    failed: tuple[str, ...]
    """Sanity tests failed."""
    rows: float
    """Model rows per photo that the method takes alone, backward ones counted as well; 0 for controls."""
    seconds: float
    """Per photo, alone, on this machine."""

    @property
    def candidate(self) -> bool:
        """Whether it may be recommended: no control, and dependent on the weights and the class."""
        return not self.control and not {"randomised weights", "other class"} & set(self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What follows: the method to take, or none; the reasons; the doubts."""

    method: str | None
    title: str
    tied: tuple[str, ...]
    """Titles of those that cannot be told apart from the best, the best first."""
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        head = f"Take {self.title}." if self.method else "Nothing can be recommended."
        return "\n".join([head, *self.reasons, *(f"But: {one}" for one in self.doubts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """Methods × metrics over photos. `print` shows a table, `pellucid.report` writes a page."""

    model: ModelCard
    photos: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    """Best first."""
    advice: Advice
    level: float
    """Of the intervals."""
    seconds: float
    rows: int
    """Of everything."""
    what: str = "photo"
    """What was explained: `photo`, `text` or `row`."""
    sanity: Sanity | None = field(default=None, repr=False)
    measurements: Measurements = field(default=Measurements(), repr=False)
    explanations: Explanations = field(default=Explanations(), repr=False)

    def line(self, method: str) -> Line:
        """A method by registry name or title. Raises KeyError."""
        for one in self.lines:
            if method in (one.method, one.title):
                return one
        raise KeyError(method)

    def __str__(self) -> str:
        return table(self)

    def document(self) -> dict[str, Any]:
        """For programs: everything but the maps; numbers that JSON has none for are null."""
        plain = {
            "schema": SCHEMA,
            "model": asdict(self.model),
            "photos": list(self.photos),
            "what": self.what,
            "columns": [asdict(c) for c in self.columns],
            "lines": [{**asdict(one), "candidate": one.candidate} for one in self.lines],
            "advice": asdict(self.advice),
            "level": self.level,
            "seconds": self.seconds,
            "rows": self.rows,
            "sanity": None if self.sanity is None else self.sanity.document(),
        }
        return _finite(plain)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the document as JSON. Raises FileExists."""
        to = Path(path)
        if to.exists() and not overwrite:
            raise FileExists(f"{to} is in the way", do="another name, or overwrite=True")
        beside = to.with_name(f".{to.name}.part")
        beside.write_text(json.dumps(self.document(), indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(beside, to)
        return to


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(card: Scorecard) -> str:
    """Methods × metrics: means with the half width of their intervals; `*` marks the best of a column."""
    heads = ["", "rank", *(f"{c.title} {ARROWS[c.better]}".strip() for c in card.columns), "rows", "s", "sanity"]
    body = [heads]
    for one in card.lines:
        cells = [_cell(card, one, i) for i in range(len(card.columns))]
        cost = ["", ""] if one.control else [f"{one.rows:.0f}", f"{one.seconds:.2g}"]
        body.append([_name(one), f"{one.score:.1f}", *cells, *cost, _sanity(card, one)])
    wide = [max(len(row[i]) for row in body) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip() for row in body]
    notes = [
        f"{many(len(card.photos), card.what)}, {card.level:.0%} intervals of the mean over {card.what}s (Student's t); "
        f"rank: mean over {card.what}s and the metrics that decide, 1 for the best; ( ) a control, which knows nothing "
        f"of the model; model rows and seconds per {card.what} of the method alone."
    ]
    return "\n".join([*lines, "", *notes, "", str(card.advice)])


def _name(one: Line) -> str:
    return f"({one.title})" if one.control else one.title


def _sanity(card: Scorecard, one: Line) -> str:
    if one.control or card.sanity is None:
        return ""
    return "".join(SIGNS[v.state] for v in card.sanity.of(one.method) if v.state != "told") or "–"


def _cell(card: Scorecard, one: Line, i: int) -> str:
    cell = one.cells[i]
    if math.isnan(cell.mean):
        return "–"
    reach = "" if math.isnan(cell.high) else f" ± {(cell.high - cell.low) / 2:.2g}"
    return f"{cell.mean:.3g}{reach}{'*' if best(card, cell, i) else ''}"


def best(card: Scorecard, cell: Cell, i: int) -> bool:
    """Whether a cell has the best mean of column i; as ranks, means that differ by rounding share it."""
    means = [other.cells[i].mean for other in card.lines if not math.isnan(other.cells[i].mean)]
    ends = {"higher": max(means), "lower": min(means)}
    better = card.columns[i].better
    return better in ends and abs(cell.mean - ends[better]) <= NEAR * (max(means) - min(means))


def advise(lines: Sequence[Line], columns: Sequence[Column], photos: int, alpha: float, what: str = "photo") -> Advice:
    """The cheapest of those that cannot be told apart from the best candidate, with reasons and doubts.

    What ranks no better than a control is not taken, however cheap.
    """
    candidates = [one for one in lines if one.candidate and not math.isnan(one.score)]
    rejected = [one for one in lines if not one.control and not one.candidate]
    controls = [one for one in lines if one.control and not math.isnan(one.score)]
    if not candidates:
        why = "; ".join(f"{one.title} fails {' and '.join(one.failed)}" for one in rejected)
        return Advice(method=None, title="", tied=(), reasons=(), doubts=(why or "no method has a value",))
    best = min(candidates, key=lambda one: one.score)
    tied = sorted((o for o in candidates if o is best or not o.p < alpha), key=lambda o: o.score)
    beaten = [c for c in controls if c.p < alpha and c.score > best.score]
    strong = [c for c in controls if c not in beaten]
    above = [o for o in tied if all(o.score < c.score for c in controls)]
    pick = min(above or [best], key=lambda one: one.rows)
    decide = ", ".join(c.title for c in columns if c.decides)
    reasons = [f"{best.title} ranks best of {len(candidates)} candidates by {decide}: mean rank {best.score:.1f}."]
    if pick is not best:
        ratio = best.rows / max(pick.rows, 1e-9)
        reasons.append(
            f"{pick.title} (mean rank {pick.score:.1f}) cannot be told apart from it on these {what}s "
            f"(p = {pick.p:.2g}) and costs {ratio:.3g} times less."
        )
    if same := [o.title for o in tied if o is not best and o.ranks == best.ranks]:
        reasons.append(f"{' and '.join(same)} {'does' if len(same) == 1 else 'do'} exactly as well on every {what}.")
    if beaten:
        named = ", ".join(c.title.lower() for c in beaten)
        reasons.append(f"{best.title} beats what knows nothing of the model: {named} (p < {alpha:g}).")
    unsure = _doubts(lines, tied, rejected, strong, best, columns, many(photos, what), 2 / 2**photos >= alpha, alpha)
    doubts = (*unsure, *_beaten(pick, best, controls, what))
    if any(c.method == RANDOM or c.score <= best.score for c in strong):
        return Advice(method=None, title="", tied=tuple(o.title for o in tied), reasons=tuple(reasons), doubts=doubts)
    return Advice(
        method=pick.method, title=pick.title, tied=tuple(o.title for o in tied), reasons=tuple(reasons), doubts=doubts
    )


def _doubts(
    lines: Sequence[Line],
    tied: Sequence[Line],
    rejected: Sequence[Line],
    strong: Sequence[Line],
    best: Line,
    columns: Sequence[Column],
    photos: str,
    few: bool,
    alpha: float,
) -> tuple[str, ...]:
    doubts: list[str] = []
    if len(tied) > 1:
        others = ", ".join(o.title for o in tied if o is not best)
        doubts.append(f"{len(tied)} methods cannot be told apart on {photos}: {best.title} and {others}.")
    if few:
        doubts.append(f"{photos} can never give p < {alpha:g}, whatever the maps: take six or more.")
    if strong:
        named = ", ".join(c.title.lower() for c in strong)
        doubts.append(f"It is not beyond doubt better than what knows nothing of the model: {named}.")
    better = [one for one in rejected if one.score < best.score]
    doubts += [f"{o.title} ranks better ({o.score:.1f}) but fails: {', '.join(o.failed)}." for o in better]
    winners = {c.title: _winner(lines, i) for i, c in enumerate(columns) if c.decides}
    if len(set(winners.values())) > 1:
        doubts.append("The metrics disagree: " + ", ".join(f"{k} prefers {v}" for k, v in winners.items()) + ".")
    return tuple(doubts)


def _beaten(pick: Line, best: Line, controls: Sequence[Line], what: str) -> tuple[str, ...]:
    """Which controls a cheaper method than the best, which alone was tested against them, does not always beat."""
    doubts: list[str] = []
    for control in controls if pick is not best else ():
        wins = sum(a < b for a, b in zip(pick.ranks, control.ranks, strict=True))
        if wins < len(pick.ranks):
            all_ = many(len(pick.ranks), what)
            doubts.append(f"{pick.title} ranks better than {control.title.lower()} on {wins} of {all_}.")
    return tuple(doubts)


def many(count: int, what: str = "photo") -> str:
    """So many photos, texts or rows."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _winner(lines: Sequence[Line], i: int) -> str:
    known = [one for one in lines if one.candidate and not math.isnan(one.cells[i].rank)]
    return min(known, key=lambda one: one.cells[i].rank).title if known else "none"
