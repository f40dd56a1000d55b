"""Do two runs say the same? For a model that was trained again, another version, another machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core import store
from pellucid.core.difference import Difference, Differences, Tolerances
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import CHANNEL, Explanation, Explanations
from pellucid.ops.correlation import spearman

Run = str | Path | Explanation | Explanations | Sequence[Explanation]
Key = tuple[str, int, int]
"""A method, the place among the targets of a call, and which of several entries with both."""


def diff(
    a: Run,
    b: Run,
    *,
    correlation: float = 0.99,
    overlap: float = 0.9,
    distance: float = 0.05,
    level: float = 0.05,
    strict: bool = False,
) -> Differences:
    """Compare two runs image by image and method by method; entries of folders are read one at a time.

    a, b         explanations, or files and folders of them; b is the new run
    correlation  rank correlation of the places (summed over channels), at least
    overlap      share of the k places of the largest magnitude that both have, at least
    distance     ‖b − a‖ / ‖a‖ over all values, at most
    level        k, as a share of the places
    strict       another model, other parameters, and what only one of them has are beyond the tolerances too
    Besides, a target that changed and a check that turned red are always beyond them. Raises InputError for what
    holds no explanations, ParameterError for tolerances outside their range.
    """
    limits = Tolerances(correlation=correlation, overlap=overlap, distance=distance, level=level)
    _judged(limits)
    old, new = _run(a), _run(b)
    keys = [_keys(run) for run in (old, new)]
    rows: list[Difference] = []
    models, parameters = True, True
    only: tuple[list[str], list[str]] = ([_told(k) for k in keys[0] if k not in keys[1]], [])
    only[1].extend(_told(k) for k in keys[1] if k not in keys[0])
    for key, place in keys[0].items():
        if key not in keys[1]:
            continue
        one, two = old[place], new[keys[1][key]]
        changed = _settings(one, two)
        models &= one.record.model.fingerprint == two.record.model.fingerprint
        parameters &= not any(said.startswith("parameter") for said in changed)
        names = [_names(e) for e in (one, two)]
        for mine, theirs, into in ((names[0], names[1], only[0]), (names[1], names[0], only[1])):
            into.extend(f"{name} ({key[0]})" for name in mine if name not in theirs)
        rows += [compared(one[i], two[names[1][n]], limits, n, changed) for n, i in names[0].items() if n in names[1]]
    return Differences(
        rows=tuple(rows),
        only_a=tuple(only[0]),
        only_b=tuple(only[1]),
        same_model=models,
        same_parameters=parameters,
        tolerances=limits,
        strict=strict,
    )


def compared(
    a: Explanation, b: Explanation, limits: Tolerances, name: str = "", changed: tuple[str, ...] = ()
) -> Difference:
    """The difference of two explanations of one row each."""
    beyond = list(_outcome(a, b))
    numbers = (float("nan"),) * 3
    if a.values.shape != b.values.shape:
        beyond.append(f"shape {tuple(a.values.shape[1:])} → {tuple(b.values.shape[1:])}")
    else:
        numbers = measured(a, b, limits.level)
        beyond += _past(numbers, limits)
    return Difference(
        image=name or a.inputs.name[0],
        method=a.record.method,
        target=a.target.name[0],
        correlation=numbers[0],
        overlap=numbers[1],
        distance=numbers[2],
        beyond=tuple(beyond),
        changed=(*changed, *_recovered(a, b)),
    )


def measured(a: Explanation, b: Explanation, level: float) -> tuple[float, float, float]:
    """(rank correlation, overlap of the highest, relative distance) of two maps of one shape; of equal ones 1, 1, 0."""
    x, y = a.values.double(), b.values.double()
    if torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) and torch.equal(x.isnan(), y.isnan()):
        return 1.0, 1.0, 0.0
    size = float(x.norm())
    gap = float((y - x).norm())
    u, v = _places(a, x), _places(b, y)
    rank = float(spearman(u, v)) if u.numel() > 1 else 1.0 if float(u * v) > 0 else -1.0
    return rank, _overlap(u.abs(), v.abs(), level), gap / size if size else float("inf")


def _places(e: Explanation, values: Tensor) -> Tensor:
    return (values.sum(e.dims.index(CHANNEL)) if CHANNEL in e.dims else values).flatten()


def _overlap(u: Tensor, v: Tensor, level: float) -> float:
    """|top k of u ∩ top k of v| / k; places as high as the last one count as among them, in both."""
    k = max(1, round(level * u.numel()))
    tops = [one >= one.topk(k).values[-1] for one in (u, v)]
    both = int((tops[0] & tops[1]).sum())
    return both / max(1, int(tops[0].sum()), int(tops[1].sum()))


def _past(numbers: tuple[float, float, float], limits: Tolerances) -> Iterator[str]:
    correlation, overlap, distance = numbers
    if isnan(correlation) or correlation < limits.correlation:
        yield f"rank correlation {correlation:.4g}, wanted {limits.correlation:g} or more"
    if overlap < limits.overlap:
        yield f"the highest {100 * limits.level:g} % overlap by {overlap:.3g}, wanted {limits.overlap:g} or more"
    if isnan(distance) or distance > limits.distance:
        yield f"relative distance {distance:.3g}, wanted {limits.distance:g} or less"


def _outcome(a: Explanation, b: Explanation) -> Iterator[str]:
    """Another target, and checks that turned red."""
    if (a.target.name, a.target.index, a.target.output) != (b.target.name, b.target.index, b.target.output):
        yield f"target {a.target.name[0]} ({a.target.output}) → {b.target.name[0]} ({b.target.output})"
    for check in b.checks:
        before = a.check(check.name)
        if not check.passed[0] and (before is None or before.passed[0]):
            was = "" if before is None else f"{before.value[0]:.3g} → "
            yield f"check {check.name} turned red ({was}{check.value[0]:.3g})"


def _recovered(a: Explanation, b: Explanation) -> Iterator[str]:
    for check in a.checks:
        now = b.check(check.name)
        if not check.passed[0] and now is not None and now.passed[0]:
            yield f"check {check.name} is green again"


def _settings(a: Explanation, b: Explanation) -> tuple[str, ...]:
    """What is another in how they came about."""
    told = [] if a.record.model.fingerprint == b.record.model.fingerprint else ["the model's weights"]
    mine, theirs = ({k: json.dumps(v, sort_keys=True) for k, v in e.record.params.items()} for e in (a, b))
    told += [
        f"parameter {name}: {mine.get(name, 'none')} → {theirs.get(name, 'none')}"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]
    if a.record.at != b.record.at:
        told.append(f"layer {a.record.at} → {b.record.at}")
    return tuple(told)


def _run(given: Run) -> Sequence[Explanation]:
    if isinstance(given, (str, Path)):
        return store.load(given).entries
    found = (given,) if isinstance(given, Explanation) else given.entries if isinstance(given, Explanations) else given
    if not isinstance(found, Sequence) or not found or not all(isinstance(one, Explanation) for one in _typed(found)):
        raise InputError(f"a {type(given).__name__} to compare", "explanations, or a file or folder of them")
    return found


def _typed(found: Sequence[Any]) -> Iterable[Any]:
    """Entries whose type has to be looked at; those on disk are explanations, and are not read for it."""
    return found if isinstance(found, (tuple, list)) else ()


def _keys(run: Sequence[Explanation]) -> dict[Key, int]:
    """Where every entry is."""
    places: dict[Key, int] = {}
    seen: dict[tuple[str, int], int] = {}
    for place in range(len(run)):
        e = run[place]
        one = (e.record.method, e.target.rank)
        seen[one] = seen.get(one, -1) + 1
        places[(*one, seen[one])] = place
    return places


def _told(key: Key) -> str:
    method, rank, again = key
    return method + (f", target {rank + 1}" if rank else "") + (f", again ({again + 1})" if again else "")


def _names(e: Explanation) -> dict[str, int]:
    """The rows of an entry by name; those of the same name are numbered."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    for i, name in enumerate(e.inputs.name):
        counts[name] = counts.get(name, 0) + 1
        found[name if counts[name] == 1 else f"{name} ({counts[name]})"] = i
    return found


def _judged(limits: Tolerances) -> None:
    """Raise ParameterError for tolerances outside their range."""
    fits = -1 <= limits.correlation <= 1 and 0 <= limits.overlap <= 1 and limits.distance >= 0 and 0 < limits.level <= 1
    if not fits:
        raise ParameterError(
            f"{limits}", "correlation −1 to 1, overlap 0 to 1, distance 0 or more, level above 0 and up to 1"
        )
