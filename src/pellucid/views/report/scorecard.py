"""A scorecard in one HTML file: the advice first, then what it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path

from markupsafe import Markup

from pellucid.core.sanity import TESTS, Verdict
from pellucid.core.scorecard import Cell, Line, Scorecard, best
from pellucid.views.pareto import front, pareto
from pellucid.views.report.layers import photo_jpeg
from pellucid.views.report.markup import asset, filled, uri
from pellucid.views.words import number
from pellucid.views.write import page_at, refuse_existing, write_bytes

MARKS = {"passed": "passed", "failed": "failed", "unclear": "near", "told": "told", "none": "told"}
WORDS = {"passed": "passed", "failed": "failed", "unclear": "unclear", "told": "", "none": "not tried"}
SIDE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One cell of the table: number, half of its interval, and where the mean lies in its column, 0 … 100."""

    mean: str
    reach: str
    best: bool
    why: str
    start: float
    long: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method or control as the page shows it."""

    line: Line
    entries: tuple[Entry, ...]
    score: str
    p: str
    tied: bool
    chosen: bool
    chips: tuple[tuple[str, str, str, str], ...]
    """Mark, test, word and the whole sentence."""


def write_scorecard(card: Scorecard, path: str | Path, *, title: str | None = None, overwrite: bool = False) -> Path:
    """Write the page. Raises FileExists before anything is drawn, ParameterError for a name that is none of a page."""
    where = page_at(path)
    refuse_existing([where], overwrite)
    return write_bytes(where, render(card, title).encode("utf-8"), overwrite)


def render(card: Scorecard, title: str | None = None, *, date: Date | str | None = None) -> str:
    """The page as HTML."""
    figure = pareto(card, title=False)
    return filled(
        "scorecard.html.jinja",
        asset("report.css") + asset("scorecard.css"),
        "",
        card.document(),
        title=title or f"Which method to believe for {card.model.name}",
        date=str(date or Date.today()),
        card=card,
        rows=[_row(card, one) for one in card.lines],
        front=front(card.lines),
        figure=(uri(figure.png()), figure.width, figure.height, figure.alt),
        photos=_photos(card),
        tests=[t for t in TESTS if card.sanity is not None and any(v.test == t.name for v in card.sanity)],
        failed=() if card.sanity is None else tuple(v for v in card.sanity if v.state == "failed"),
        minutes=_time(card.seconds),
        arrows={"higher": "higher is better", "lower": "lower is better", "neither": "neither is better"},
    )


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _row(card: Scorecard, one: Line) -> Row:
    verdicts = () if card.sanity is None or one.control else card.sanity.of(one.method)
    return Row(
        line=one,
        entries=tuple(_entry(card, i, one.cells[i]) for i in range(len(card.columns))),
        score="–" if math.isnan(one.score) else f"{one.score:.1f}",
        p="" if math.isnan(one.p) else "< 0.001" if one.p < 0.001 else f"{one.p:.2g}",
        tied=one.title in card.advice.tied,
        chosen=one.method == card.advice.method,
        chips=tuple(_chip(v) for v in verdicts if v.state not in ("told", "none")),
    )


def _chip(v: Verdict) -> tuple[str, str, str, str]:
    return MARKS[v.state], v.test, f"{v.value:.2f}", v.says


def _entry(card: Scorecard, i: int, cell: Cell) -> Entry:
    if math.isnan(cell.mean):
        return Entry(mean="–", reach="", best=False, why=cell.reason, start=0, long=0, at=-1)
    known = [one.cells[i] for one in card.lines if not math.isnan(one.cells[i].mean)]
    ends = [e for c in known for e in ((c.mean,) if math.isnan(c.low) else (c.low, c.high))]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    half = math.isnan(cell.low)
    start = cell.mean if half else cell.low
    return Entry(
        mean=number(cell.mean),
        reach="" if half else number((cell.high - cell.low) / 2, 2),
        best=best(card, cell, i),
        why="",
        start=round(100 * (start - low) / span, 2),
        long=0 if half else round(100 * (cell.high - cell.low) / span, 2),
        at=round(100 * (cell.mean - low) / span, 2),
    )


def _photos(card: Scorecard) -> list[tuple[str, Markup | None, str]]:
    """Name, picture and what was explained, from the first explanation that keeps them."""
    kept = next((e for e in card.explanations if e.inputs.picture is not None), None)
    if kept is None or kept.inputs.picture is None:
        return [(name, None, "") for name in card.photos]
    return [
        (name, uri(photo_jpeg(kept.inputs.picture[i], SIDE)), kept.target.name[i])
        for i, name in enumerate(kept.inputs.name)
    ]
