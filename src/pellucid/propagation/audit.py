"""What the interceptor met: one line per call of an operator, and a table of them to print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

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

    def __call__(self, *_: Any) -> None:
        self.runs += 1


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
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
        ran = sum(entry.ran for entry in self.served)
        total = f"{self.rules}: {ran} of {len(self.served)} served calls ran in the backward pass"
        return "\n".join([line.rstrip() for line in lines] + [total])


def _ran(runs: int) -> str:
    return "no" if runs == 0 else "yes" if runs == 1 else f"yes, {runs} times"
