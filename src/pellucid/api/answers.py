"""What a model says of rows, all outputs at once: for studies of many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.adapters import Handle, Ready
from pellucid.api.entries import references_of
from pellucid.api.sessions import known_of
from pellucid.api.waves import finite, waves_of
from pellucid.core.errors import InputError, NonFinite, TargetError
from pellucid.core.explanation import Inputs
from pellucid.core.target import Asked, Class, Each, Output, Score, Top, Unit, as_targets, resolve
from pellucid.core.target import Labels as Names
from pellucid.engine import run
from pellucid.studies.terms import Feature


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """Raw outputs [rows, outputs], what they are, and the names of the classes."""

    outputs: Tensor
    emits: str
    labels: Names

    @property
    def classes(self) -> Tensor | None:
        """The class of every row, int64 [rows]; None where one number is given, or classes exclude nothing."""
        alone = self.outputs.shape[1] == 1 or self.emits == "sigmoid_logits"
        return None if alone else self.outputs.argmax(1)

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(self.labels.name(i) for i in range(self.outputs.shape[1]))

    def number(self, target: Asked, output: Output | None) -> tuple[Tensor, str]:
        """The number that a target is, float64 [rows], and its name.

        target  one class, contrast or function; None: the class that the model says most often, or the only output
        output  None: the probability, where the model has one
        Raises TargetError for several targets, and for those that are no number of the outputs.
        """
        kind = output or ("logit" if self.emits == "values" else "probability")
        if target is None:
            often = 0 if self.classes is None else int(self.classes.bincount().argmax())
            if self.classes is None and self.outputs.shape[1] > 1:
                raise TargetError("classes that exclude nothing", "one of them", "target='...'")
            target = Class(often)
        targets = as_targets(target)
        if len(targets) != 1 or isinstance(targets[0], (Top, Each, Unit)):
            raise TargetError(f"target={target!r} of many rows", "one class, Contrast or Score")
        pick = resolve(targets[0], self.outputs, kind, self.emits, self.labels)[0]
        value = pick.value(self.outputs, torch.arange(len(self.outputs)), self.emits).double()
        said = pick.chosen(value, self.labels).name[0]
        plain = isinstance(targets[0], Score) or (kind == "logit" and self.emits == "values")
        return value, said if plain else f"{kind.replace('_', ' ')} of {said}"


def said_of(handle: Handle, rows: Tensor) -> Said:
    """Ask a model about rows as it takes them. Raises NonFinite where it gives NaN or infinity."""
    with handle.ready(rows) as session:
        return said_by(handle, session, rows)


def said_by(handle: Handle, session: Ready, rows: Tensor) -> Said:
    """The same of a session that is open for such rows."""
    answered = run(session, rows, [], references_of(handle), known=known_of(session))
    outputs = answered.outputs.detach().double().cpu()
    if not finite(outputs):
        raise NonFinite(f"{handle.name} gives NaN or infinity", "finite scores", "check the input's range")
    return Said(outputs=outputs, emits=session.emits, labels=session.labels)


def rows_of(handle: Handle, data: Any) -> tuple[Tensor, Inputs]:
    """All rows of some data at once, and what the first of them are. Raises InputError for rows of several shapes."""
    waves = list(waves_of(handle, data, []))
    if len({wave.x.shape[1:] for wave in waves}) > 1:
        raise InputError("rows of several shapes", "rows of one shape")
    return torch.cat([wave.x for wave in waves]), waves[0].inputs


def table_of(handle: Handle, data: Any) -> tuple[Tensor, tuple[Feature, ...]]:
    """Rows of numbers [rows, columns], and what the columns are. Raises InputError for rows that are no table."""
    rows, inputs = rows_of(handle, data)
    if rows.ndim != 2 or not rows.is_floating_point():
        raise InputError(f"rows of shape {tuple(rows.shape[1:])}", "a table: rows of numbers, one for every column")
    return rows, features_of(handle, inputs, rows.shape[1])


def features_of(handle: Handle, inputs: Inputs, columns: int) -> tuple[Feature, ...]:
    """Names of the columns, and of the categories of those that have them."""
    names = inputs.features or tuple(f"x{i}" for i in range(columns))
    known: Sequence[Any] = getattr(handle.preprocess, "columns", ())
    if len(known) != columns:
        return tuple(Feature(name=name) for name in names)
    levels = [tuple(map(str, column.values)) if column.coded else () for column in known]
    return tuple(Feature(name=name, values=one) for name, one in zip(names, levels, strict=True))
