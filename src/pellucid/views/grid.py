"""Which map stands where: explanations sorted into groups, rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.views.words import strength

Columns = Literal["methods", "models", "targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One map with what is written above it."""

    row: Explanation
    title: str
    detail: str = ""
    method: str
    """Method with its variant: cells of the same method may share a scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Maps of one photo, side by side."""

    heading: str
    detail: str
    cells: tuple[Cell | None, ...]
    """One per column of the group; None where there is no such map."""

    @property
    def maps(self) -> list[Cell]:
        return [cell for cell in self.cells if cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows under one heading."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    row: Explanation
    method: str

    @property
    def model(self) -> str:
        return self.row.record.model.name

    @property
    def image(self) -> str:
        return self.row.inputs.name[0]

    @property
    def target(self) -> str:
        return self.row.target.name[0]


def arrange(explanations: Sequence[Explanation], columns: Columns, max_images: int) -> tuple[tuple[Group, ...], int]:
    """Groups of rows in the order of first appearance, and how many images were left out.

    columns=methods: a group per model, a row per image and target.
    columns=models:  a group per method, a row per image and target as asked for (each model's own top class, say).
    columns=targets: a group per model, a row per image and method.
    Raises InputError when there is nothing to show, ParameterError for another word.
    """
    if columns not in ("methods", "models", "targets"):
        raise ParameterError(f"columns={columns!r}", "methods, models or targets")
    entries = _entries(explanations)
    if not entries:
        raise InputError("there is no explanation to show", "at least one with at least one row")
    images = list(dict.fromkeys(e.image for e in entries))
    shown = [e for e in entries if e.image in images[:max_images]]
    groups = tuple(
        Group(
            heading=heading, rows=_aligned([_row(key, cells, columns) for key, cells in _by(members, columns)], columns)
        )
        for heading, members in _split(shown, lambda e: e.method if columns == "models" else e.model)
    )
    return groups, len(images) - len(images[:max_images])


def _aligned(rows: list[Row], columns: Columns) -> tuple[Row, ...]:
    """The same rows with equal titles below each other. Targets differ from image to image and stay as they are."""
    if columns == "targets":
        return tuple(rows)
    placed = [dict(zip(_numbered([cell.title for cell in row.maps]), row.maps, strict=True)) for row in rows]
    titles = dict.fromkeys(title for cells in placed for title in cells)
    return tuple(replace(row, cells=tuple(map(cells.get, titles))) for row, cells in zip(rows, placed, strict=True))


def _numbered(titles: list[str]) -> list[tuple[str, int]]:
    """Titles with how often each came before."""
    return [(title, titles[:place].count(title)) for place, title in enumerate(titles)]


def _entries(explanations: Sequence[Explanation]) -> list[_Entry]:
    names = variants(explanations, lambda e: e.title)
    return [_Entry(row=row, method=name) for e, name in zip(explanations, names, strict=True) for row in e]


def variants(explanations: Sequence[Explanation], name: Callable[[Explanation], str]) -> list[str]:
    """Names of the methods, with the parameters in which explanations of the same method differ; `auto` goes unsaid."""
    settings: dict[str, list[dict[str, object]]] = {}
    for e in explanations:
        known = settings.setdefault(name(e), [])
        if (mine := _setting(e)) not in known:
            known.append(mine)

    def differing(e: Explanation) -> str:
        mine, known = _setting(e), settings[name(e)]
        told = [(k, v) for k, v in mine.items() if v != "auto" and any(other.get(k) != v for other in known)]
        return ", ".join(f"{k} {v}" for k, v in told)

    return [f"{name(e)}, {tail}" if (tail := differing(e)) else name(e) for e in explanations]


def _setting(e: Explanation) -> dict[str, object]:
    asked_site = {"at": e.record.at} if e.record.params.get("at") not in (None, "auto") else {}
    return {**e.record.params, **asked_site}


def _split(entries: Iterable[_Entry], key: Callable[[_Entry], str]) -> list[tuple[str, list[_Entry]]]:
    out: dict[str, list[_Entry]] = {}
    for entry in entries:
        out.setdefault(key(entry), []).append(entry)
    return list(out.items())


def _by(entries: list[_Entry], columns: Columns) -> list[tuple[tuple[object, ...], list[_Entry]]]:
    """Rows of a group, images first."""
    out: dict[tuple[object, ...], list[_Entry]] = {}
    for e in entries:
        t = e.row.target
        asked = (t.asked, t.rank)
        rest = {"methods": (*asked, e.target), "models": asked, "targets": (e.method,)}[columns]
        out.setdefault((e.image, *rest), []).append(e)
    order = {image: i for i, image in enumerate(dict.fromkeys(e.image for e in entries))}
    return sorted(out.items(), key=lambda item: order[str(item[0][0])])


def _row(key: tuple[object, ...], entries: list[_Entry], columns: Columns) -> Row:
    first = entries[0]
    if columns == "targets":
        cells = [Cell(row=e.row, title=e.target, detail=strength(e.row), method=e.method) for e in entries]
        return Row(heading=first.method, detail="", cells=tuple(cells))
    if columns == "methods":
        cells = [Cell(row=e.row, title=e.method, method=e.method) for e in entries]
        return Row(heading=first.target, detail=strength(first.row), cells=tuple(cells))
    cells = [Cell(row=e.row, title=e.model, detail=f"{e.target}, {strength(e.row)}", method=e.method) for e in entries]
    same = len({e.target for e in entries}) == 1
    return Row(heading=first.target if same else f"Asked for {key[1]}", detail="", cells=tuple(cells))
