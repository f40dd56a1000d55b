"""Any set of rules with its books kept: the audit of every backward pass is collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pellucid.propagation.audit import Audit
from pellucid.propagation.rules import Manner, Place, Rule, RuleSet


@dataclass(frozen=True, slots=True, eq=False)
class Booked:
    """A set of rules that is told the audit of each pass, in which layers are named. Every one is another.

    rules  the set of rules
    told   the audits so far
    """

    rules: RuleSet
    told: list[Audit] = field(default_factory=list)

    @property
    def name(self) -> str:
        """That of the rules."""
        return self.rules.name

    @property
    def manner(self) -> Manner:
        """That of the rules; relevance is counted, multipliers and gradients are not: their sums mean nothing."""
        manner = self.rules.manner
        return replace(manner, named=True, full=manner.start == "score")

    @property
    def counts(self) -> bool:
        """Whether positions must be settled, as for a composite."""
        return bool(getattr(self.rules, "counts", False))

    def laid(self, places: Sequence[Place]) -> Booked:
        """The rules for one model, told to the same list."""
        rules: Any = self.rules
        return Booked(rules.laid(places), self.told)

    def rule_for(self, place: Place) -> Rule | None:
        """The rules' own."""
        return self.rules.rule_for(place)

    def tell(self, audit: Audit) -> None:
        """The audit of a pass that can be trusted."""
        self.told.append(audit)
