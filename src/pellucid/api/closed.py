"""Shapley values in closed form: of trees and of linear models, without samples and without error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.adapters import FunctionModel, Handle
from pellucid.adapters.closed import linear_values, tree_values
from pellucid.api.asking import targets_of, tasks_of
from pellucid.api.entries import degenerate, explained
from pellucid.api.waves import waves_of
from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.errors import TargetError, UnsupportedModel
from pellucid.core.explanation import Explanation, Kind, cat
from pellucid.core.method import About
from pellucid.core.target import Asked
from pellucid.preprocess import Table


def tree_shap(model: Handle, inputs: Any, *, target: Asked = None) -> Explanation:
    """The exact Shapley values of an ensemble of trees, by the algorithm of the `shap` package [Lundberg et al. 2020].

    Columns that are away take the values of the table's background, as in `KernelSHAP` with the same background, whose
    exact values these are. What is explained is the probability, where the model gives one, else its value.

    model   a handle of scikit-learn's, xgboost's or lightgbm's trees, wrapped with its table
    inputs  rows of the table
    target  one class, by name or number; None is the top class of every row
    Raises UnsupportedModel for other models.
    """
    handle, table = _known(model)
    return _explained(handle, table, inputs, target, TREE)


def linear_shap(model: Handle, inputs: Any, *, target: Asked = None) -> Explanation:
    """φ_i = w_i (x_i − E b_i), for a model that is seen to be linear in its columns    [Lundberg & Lee 2017, cor. 1]

    Arguments as in `tree_shap`. Raises UnsupportedModel where scores are no sum of columns, such as probabilities.
    """
    handle, table = _known(model)
    return _explained(handle, table, inputs, target, LINEAR)


@dataclass(frozen=True, slots=True)
class Closed:
    """Rides in the engine for the scores; the values are put in afterwards."""

    about: About
    columns: int

    async def explain(self, q: Query) -> Attribution:
        score: Tensor = await q.score()
        return attribution(score.new_zeros(*score.shape, self.columns), dims=("feature",))


def _about(name: str, title: str, cite: str, summary: str) -> About:
    return About(
        name=name, title=title, kind=Kind.CONTRIBUTION, cite=(cite,), needs=frozenset({Can.SCORE}),
        keeps=frozenset({"completeness"}), output="probability", family="perturbation", summary=summary,
    )  # fmt: skip


TREE = _about("tree_shap", "Tree SHAP", "lundberg2020local", "Exact Shapley values of trees.")
LINEAR = _about("linear_shap", "Linear SHAP", "lundberg2017unified", "Exact Shapley values of a linear model.")


def _known(model: Handle) -> tuple[FunctionModel, Table]:
    if not isinstance(model, FunctionModel) or not isinstance(model.preprocess, Table):
        raise UnsupportedModel(f"{model!r}", "a model of tables: pellucid.wrap(model, frame)")
    return model, model.preprocess


def _explained(handle: FunctionModel, table: Table, inputs: Any, target: Asked, about: About) -> Explanation:
    parts: list[Explanation] = []
    method: Any = Closed(about, len(table.columns))
    for wave in waves_of(handle, inputs, []):
        values, number = _values(handle, table, wave.x, about)
        output: Any = "probability" if number == "probability" else "logit"
        tasks = tasks_of(handle, (method,), targets_of(target, None, None), output)
        entries = explained(handle, wave, tasks, None)
        if len(entries) != 1 or None in entries[0].target.index:
            raise TargetError(f"{about.title} of {target!r}", "one class, by name or number, or the top class")
        (entry,) = entries
        rows = torch.arange(len(wave.x))
        at = torch.tensor(entry.target.index) if len(values) > 1 else torch.zeros_like(rows)
        sign = 1 - 2 * (torch.tensor(entry.target.index) == 0) if _binary(values, entry) else torch.ones_like(rows)
        shown = values[at, rows] * sign[:, None]
        others = tuple(c for c in entry.checks if c.name != "degenerate")  # that one is about the values put in here
        checks = (degenerate(shown, entry.kind), *others)
        parts.append(replace(entry, values=shown, extras={"players": shown}, checks=checks))
    return cat(parts)


def _binary(values: Tensor, entry: Explanation) -> bool:
    """Whether the only number is that of the second of two classes."""
    return len(values) == 1 and entry.outputs is not None and entry.outputs.shape[1] == 2


def _values(handle: FunctionModel, table: Table, rows: Tensor, about: About) -> tuple[Tensor, str]:
    if about is LINEAR:
        return linear_values(handle, rows, table.background), "value"
    return tree_values(handle, rows, table.background)
