"""Calls as a rule meets them, made without a model; and their matrices, found by probing with unit vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid.propagation.operators import Kind, operator_of
from pellucid.propagation.rules import Call, Fate, Place, Rule, taken_apart

Array = Tensor
"""[outputs, inputs] and the like, float64."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Made:
    """One call with its tensors."""

    def __init__(
        self,
        function: Callable[..., Any],
        *args: Any,
        tracked: tuple[int, ...] = (0,),
        gates: tuple[int, ...] = (),
        affine: tuple[Tensor, Tensor] | None = None,
        full: bool = False,
        **kwargs: Any,
    ) -> None:
        inputs: list[Tensor] = []
        slots = tuple(taken_apart(a, inputs) for a in args)
        words = {key: taken_apart(value, inputs) for key, value in kwargs.items()}
        operator = operator_of(function)
        self.inputs = tuple(inputs)
        self.call = Call(
            operator,
            function,
            slots,
            words,
            False,
            tracked=tuple(i in tracked for i in range(len(inputs))),
            gates=tuple(i in gates for i in range(len(inputs))),
            place=Place(operator.kind, operator.name, "here"),
            full=full,
            fate=Fate(affine=affine),
        )

    @property
    def kind(self) -> Kind:
        return self.call.place.kind

    def output(self) -> Tensor:
        return self.call.run(self.inputs)

    def back(self, rule: Rule, r: Tensor) -> tuple[Tensor | None, ...]:
        kept = rule.keep(self.call, self.inputs)
        if rule.borrows_output(self.call):
            kept = (*kept, self.output())
        with torch.no_grad():
            return rule.back(self.call, kept, r)

    def relevance(self, rule: Rule, r: Tensor, index: int = 0) -> Tensor:
        found = self.back(rule, r)[index]
        assert found is not None
        return found


def matrix(function: Callable[[Tensor], Tensor], a: Tensor) -> tuple[Tensor, Tensor]:
    """[outputs, inputs] and [outputs] of an affine function of one row, column by column."""
    b = function(torch.zeros_like(a)).flatten()
    columns = []
    for i in range(a.numel()):
        unit = torch.zeros_like(a).flatten()
        unit[i] = 1
        columns.append(function(unit.view_as(a)).flatten() - b)
    return torch.stack(columns, 1), b


def stable(z: float, epsilon: float) -> float:
    return z + epsilon if z >= 0 else z - epsilon
