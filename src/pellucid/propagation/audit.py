"""What the interceptor met: one line per call of an operator, and a table of them to print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

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

    def moved(self, node: Any) -> None:
        """Enter the same for a call left to torch, of which this is the only node, whenever a signal passes it.

        What an operator that only moves numbers does not give to its inputs lies at constants: padding, class tokens,
        positions that a mask has filled.
        """
        tracked = [behind is not None and "AccumulateGrad" not in behind.name() for behind, _ in node.next_functions]

        def enter(signals: Sequence[Tensor | None], upstream: Sequence[Tensor | None]) -> None:
            self.book([signal for signal in upstream if signal is not None], signals, tracked)
            if self.kind in _MOVING and self.relevance_in is not None and self.relevance_out is not None:
                self.to_constants = self.relevance_in - self.relevance_out

        node.register_hook(enter)


_MOVING: Final = frozenset((Kind.SHAPE, Kind.JOIN, Kind.CAST, Kind.MAX_POOL))


def label(kind: Kind, kwargs: Mapping[str, Any]) -> str:
    """What becomes of the signal at a call without a rule."""
    if kind in (Kind.ACTIVATION, Kind.SOFTMAX, Kind.RECTIFIER):
        return NO_RULE
    if kind is Kind.DROPOUT:
        return f"random: {PLAIN}" if kwargs.get("training", False) else THROUGH
    return THROUGH if kind in _MOVING else PLAIN


def total(signal: Tensor) -> float:
    """The sum of a signal."""
    return float(signal.detach().sum(dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit: the fields of `Met`, and where the books were kept, what they say.

    relevance_in   sum of what came to the call in the backward pass; None where it was not counted
    relevance_out  sum of what it passed on to inputs that depend on the model's input
    to_constants   sum of what it gave to biases, and what lay at constants that were joined or padded
    """

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

    @property
    def leak(self) -> float | None:
        """What came in and went nowhere; below zero for what came from nowhere."""
        if self.relevance_in is None or self.relevance_out is None or self.to_constants is None:
            return None
        return self.relevance_in - self.relevance_out - self.to_constants


@dataclass(frozen=True, slots=True)
class Audit:
    """Every operator that the model called where gradients were recorded, in execution order.

    Several passes through one model share their lines. `print(audit)` shows a table; where books were kept, the calls
    that leak most stand first.

    rules    the name of the set of rules
    entries  the calls
    full     whether books were kept: then `started` is the relevance at the model's output, and `arrived` what of it
             is found at its input
    """

    rules: str
    entries: tuple[Entry, ...] = field(default=())
    full: bool = False
    started: float | None = None
    arrived: float | None = None

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

    @property
    def worst(self) -> tuple[Entry, ...]:
        """All calls, those that leak most first."""
        return tuple(sorted(self.entries, key=lambda entry: -abs(entry.leak or 0.0)))

    @property
    def to_constants(self) -> float:
        """What all calls gave to biases and constants."""
        return sum(entry.to_constants or 0.0 for entry in self.entries)

    @property
    def leaked(self) -> float:
        """What all calls lost."""
        return sum(entry.leak or 0.0 for entry in self.entries)

    def table(self, limit: int | None = None) -> str:
        """The lines that `print` shows; at most `limit` calls."""
        numbered = {id(entry): str(i) for i, entry in enumerate(self.entries, 1)}
        listed = (self.worst if self.full else self.entries)[:limit]
        head = ("#", "operator", "layer", "call", "rule", *self.columns)
        rows = [
            (numbered[id(e)], e.operator, e.layer or "(model)", str(e.call), e.rule, *self.counted(e)) for e in listed
        ]
        left = len(self.entries) - len(listed)
        more = [f"… and {left} more calls"] if left else []
        return "\n".join([tabulated(head, rows), *more, *self.sums()])

    def __str__(self) -> str:
        return self.table()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is counted of every call."""
        return ("relevance in", "relevance out", "to constants", "leak") if self.full else ("ran in backward",)

    def counted(self, entry: Entry) -> tuple[str, ...]:
        """What was counted of one call, in words."""
        if not self.full:
            return (_ran(entry.runs),)
        return tuple(map(_sum, (entry.relevance_in, entry.relevance_out, entry.to_constants, entry.leak)))

    def sums(self) -> Iterator[str]:
        """What was counted of all."""
        ran = sum(entry.ran for entry in self.served)
        yield f"{self.rules}: {ran} of {len(self.served)} served calls ran in the backward pass"
        if self.full:
            yield (
                f"relevance: {_sum(self.started)} at the output, {_sum(self.arrived)} at the input, "
                f"{_sum(self.to_constants)} at biases and constants, {_sum(self.leaked)} leaked"
            )


def _sum(value: float | None) -> str:
    return "·" if value is None else f"{value:.4g}"


def _ran(runs: int) -> str:
    return "no" if runs == 0 else "yes" if runs == 1 else f"yes, {runs} times"


def tabulated(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, each as wide as its longest word."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)
