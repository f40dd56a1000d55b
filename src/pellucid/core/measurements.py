"""What was measured: per metric, explanation and image a number, its error, or the reason why there is none."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileExists, FormatError, InputError, nearest
from pellucid.core.explanation import ModelCard, Passes

SCHEMA = 1
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Which explanation was measured."""

    method: str
    """Registry name of the method."""
    title: str
    params: Mapping[str, Any]
    place: int
    """Its place among the explanations that were measured."""
    target: tuple[str, ...]
    """What was explained, per image."""
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One metric of one explanation: a number per image.

    A value of NaN has a reason. Values compare only with those of the same metric, parameters and output.
    """

    metric: str
    """Registry name: `deletion`."""
    title: str
    better: str
    """`higher`, `lower` or `neither`."""
    range: tuple[float, float]
    params: Mapping[str, Any]
    """Every parameter of the metric, JSON-able, defaults included."""
    output: str
    """The number of the model that was looked at."""
    judged: Judged
    images: tuple[str, ...]
    values: tuple[float, ...]
    reasons: tuple[str, ...]
    """Why there is no value; empty where there is one."""
    std_error: tuple[float, ...] | None = None
    """Of sampled metrics: the error of every value."""
    curve: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] | None = None
    """Per image: x and y."""
    extras: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Further numbers by name, one per image."""
    in_sample: bool = False
    """Whether the metric may have asked what the explanation was made of: hidden places showed the same to both."""
    model: ModelCard
    passes: Passes = field(default_factory=Passes)
    """Work of the whole call; shared by all its measurements."""
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> tuple[float, ...]:
        """The values that there are."""
        return tuple(v for v in self.values if not math.isnan(v))

    @property
    def mean(self) -> float:
        """Over the images that have a value; NaN where none has."""
        return math.fsum(self.known) / len(self.known) if self.known else math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean over images; NaN for fewer than two."""
        n = len(self.known)
        if n < 2:
            return math.nan
        mean = self.mean
        return math.sqrt(math.fsum((v - mean) ** 2 for v in self.known) / (n - 1) / n)

    def __repr__(self) -> str:
        gone = len(self) - len(self.known)
        return (
            f"Measurement({self.title} of {self.judged.title}: {_spoken(self.mean, self.error)} over "
            f"{len(self)} image(s)" + (f", {gone} without a value" if gone else "") + ")"
        )


@dataclass(frozen=True, slots=True)
class Measurements(Sequence[Measurement]):
    """All that one call measured, by explanation and then by metric. `print` shows a table."""

    entries: tuple[Measurement, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.entries)

    def __getitem__(self, which: Any) -> Any:
        return Measurements(self.entries[which]) if isinstance(which, slice) else self.entries[which]

    def __add__(self, other: Measurements) -> Measurements:
        return Measurements((*self.entries, *other.entries))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.metric for m in self))

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.judged.method for m in self))

    def sel(self, *, metric: str | None = None, method: str | None = None, place: int | None = None) -> Measurements:
        """The entries that match all that is given; names or titles. Raises InputError where nothing matches."""
        hits = tuple(
            m
            for m in self
            if metric in (None, m.metric, m.title)
            and method in (None, m.judged.method, m.judged.title)
            and place in (None, m.judged.place)
        )
        if not hits:
            near = nearest(metric or method or "", [*self.metrics, *self.methods])
            raise InputError(
                f"nothing measured matches metric={metric!r}, method={method!r}, place={place!r}",
                f"metrics {self.metrics}, methods {self.methods}",
                f"perhaps {near}" if near else "",
            )
        return Measurements(hits)

    def columns(self) -> dict[str, list[Any]]:
        """One row per metric, explanation and image, as columns of equal length: `pandas.DataFrame(m.columns())`."""
        rows = [row for m in self for row in _rows(m)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name, math.nan) for row in rows] for name in names}

    def __str__(self) -> str:
        return table(self)

    def __repr__(self) -> str:
        return f"Measurements({len(self.metrics)} metrics of {len(_lines(self))} explanations)\n{table(self)}"

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write JSON that `Measurements.read` reads back exactly. Raises FileExists unless overwrite."""
        target = Path(path)
        target = target.with_suffix(".json") if not target.suffix else target
        if target.exists() and not overwrite:
            raise FileExists(f"{target} exists", "a new file", "choose another name, or overwrite=True")
        target.parent.mkdir(parents=True, exist_ok=True)
        document = {"schema": SCHEMA, "kind": "measurements", "entries": [_plain(asdict(m)) for m in self]}
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            beside.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        return target

    @staticmethod
    def read(path: str | Path) -> Measurements:
        """What `save` wrote. Raises FormatError for a file that is damaged, of another schema, or not ours."""
        where = Path(path)
        try:
            document = json.loads(where.read_text(encoding="utf-8"))
            if document["schema"] != SCHEMA or document["kind"] != "measurements":
                raise FormatError(f"{where} has schema {document['schema']!r}", f"schema {SCHEMA}", "update pellucid")
            return Measurements(tuple(_measurement(entry) for entry in document["entries"]))
        except FormatError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{where} holds no measurements: {error}", "a file written by Measurements.save"
            ) from error


def join(parts: Sequence[Measurement]) -> Measurement:
    """The same metric of the same explanation over further images."""
    first = parts[0]
    if len(parts) == 1:
        return first
    errors = [p.std_error for p in parts]
    curves = [p.curve for p in parts]
    return replace(
        first,
        judged=replace(first.judged, target=tuple(t for p in parts for t in p.judged.target)),
        images=tuple(i for p in parts for i in p.images),
        values=tuple(v for p in parts for v in p.values),
        reasons=tuple(r for p in parts for r in p.reasons),
        std_error=None if any(e is None for e in errors) else tuple(v for e in errors for v in e or ()),
        curve=None if any(c is None for c in curves) else tuple(v for c in curves for v in c or ()),
        extras={
            name: tuple(v for p in parts for v in p.extras.get(name, (math.nan,) * len(p))) for name in first.extras
        },
        in_sample=any(p.in_sample for p in parts),
        passes=sum((p.passes for p in parts), Passes()),
        seconds=sum(p.seconds for p in parts),
    )


# -- tables --------------------------------------------------------------------------------------------------


def table(them: Measurements) -> str:
    """Explanations × metrics: means over the images ± their standard errors.

    `*` marks the best of a column, `°` what is in sample; "(3 of 4)" says how many images have a value, where not all.
    """
    lines = _lines(them)
    heads = list(dict.fromkeys(_column(m) for m in them))
    best = {head: _best([m for m in them if _column(m) == head]) for head in heads}
    body = [["", *(f"{title} {ARROWS[better]}".strip() for title, better, _ in heads)]]
    for who, mine in lines.items():
        cells = {_column(m): m for m in mine}
        body.append([who, *(_cell(cells.get(head), best[head]) for head in heads)])
    widths = [max(len(row[i]) for row in body) for i in range(len(heads) + 1)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in body)


def _column(m: Measurement) -> tuple[str, str, str]:
    return m.title, m.better, json.dumps(_plain(dict(m.params)), sort_keys=True)


def _lines(them: Measurements) -> dict[str, list[Measurement]]:
    """The measurements by explanation; explanations of one name are numbered."""
    by_place: dict[int, list[Measurement]] = {}
    for m in them:
        by_place.setdefault(m.judged.place, []).append(m)
    lines: dict[str, list[Measurement]] = {}
    for mine in by_place.values():
        judged = mine[0].judged
        targets = tuple(dict.fromkeys(judged.target))
        name = judged.title + (f" ({targets[0]})" if len(targets) == 1 else "")
        tries = (name, *(f"{name} #{n}" for n in range(2, len(by_place) + 2)))
        lines[next(one for one in tries if one not in lines)] = mine
    return lines


def _best(column: list[Measurement]) -> float:
    means = [m.mean for m in column if not math.isnan(m.mean)]
    better = column[0].better
    if len(means) < 2 or better == "neither":
        return math.nan
    return max(means) if better == "higher" else min(means)


def _cell(m: Measurement | None, best: float) -> str:
    if m is None:
        return ""
    if not m.known:
        return f"– ({m.reasons[0]})" if m.reasons else "–"
    some = f" ({len(m.known)} of {len(m)})" if len(m.known) < len(m) else ""
    return _spoken(m.mean, m.error) + some + ("°" if m.in_sample else "") + ("*" if m.mean == best else "")


def _spoken(mean: float, error: float) -> str:
    return f"{mean:.3g}" + ("" if math.isnan(error) else f" ± {error:.2g}")


def _rows(m: Measurement) -> Iterator[dict[str, Any]]:
    for i, (image, value, reason) in enumerate(zip(m.images, m.values, m.reasons, strict=True)):
        error = math.nan if m.std_error is None else m.std_error[i]
        yield {
            "metric": m.metric,
            "method": m.judged.method,
            "place": m.judged.place,
            "target": m.judged.target[i],
            "image": image,
            "value": value,
            "std_error": error,
            "reason": reason,
            "better": m.better,
            **{f"extra.{name}": extra[i] for name, extra in m.extras.items()},
        }


# -- JSON ------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Numbers that JSON has none for become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _back(value: Any, whole: bool = True) -> Any:
    """Texts become numbers again, and lists tuples."""
    if isinstance(value, dict):
        return float(value["number"]) if value.keys() == {"number"} else {k: _back(v, whole) for k, v in value.items()}
    if isinstance(value, list):
        made = (_back(v, whole) for v in value)
        return tuple(made) if whole else list(made)
    return value


def _measurement(entry: dict[str, Any]) -> Measurement:
    names = {f.name for f in fields(Measurement)}
    if unknown := set(entry) - names:
        raise FormatError(f"unknown fields {sorted(unknown)}", f"fields {sorted(names)}")
    given: dict[str, Any] = {key: _back(value, key != "params") for key, value in entry.items()}
    judged: dict[str, Any] = {**given["judged"], "params": _back(entry["judged"]["params"], False)}
    given |= {"judged": Judged(**judged), "model": ModelCard(**given["model"]), "passes": Passes(**given["passes"])}
    made = Measurement(**given)
    if not _sound(made):
        raise FormatError("a measurement with fields of other types, or lists of other lengths", "what was saved")
    return made


def _sound(m: Measurement) -> bool:
    """Whether words are words, numbers are numbers, and lists have an entry for every image."""
    words = [m.metric, m.title, m.better, m.output, m.judged.title, m.judged.output, m.judged.method, m.model.name]
    lists = [m.images, m.values, m.reasons, m.judged.target, *([] if m.std_error is None else [m.std_error])]
    whole = all(isinstance(one, tuple) and len(one) == len(m.values) for one in lists)
    if not whole or type(m.judged.place) is not int:
        return False
    if m.better not in ARROWS or not isinstance(m.extras, Mapping) or not isinstance(m.params, Mapping):
        return False
    words += [*m.images, *m.reasons, *m.judged.target]
    numbers = [*m.values, *(m.std_error or ()), *m.range, m.seconds]
    return all(isinstance(one, str) for one in words) and all(type(one) in (int, float) for one in numbers)
