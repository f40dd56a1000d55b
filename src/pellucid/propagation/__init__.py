"""Other backward passes: rules that belong to operators, not to modules."""

from __future__ import annotations

from pellucid.propagation.audit import Audit, Entry
from pellucid.propagation.booked import Booked
from pellucid.propagation.composite import Composite, Inventory, Laid, On, inventory
from pellucid.propagation.gates import Deconv, Guided
from pellucid.propagation.intercept import Intercept
from pellucid.propagation.operators import Kind, Operator
from pellucid.propagation.rules import Call, Manner, Place, Rule, RuleSet

__all__ = [
    "Audit",
    "Booked",
    "Call",
    "Composite",
    "Deconv",
    "Entry",
    "Guided",
    "Intercept",
    "Inventory",
    "Kind",
    "Laid",
    "Manner",
    "On",
    "Operator",
    "Place",
    "Rule",
    "RuleSet",
    "inventory",
]
