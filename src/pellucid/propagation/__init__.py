"""Other backward passes: rules that belong to operators, not to modules."""

from __future__ import annotations

from pellucid.propagation.audit import Audit, Entry
from pellucid.propagation.gates import Deconv, Guided
from pellucid.propagation.intercept import Intercept
from pellucid.propagation.operators import Kind, Operator
from pellucid.propagation.rules import Call, Manner, Place, Rule, RuleSet

__all__ = [
    "Audit",
    "Call",
    "Deconv",
    "Entry",
    "Guided",
    "Intercept",
    "Kind",
    "Manner",
    "Operator",
    "Place",
    "Rule",
    "RuleSet",
]
