"""The verb feature_permutation: which columns of a table a model needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters import Handle
from pellucid.api.answers import Said, said_by, table_of
from pellucid.api.models import as_model
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.target import converted
from pellucid.studies.permutation import Importance, importance
from pellucid.studies.terms import Feature

METRICS = ("auto", "error", "log_loss", "squared_error")


def feature_permutation(
    model: Handle | nn.Module | str,
    data: Any,
    y: Any = None,
    *,
    metric: str | Callable[[Tensor, Any], Tensor] = "auto",
    groups: Mapping[str, Sequence[str | int]] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """How much worse the model gets where a column is shuffled over the rows: what it needs, not what the world needs.

    Shuffling parts a column from all others, so where columns go together the model is asked about rows that do not
    exist, and each of them may look useless because the other tells the same: give such columns as a group.

    model    as in `explain`
    data     a table
    y        what is right: class numbers or names, or numbers. None takes what the model says of the rows itself
    metric   `error` (share of wrong classes), `log_loss`, `squared_error`; `auto`: the error of classes, else the
             squared error; or a function of outputs [rows, outputs] and y to one loss per row, [rows]
    groups   columns that are shuffled together, by the name of the group; all others go alone
    repeats  shuffles of every column; each asks about all rows
    seed     draws them, for every column by itself
    Raises InputError for a table of one row or labels that do not fit, ParameterError for what cannot be used.
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ParameterError(f"repeats={repeats!r}", "a whole number, 1 or more")
    handle = as_model(model)
    rows, features = table_of(handle, data)
    if len(rows) < 2:
        raise InputError("a table of one row", "rows that can be shuffled")
    parts = _groups(features, groups or getattr(handle.preprocess, "groups", {}))
    with handle.ready(rows) as session:
        said = said_by(handle, session, rows)
        name, losses = _losses(said, y, metric)
        asked: Callable[[Tensor], Tensor] = lambda some: said_by(handle, session, some).outputs  # noqa: E731
        values, errors, loss = importance(asked, losses, rows, parts, repeats, seed)
    return Importance(
        features=tuple(parts),
        values=values,
        std_error=errors,
        loss=loss,
        metric=name,
        rows=len(rows),
        repeats=repeats,
        seed=seed,
        model=handle.name,
    )


def _groups(features: Sequence[Feature], groups: Mapping[str, Sequence[str | int]]) -> dict[str, list[int]]:
    names = [f.name for f in features]
    taken: dict[int, str] = {}
    for group, columns in groups.items():
        for key in columns:
            j = names.index(key) if key in names else key
            if isinstance(j, bool) or not isinstance(j, int) or not 0 <= j < len(names) or j in taken:
                raise ParameterError(f"column {key!r} in group {group!r}", f"one of {', '.join(names)}, once")
            taken[j] = group
    made: dict[str, list[int]] = {}
    for j, name in enumerate(names):
        made.setdefault(taken.get(j, name), []).append(j)
    return made


def _losses(
    said: Said, y: Any, metric: str | Callable[[Tensor, Any], Tensor]
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The name of a metric, and the loss of every row from outputs."""
    if not isinstance(metric, str):
        given = metric
        return getattr(given, "__name__", "the given metric"), lambda outputs: _rowwise(given(outputs, y), outputs)
    if metric not in METRICS:
        raise ParameterError(f"metric={metric!r}", f"one of {', '.join(METRICS)}, or a function")
    classes = said.outputs.shape[1] > 1 or said.emits != "values"
    if metric == "auto":
        metric = "error" if classes else "squared_error"
    if metric == "squared_error":
        right = said.outputs[:, 0] if y is None else torch.as_tensor(y).double()
        if said.outputs.shape[1] != 1 or right.shape != said.outputs[:, 0].shape:
            raise InputError(f"{tuple(right.shape)} right numbers", "one per row, of a model with one output")
        return metric, lambda outputs: (outputs[:, 0] - right).square()
    if not classes:
        raise ParameterError(f"metric={metric!r} of a model that gives a number", "squared_error")
    right = _log(said, said.outputs).argmax(1) if y is None else _numbers(said, y)
    if metric == "error":
        return metric, lambda outputs: (_log(said, outputs).argmax(1) != right).double()
    return metric, lambda outputs: -_log(said, outputs).gather(1, right[:, None])[:, 0]


def _log(said: Said, outputs: Tensor) -> Tensor:
    """Log probabilities of classes that exclude one another; of a single output: of no and of yes."""
    if outputs.shape[1] > 1:
        return converted(outputs, "log_probability", said.emits)
    yes = converted(outputs, "probability", said.emits)
    return torch.cat([1 - yes, yes], 1).clamp_min(torch.finfo(yes.dtype).tiny).log()


def _numbers(said: Said, y: Any) -> Tensor:
    """Class numbers of the rows, int64."""
    listed = y.tolist() if hasattr(y, "tolist") else list(y)
    count = max(2, said.outputs.shape[1])
    if len(listed) != len(said.outputs):
        raise InputError(f"{len(listed)} right classes for {len(said.outputs)} rows", "one per row")
    return torch.tensor([said.labels.find(one if isinstance(one, str) else int(one), count) for one in listed])


def _rowwise(losses: Any, outputs: Tensor) -> Tensor:
    found = torch.as_tensor(losses).double()
    if found.shape != outputs.shape[:1]:
        raise InputError(f"a metric that gives {tuple(found.shape)}", f"one loss per row, ({len(outputs)},)")
    return found
