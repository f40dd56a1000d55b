"""The arguments of a call: by name, and which of its inputs a signal can flow to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.rules import Call, Slot


def tracked(call: Call, count: int) -> tuple[int, ...]:
    """The inputs that a signal can flow to; the first one where nobody said."""
    return tuple(i for i in range(count) if call.tracked[i]) if call.tracked else (0,)


def only(call: Call, inputs: tuple[Tensor, ...]) -> int:
    """The one input that a signal can flow to."""
    found = tracked(call, len(inputs))
    if len(found) != 1:
        raise RuleError(
            f"{call.operator.name} in layer {call.place.layer!r} combines {len(found)} tensors of the input",
            "one such tensor, for a rule of linear maps",
            "give it a rule of several inputs: Norm for sums, Product or MatrixProduct for products",
        )
    return found[0]


def bound(call: Call, names: tuple[str, ...], inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """The arguments of a call by name, tensors in their places."""
    args, kwargs = call.filled(inputs)
    return dict(zip(names, args, strict=False)) | kwargs


def slot(call: Call, names: tuple[str, ...], name: str) -> int | None:
    """Which input of the call an argument is."""
    given: dict[str, Any] = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    value = given.get(name)
    return value.index if isinstance(value, Slot) else None
