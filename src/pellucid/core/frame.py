"""Explanations as a table: the columns of R's lime, then ours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of

OF_R = (
    "model_type",
    "case",
    "label",
    "label_prob",
    "model_r2",
    "model_intercept",
    "model_prediction",
    "feature",
    "feature_value",
    "feature_weight",
    "feature_desc",
    "data",
    "prediction",
)
"""The columns of R's lime, in its order."""
OURS = ("std_error", "n_evaluations", "seed", "method")
LISTS = ("feature_value", "data", "prediction")
"""Columns that hold arrays, mappings and the like."""
NUMBERS = ("label_prob", "model_r2", "model_intercept", "model_prediction", "std_error")
"""Columns of numbers that may not be known."""
BACKENDS = ("pandas", "polars")


def frame(explanations: Sequence[Explanation], backend: str = "pandas") -> Any:
    """One line for every case, label and feature, in the order of the explanations.

    As in R a regression has no label and no probability of one, unless it has several outputs.

    backend: `pandas` or `polars`. Raises InputError where the package is not installed, or nobody plays.
    """
    if backend not in BACKENDS:
        raise ParameterError(f"backend={backend!r}", f"one of {', '.join(BACKENDS)}")
    try:
        package = import_module(backend)
    except ImportError as error:
        raise InputError(
            f"a table needs {backend}, which is not installed",
            " or ".join(BACKENDS),
            f"pip install {backend}, or pip install 'pellucid[frames]'",
        ) from error
    lines = [line for explanation in explanations for row in explanation for line in lines_of(row)]
    if not lines:
        raise InputError("no explanations to make a table of", "at least one")
    alone = all(line["model_type"] == "regression" for line in lines) and len({line["label"] for line in lines}) == 1
    kept = [name for name in (*OF_R, *OURS) if not (alone and name in ("label", "label_prob"))]
    columns = {name: [line[name] for line in lines] for name in kept}
    if backend == "pandas":
        known = {n: [float("nan") if v is None else v for v in c] if n in NUMBERS else c for n, c in columns.items()}
        return package.DataFrame({name: package.Series(column) for name, column in known.items()})
    series = package.Series
    return package.DataFrame(
        [series(n, c, dtype=package.Object) if n in LISTS else series(n, c) for n, c in columns.items()]
    )


def lines_of(row: Explanation) -> list[dict[str, Any]]:
    """The lines of a single row: one for every feature that could have a weight."""
    head = _head(row)
    sparse = row.record.params.get("features") is not None
    return [{**head, **_of(player)} for player in players_of(row) if player.weight or not sparse]


def _of(player: Player) -> dict[str, Any]:
    return {
        "feature": player.name,
        "feature_value": player.value,
        "feature_weight": player.weight,
        "feature_desc": player.says,
        "std_error": player.std_error,
    }


def _head(row: Explanation) -> dict[str, Any]:
    """What all lines of a row have in common."""
    r2 = row.check("r2")
    probable = row.prediction.is_probability
    return {
        "model_type": "classification" if probable else "regression",
        "case": row.inputs.name[0],
        "label": row.target.name[0],
        "label_prob": probability_of(row),
        "model_r2": None if r2 is None else r2.value[0],
        "model_intercept": _number(row, "intercept"),
        "model_prediction": _number(row, "prediction"),
        "data": _data(row),
        "prediction": _predicted(row) if probable else row.target.score[0],
        "n_evaluations": row.record.passes.forward,
        "seed": row.record.seed,
        "method": row.record.method,
    }


def probability_of(row: Explanation) -> float | None:
    """The probability of the class that was explained in a single row, where it is known."""
    if row.target.output == "probability" and row.prediction.is_probability:
        return row.target.score[0]
    known = zip(row.prediction.index[0], row.prediction.probability[0], strict=True)
    return next((p for index, p in known if row.prediction.is_probability and index == row.target.index[0]), None)


def _predicted(row: Explanation) -> dict[str, float]:
    """The best classes and their probabilities."""
    return dict(zip(row.prediction.name[0], row.prediction.probability[0], strict=True))


def _number(row: Explanation, name: str) -> float | None:
    known = row.extras.get(name)
    return None if known is None or known.ndim != 1 else float(known[0])


def _data(row: Explanation) -> Any:
    """What was explained: the picture's pixels, a row's columns, or the text."""
    if row.inputs.picture is not None:
        return row.inputs.picture[0].cpu().numpy()
    if row.inputs.cells:
        return dict(zip(row.inputs.features, row.inputs.cells[0], strict=True))
    return row.inputs.name[0]
