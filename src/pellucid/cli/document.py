"""Explanations as one JSON document: all but the numbers of maps; those of tokens and columns are few, and in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pellucid.core.explanation import TOKEN, Check, Explanation
from pellucid.core.players import players_of
from pellucid.views.words import describe, is_row, noun_of, per_token

SCHEMA = 1


def document(
    explanations: Sequence[Explanation], written: Sequence[Path] = (), failed: Sequence[str] = ()
) -> dict[str, Any]:
    """What was predicted and explained, by which methods, what the checks say, and which files were written."""
    models = {e.record.model.name: e for e in explanations}
    return {
        "schema": SCHEMA,
        "models": [_model(e) for e in models.values()],
        "explanations": [_entry(e) for e in explanations],
        "files": [str(path) for path in written],
        "failed": list(failed),
    }


def _model(e: Explanation) -> dict[str, Any]:
    p = e.prediction
    return {
        **asdict(e.record.model),
        "seconds": e.record.seconds,
        "passes": asdict(e.record.passes),
        "versions": dict(e.record.versions),
        "predictions": [
            {
                _name(e): name,
                "notes": list(notes),
                "top": [
                    {"index": i, "name": n, ("probability" if p.is_probability else "output"): v}
                    for i, n, v in zip(p.index[row], p.name[row], p.probability[row], strict=True)
                ],
            }
            for row, (name, notes) in enumerate(zip(e.inputs.name, e.inputs.notes, strict=True))
        ],
    }


def _entry(e: Explanation) -> dict[str, Any]:
    r = e.record
    return {
        "method": r.method,
        "title": r.title,
        "kind": e.kind.value,
        "params": dict(r.params),
        "model": r.model.name,
        "at": r.at,
        "seed": r.seed,
        "cite": list(r.cite),
        "decisions": list(r.decisions),
        "dims": list(e.dims),
        "shape": list(e.values.shape),
        "output": e.target.output,
        "asked": e.target.asked,
        f"{_name(e)}s": [_row(row) for row in e],
    }


def _name(e: Explanation) -> str:
    """`image`, `text` or `row`."""
    return noun_of(e).replace("photo", "image")


def _row(row: Explanation) -> dict[str, Any]:
    t = row.target
    return {
        _name(row): row.inputs.name[0],
        **({"tokens": _tokens(row)} if TOKEN in row.dims else {}),
        **({"columns": _columns(row)} if is_row(row) else {}),
        **({"taken": taken} if (taken := _taken(row)) else {}),
        "target": {"index": t.index[0], "name": t.name[0], "score": t.score[0]},
        "checks": [_check(c) for c in row.checks],
        "summary": describe(row),
    }


def _tokens(row: Explanation) -> list[dict[str, Any]]:
    """Every token with its number."""
    names, values = per_token(row)
    return [{"token": name, "value": value} for name, value in zip(names, values.tolist(), strict=False)]


def _columns(row: Explanation) -> list[dict[str, Any]]:
    """Every column with its value and its number."""
    return [
        {"column": p.name, "cell": p.value, "says": p.says, "value": p.weight, "std_error": p.std_error}
        for p in players_of(row)
    ]


def _taken(row: Explanation) -> dict[str, list[int]]:
    """How many samples or steps methods took that go on until they are enough."""
    return {name: row.extras[name].flatten().tolist() for name in ("samples", "steps") if name in row.extras}


def _check(c: Check) -> dict[str, Any]:
    """A check; one that is not judged has no verdict."""
    passed = c.passed[0] if c.judged else None
    return {"name": c.name, "value": c.value[0], "passed": passed, "limit": c.limit, "says": c.says}
