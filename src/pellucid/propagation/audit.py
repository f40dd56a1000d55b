"""What the interceptor met: one line per call of an operator, and a table of them to print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from pellucid.propagation.operators import Kind

PLAIN = "plain gradient"
THROUGH = "passes through"
NO_RULE = "no rule: plain gradient"


@dataclass(slots=True, eq=False)
class Met:
    """One call as it is counted while the model runs; being called itself marks one run in the backward pass.

    operator  its name
    kind      what it does
    layer     dotted name of the module that was running, "" for the model itself
    call      1 for the first call of this operator in this layer, 2 for the second …
    rule      the rule's name, or why there is none
    served    whether a rule took the place of the gradient
    runs      how often it ran in a backward pass
    """

    operator: str
    kind: Kind
    layer: str
    call: int
    rule: str
    served: bool
    runs: int = 0
    relevance_in: float | None = None
    relevance_out: float | None = None
    to_constants: float | None = None

    def __call__(self, *_: Any) -> None:
        self.runs += 1

    def book(self, upstream: Sequence[Any], signals: Sequence[Tensor | None], tracked: Sequence[bool]) -> None:
        """Enter what came to a call in one backward pass, and what it passed on to its inputs and to constants."""
        on = zip(signals, tracked, strict=False)
        flows = [(total(signal), flag) for signal, flag in on if signal is not None]
        self.relevance_in = (self.relevance_in or 0.0) + sum(map(total, upstream))
        self.relevance_out = (self.relevance_out or 0.0) + sum(value for value, flag in flows if flag)
        self.to_constants = (self.to_constants or 0.0) + sum(value for value, flag in flows if not flag)

    def moved(self, signals: Sequence[Tensor | None], upstream: Sequence[Tensor | None]) -> None:
        """The same for a call left to torch, as a hook on its only node."""
        self.book([signal for signal in upstream if signal is not None], signals, [True] * len(signals))


def label(kind: Kind, kwargs: Mapping[str, Any]) -> str:
    """What becomes of the signal at a call without a rule."""
    if kind in (Kind.ACTIVATION, Kind.SOFTMAX, Kind.RECTIFIER):
        return NO_RULE
    if kind is Kind.DROPOUT:
        return f"random: {PLAIN}" if kwargs.get("training", False) else THROUGH
    return THROUGH if kind in (Kind.SHAPE, Kind.JOIN, Kind.CAST) else PLAIN


def total(signal: Tensor) -> float:
    """The sum of a signal."""
    return float(signal.detach().sum(dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit; the fields are those of `Met`."""

    operator: str
    kind: Kind
    layer: str
    call: int
    rule: str
    served: bool
    runs: int
    relevance_in: float | None = None
    relevance_out: float | None = None
    to_constants: float | None = None

    @classmethod
    def of(cls, met: Met) -> Entry:
        """What was counted, as it is now."""
        return cls(**{field.name: getattr(met, field.name) for field in fields(cls)})

    @property
    def ran(self) -> bool:
        """Whether it ran in a backward pass."""
        return self.runs > 0


@dataclass(frozen=True, slots=True)
class Audit:
    """Every operator that the model called where gradients were recorded, in execution order.

    Several passes through one model share their lines. `print(audit)` shows a table.
    """

    rules: str
    entries: tuple[Entry, ...] = field(default=())
    full: bool = False

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def served(self) -> tuple[Entry, ...]:
        """The calls whose gradient was replaced by a rule."""
        return tuple(entry for entry in self.entries if entry.served)

    @property
    def unruled(self) -> tuple[Entry, ...]:
        """The activations for which the rules have no meaning, so that their ordinary gradient was used."""
        return tuple(entry for entry in self.entries if entry.rule == NO_RULE)

    def __str__(self) -> str:
        head = ("#", "operator", "layer", "call", "rule", "ran in backward")
        rows = [
            (str(i), e.operator, e.layer or "(model)", str(e.call), e.rule, _ran(e.runs))
            for i, e in enumerate(self.entries, 1)
        ]
        ran = sum(entry.ran for entry in self.served)
        served = f"{self.rules}: {ran} of {len(self.served)} served calls ran in the backward pass"
        return f"{tabulated(head, rows)}\n{served}"


def _ran(runs: int) -> str:
    return "no" if runs == 0 else "yes" if runs == 1 else f"yes, {runs} times"


def tabulated(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, each as wide as its longest word."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)
