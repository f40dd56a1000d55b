"""Explanations as one JSON document: everything but the numbers of the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pellucid.core.explanation import Check, Explanation
from pellucid.views.words import describe

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
                "image": name,
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
        "images": [_row(row) for row in e],
    }


def _row(row: Explanation) -> dict[str, Any]:
    t = row.target
    return {
        "image": row.inputs.name[0],
        "target": {"index": t.index[0], "name": t.name[0], "score": t.score[0]},
        "checks": [_check(c) for c in row.checks],
        "summary": describe(row),
    }


def _check(c: Check) -> dict[str, Any]:
    return {"name": c.name, "value": c.value[0], "passed": c.passed[0], "limit": c.limit, "says": c.says}
