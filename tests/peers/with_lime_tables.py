"""A table, a model of it, and what the Python lime says of a row, with the rows that it drew and was told of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pellucid import Table, TabularLIME
from pellucid.ops.columns import Columns

RNG = np.random.default_rng(0)
TRAIN = np.column_stack([RNG.gamma(2, 3, 300), RNG.normal(5, 2, 300), RNG.normal(0, 9, 300), RNG.integers(0, 3, 300)])
NAMES = ["a", "b", "c", "kind"]
W = RNG.normal(size=(4, 3))


def probabilities(rows: Any) -> Any:
    score = np.tanh(rows / 5) @ W + 0.3 * (rows[:, 3:] == 1)
    return np.exp(score) / np.exp(score).sum(1, keepdims=True)


def lime_tabular() -> Any:
    import lime.lime_tabular

    return lime.lime_tabular


def lime_s(**options: Any) -> Any:
    return lime_tabular().LimeTabularExplainer(
        TRAIN, feature_names=NAMES, categorical_features=[3], random_state=3, **options
    )


def kept(explainer: Any, row: Any, predict: Any, **options: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """What lime says, the rows that it drew, and what it was told of them."""
    seen: list[tuple[Any, Any]] = []

    def watched(rows: Any) -> Any:
        seen.append((rows.copy(), predict(rows)))
        return seen[-1][1]

    said = explainer.explain_instance(row, watched, num_samples=800, **options)
    rows, scores = seen[0]
    return said, torch.from_numpy(rows), torch.from_numpy(scores.reshape(len(rows), -1).T)


def columns(method: TabularLIME) -> Columns:
    table = Table.of(TRAIN, names=NAMES, types={"kind": "categorical"})
    types = [column.type for column in table.columns]
    draw = "normal" if method.draw == "auto" else method.draw
    return Columns.of(table.training, types, method.bins or None, method.quantiles, draw)
