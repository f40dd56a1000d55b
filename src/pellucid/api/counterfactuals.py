"""The verb counterfactual: what would have to change of a row of a table for the model to say something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid.adapters import Handle
from pellucid.api.answers import Said, said_by, table_of
from pellucid.api.models import as_model
from pellucid.api.wishes import Wish
from pellucid.core.errors import InputError, ParameterError, nearest
from pellucid.studies.changes import Change, Counterfactual, Counterfactuals
from pellucid.studies.counterfactual import Found, Steps, search
from pellucid.studies.space import Space
from pellucid.studies.terms import Feature

Key = str | int
"""A column by its name or its number."""


def counterfactual(
    model: Handle | nn.Module | str,
    row: Any,
    target: int | str | tuple[float, float] | None = None,
    *,
    data: Any = None,
    frozen: Sequence[Key] = (),
    ranges: Mapping[Key, tuple[float, float]] | None = None,
    directions: Mapping[Key, Literal["up", "down"]] | None = None,
    count: int = 3,
    budget: int = 4000,
    seed: int = 0,
) -> Counterfactuals:
    """Rows nearby of which the model says something else: near, with few columns changed, different from one another.

    Nearness is Σ |change| / scale, so that changing one column far costs no more than changing many a little. Whole
    numbers stay whole, categories are categories, missing values stay missing. Whatever is returned has been asked
    about once more at the end; where nothing was found, the answer is empty and says so.

    model       as in `explain`
    row         one row of a table
    target      the class wanted; None: any other than now. Of a model that gives one number without classes, the ends
                (low, high) between which it is wanted
    data        a table like the one that the model was trained on: scales are its standard deviations, ranges its own,
                and its rows are starts. None: the background of the model's table; without one, scales of 1 and no ends
    frozen      columns that must stay
    ranges      (low, high) of columns
    directions  columns that may only go `up`, or `down`
    count       rows wanted, at most
    budget      rows that the model may be asked about
    seed        of the random starts, which are drawn only where nothing else serves
    Raises InputError for what is no single row, ParameterError for columns and ranges that do not fit, TargetError for
    a class that the model says already.
    """
    for name, number in (("count", count), ("budget", budget)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ParameterError(f"{name}={number!r}", "a whole number, 1 or more")
    handle = as_model(model)
    rows, features = table_of(handle, row)
    if len(rows) != 1:
        raise InputError(f"{len(rows)} rows", "one row of a table")
    known = _known_rows(handle, data, rows.shape[1])
    space = _limited(_space(handle, rows[0].double().cpu(), features, known), features, frozen, ranges, directions)
    with handle.ready(rows) as session:

        def ask(some: Tensor) -> Said:
            return said_by(handle, session, some.to(rows))

        wish = Wish.of(ask(rows), target)
        found, asked = _searched(search(space, count, budget, seed, known), ask, wish)
        found = [replace(one, row=one.row.to(rows.dtype)) for one in found]
        told = _told(found, ask, wish, lambda to: _changes(handle, features, rows[0].cpu(), to)) if found else ()
    return Counterfactuals(
        found=told,
        model=handle.name,
        name="the row",
        was=wish.was,
        wanted=wish.wanted,
        calls=1 + asked + len(found),
        budget=budget,
        seed=seed,
    )


def _searched(going: Steps[list[Found]], ask: Callable[[Tensor], Said], wish: Wish) -> tuple[list[Found], int]:
    """Run a search to its end; what it found, and how many rows it asked about."""
    asked, reply = 0, None
    while True:
        try:
            rows = next(going) if reply is None else going.send(reply)
        except StopIteration as stop:
            return stop.value, asked
        asked, reply = asked + len(rows), wish.margin(ask(rows)) - wish.clear


def _told(
    found: list[Found], ask: Callable[[Tensor], Said], wish: Wish, changes: Callable[[Tensor], tuple[Change, ...]]
) -> tuple[Counterfactual, ...]:
    """Those of which the model says what is wanted when it is asked once more."""
    last = ask(torch.stack([one.row for one in found]))
    holds = (wish.margin(last) > 0).tolist()
    said = [wish.says(last, i) for i in range(len(found))]
    return tuple(
        Counterfactual(row=one.row, changes=changes(one.row), distance=one.distance, says=says, score=score)
        for one, hold, (says, score) in zip(found, holds, said, strict=True)
        if hold
    )


# -- where the row may go ----------------------------------------------------------------------------------------


def _known_rows(handle: Handle, data: Any, columns: int) -> Tensor | None:
    given = getattr(handle.preprocess, "background", None) if data is None else table_of(handle, data)[0]
    if given is None or not len(given):
        return None
    if given.shape[1] != columns:
        raise InputError(f"data of {given.shape[1]} columns for a row of {columns}", "the same columns")
    return given.double().cpu()


def _space(handle: Handle, x: Tensor, features: Sequence[Feature], known: Tensor | None) -> Space:
    """Ranges and scales of the data; of categories, all that there are."""
    n = len(x)
    low, high, scale = (
        torch.full((n,), -torch.inf).double(),
        torch.full((n,), torch.inf).double(),
        torch.ones(n).double(),
    )
    if known is not None:
        filled = torch.where(known.isnan(), x, known)
        low, high = filled.amin(0).minimum(x), filled.amax(0).maximum(x)
        std = filled.std(0, correction=0)
        scale = torch.where(std > 0, std, 1.0)
    coded = torch.tensor([bool(f.values) for f in features])
    top = torch.tensor([float(len(f.values) - 1) for f in features]).double()
    types: Sequence[Any] = getattr(handle.preprocess, "columns", ())
    whole = torch.tensor([getattr(c, "type", "") == "integer" for c in types]) if len(types) == n else coded
    return Space(
        x=x,
        low=torch.where(coded, 0.0, low),
        high=torch.where(coded, top, high),
        scale=torch.where(coded, 1.0, scale),
        whole=whole | coded,
        coded=coded,
    )


def _limited(
    space: Space,
    features: Sequence[Feature],
    frozen: Sequence[Key],
    ranges: Mapping[Key, tuple[float, float]] | None,
    directions: Mapping[Key, Literal["up", "down"]] | None,
) -> Space:
    """The space without what somebody says cannot change."""
    low, high = space.low.clone(), space.high.clone()
    for key, ends in (ranges or {}).items():
        j = _column(features, key)
        if bool(space.coded[j]):
            raise ParameterError(f"a range of {features[j].name!r}, a category", "a column of numbers", "freeze it")
        if not isinstance(ends, Sequence) or len(ends) != 2 or not ends[0] <= ends[1]:
            raise ParameterError(f"the range {ends!r} of {features[j].name!r}", "(low, high)")
        low[j], high[j] = ends
    for key, way in (directions or {}).items():
        j = _column(features, key)
        if way not in ("up", "down") or bool(space.coded[j]):
            raise ParameterError(f"direction {way!r} of {features[j].name!r}", "up or down, of a column of numbers")
        (low if way == "up" else high)[j] = space.x[j]
    for key in frozen:
        j = _column(features, key)
        low[j] = high[j] = space.x[j]
    return Space(x=space.x, low=low, high=high, scale=space.scale, whole=space.whole, coded=space.coded)


def _column(features: Sequence[Feature], key: Key) -> int:
    names = [f.name for f in features]
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(names):
        return key
    near = nearest(str(key), names)
    raise ParameterError(f"no column {key!r}", f"one of {', '.join(names)}", f"perhaps {near}" if near else "")


def _changes(handle: Handle, features: Sequence[Feature], x: Tensor, row: Tensor) -> tuple[Change, ...]:
    columns: Sequence[Any] = getattr(handle.preprocess, "columns", ())

    def text(j: int, value: float) -> str:
        return columns[j].text(value) if len(columns) == len(x) else f"{value:.4g}"

    moved = [j for j in range(len(x)) if row[j] != x[j] and not (row[j].isnan() and x[j].isnan())]
    return tuple(
        Change(feature=features[j].name, was=text(j, float(x[j])), becomes=text(j, float(row[j]))) for j in moved
    )
