"""Boosted trees by themselves: the `Booster` of xgboost and that of lightgbm, without their scikit-learn dress."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

Score = Callable[[Any], Any]
LABELS = ("0", "1")


def is_booster(model: Any) -> bool:
    """Whether something is a booster of one of these packages; neither is imported to find out."""
    kind = type(model)
    return kind.__name__ == "Booster" and kind.__module__.partition(".")[0] in ("xgboost", "lightgbm")


def boosted(model: Any) -> tuple[Score, tuple[str, ...] | None]:
    """The function that scores frames and arrays, and the names of its outputs where there are two.

    One chance of a binary objective becomes the chances of both classes; xgboost's `multi:softmax`, which gives
    the best class alone, is asked for its margins.
    """
    return _xgboost(model) if type(model).__module__.startswith("xgboost") else _lightgbm(model)


def _xgboost(model: Any) -> tuple[Score, tuple[str, ...] | None]:
    xgboost: Any = import_module("xgboost")  # of whose kind the model is
    objective = json.loads(model.save_config())["learner"]["objective"]["name"]

    def score(rows: Any) -> Any:
        named = hasattr(rows, "columns") or hasattr(rows, "column_names")
        data = xgboost.DMatrix(rows, feature_names=None if named else model.feature_names, enable_categorical=True)
        found = model.predict(data, output_margin=objective == "multi:softmax")
        return _both(found) if objective == "binary:logistic" else found

    return score, LABELS if objective == "binary:logistic" else None


def _lightgbm(model: Any) -> tuple[Score, tuple[str, ...] | None]:
    objective = str(model.dump_model(num_iteration=1).get("objective", "")).partition(" ")[0]
    if objective not in ("binary", "cross_entropy"):
        return model.predict, None
    return lambda rows: _both(model.predict(rows)), LABELS


def _both(chance: Any) -> Any:
    import numpy as np

    return np.stack([1 - chance, chance], 1)
