"""What the interceptor says when it cannot go on."""

from __future__ import annotations

from collections.abc import Iterable

from pellucid.core.errors import RuleError
from pellucid.propagation.audit import NO_RULE, Met


def opaque_call(operator: str, layer: str, rules: str) -> RuleError:
    """One call of torch does the work of a whole layer."""
    return RuleError(
        f"{operator} in layer {layer!r} is one call that hides its inside",
        f"operators for which {rules} has a rule",
        "use a method without backward rules, such as integrated gradients",
    )


def checkpointed(layer: str) -> RuleError:
    """Activations are thrown away and computed again."""
    return RuleError(
        f"Activation checkpointing is on in layer {layer!r}: its second forward pass would run without the rules",
        "a model that runs forward once",
        "switch it off (`model.gradient_checkpointing_disable()`, `model.set_grad_checkpointing(False)`)",
    )


def nothing_ran(met: Iterable[Met], rules: str, down_to: str = "") -> RuleError:
    """No rule ran: the map would be the plain gradient under another name. down_to: where the signal was read."""
    met = list(met)
    served = [one for one in met if one.served]
    if served and down_to:
        return RuleError(
            f"nothing that {rules} serves lies between the layer {down_to!r} and the score",
            "a layer with operators behind it",
            "choose a layer further from the output",
        )
    if served:
        return RuleError(
            f"None of the {len(served)} operators that {rules} serves ran in the backward pass; the first is "
            f"{served[0].operator} in layer {served[0].layer!r}",
            "a backward pass from an output of this forward pass through at least one of them",
            "verify after the backward pass, and choose a target that depends on them",
        )
    others = sorted({one.operator for one in met if one.rule == NO_RULE})
    return RuleError(
        f"{rules} met no operator that it serves" + (f"; the activations are {', '.join(others)}" if others else ""),
        "an operator with a rule between input and target (a rectifier for guided and deconv), under gradients",
        "use a method that needs no rules, such as gradient or integrated gradients",
    )
