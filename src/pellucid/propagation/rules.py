"""Backward rules, and the sets of rules that say which operator is served by which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pellucid.propagation.operators import Kind, Operator


@dataclass(frozen=True, slots=True)
class Slot:
    """Marks the place of input number `index` among the arguments of a call."""

    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator, with its tensors taken out: it can be kept without keeping memory.

    operator  the row of the table
    function  the torch function that was called
    args      its positional arguments, a `Slot` where a tensor was
    kwargs    its keyword arguments, likewise
    inplace   whether it overwrites input 0
    subject   for rectifiers: which input is rectified
    """

    operator: Operator
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inplace: bool
    subject: int = 0

    def filled(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with tensors in their places again."""
        return tuple(_fill(a, inputs) for a in self.args), {k: _fill(v, inputs) for k, v in self.kwargs.items()}

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """Call the torch function; overwrites `inputs[0]` if `inplace`."""
        args, kwargs = self.filled(inputs)
        return self.function(*args, **kwargs)

    def slope(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """A rectifier's derivative at every element of its subject; bool where it is only a gate."""
        args, kwargs = self.filled(inputs)
        if self.operator.slope is None:
            raise TypeError(f"{self.operator.name} is not a rectifier")
        return self.operator.slope(inputs[self.subject], *args[1:], **kwargs)


def _fill(value: Any, inputs: tuple[Tensor, ...]) -> Any:
    if isinstance(value, Slot):
        return inputs[value.index]
    if isinstance(value, list | tuple) and any(isinstance(item, Slot) for item in value):
        return type(value)(_fill(item, inputs) for item in value)
    return value


def taken_apart(value: Any, inputs: list[Tensor]) -> Any:
    """The inverse of filling: put the tensors of an argument into `inputs`, and slots in their places."""
    if isinstance(value, Tensor):
        inputs.append(value)
        return Slot(len(inputs) - 1)
    if type(value) in (list, tuple) and any(isinstance(item, Tensor) for item in value):
        return type(value)(taken_apart(item, inputs) for item in value)
    return value


class Rule(Protocol):
    """What an operator does to the signal that comes back.

    `keep` runs before the operator and returns the tensors that `back` will need. They may be the inputs themselves
    (an input that the operator overwrites is cloned), but a mask costs less and cannot be overwritten by others.
    `back` runs in the backward pass, without gradients, autocast or interception, perhaps several times and perhaps
    under vmap (so: `where`, never masked assignment). It returns one gradient or None for each input.
    """

    @property
    def name(self) -> str:
        """One or two words, for the audit."""
        ...

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the backward pass needs, out of the inputs."""
        ...

    def keeps_output(self, call: Call) -> bool:
        """Whether the output is kept too, as the last of what `back` gets. Torch refuses to overwrite it then."""
        ...

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The signal for every input, from the signals of the outputs."""
        ...


class RuleSet(Protocol):
    """Says which rule serves an operator; the only question the interceptor asks. Frozen and hashable."""

    @property
    def name(self) -> str:
        """One or two words, for messages."""
        ...

    def rule_for(self, kind: Kind, operator: str, layer: str) -> Rule | None:
        """The rule, or None for the plain gradient; raises RuleError where neither has a meaning."""
        ...


@dataclass(frozen=True, slots=True)
class Guided:
    """R_in = φ'(x) · 1[R_out > 0] · R_out on rectifiers    [springenberg2015striving, sec. 3.4]

    For a ReLU φ' is 1[x > 0]. For ReLU6, hardtanh and clamps it is also 0 where the upper end cuts. Leaky and smooth
    rectifiers (LeakyReLU, PReLU, RReLU, ELU, SELU, CELU, Softplus) keep their own slope, so that the rule goes over
    into that of the ReLU as the leak goes to zero. All other operators have their plain gradient.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "guided"

    def rule_for(self, kind: Kind, operator: str, layer: str) -> Rule | None:
        """Itself for rectifiers."""
        return self if kind is Kind.RECTIFIER else None

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What torch itself keeps for relu and hardtanh; φ'(x) for the others, one byte per element for gates."""
        if call.operator.name in NATIVE:
            return () if self.keeps_output(call) else (inputs[call.subject],)
        return (call.slope(inputs),)

    def keeps_output(self, call: Call) -> bool:
        """For relu, and for hardtanh in place, as torch does: y lies inside the clips exactly where x does."""
        name = call.operator.name
        return name == "relu" or (name in NATIVE and call.inplace)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """φ'(x) · max(R_out, 0)."""
        native = NATIVE.get(call.operator.name)
        if native is not None:
            return _for_subject(call, native(call, upstream[0], kept[0]).clamp_(min=0))
        slope, risen = kept[0], upstream[0].clamp(min=0)
        return _for_subject(call, gated(risen, slope) if slope.dtype is torch.bool else slope * risen)


@dataclass(frozen=True, slots=True)
class Deconv:
    """R_in = 1[R_out > 0] · R_out on rectifiers    [zeiler2014visualizing, sec. 2.1]

    The deconvnet passes the signal through a ReLU of its own and never looks at the forward pass: neither at the
    sign of x, nor at the upper end of a ReLU6, hardtanh or clamp, nor at the slope of leaky and smooth rectifiers.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "deconv"

    def rule_for(self, kind: Kind, operator: str, layer: str) -> Rule | None:
        """Itself for rectifiers."""
        return self if kind is Kind.RECTIFIER else None

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()

    def keeps_output(self, call: Call) -> bool:
        """Nothing."""
        return False

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """max(R_out, 0)."""
        return _for_subject(call, upstream[0].clamp(min=0))


def gated(signal: Tensor, gate: Tensor) -> Tensor:
    """The signal where the gate is open, else 0: `where(gate, signal, 0)`, four times as fast on a CPU."""
    return torch.ops.aten.threshold_backward(signal, gate, 0)


def _relu_back(call: Call, signal: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(signal, y, 0)


def _clip_back(call: Call, signal: Tensor, x: Tensor) -> Tensor:
    if call.operator.name == "relu6":
        low, high = 0.0, 6.0
    else:
        given = dict(zip(("min_val", "max_val"), call.args[1:3], strict=False)) | dict(call.kwargs)
        low, high = given.get("min_val", -1.0), given.get("max_val", 1.0)
    return torch.ops.aten.hardtanh_backward(signal, x, low, high)


NATIVE: Mapping[str, Callable[[Call, Tensor, Tensor], Tensor]] = {
    "relu": _relu_back,
    "relu6": _clip_back,
    "hardtanh": _clip_back,
}
"""Rectifiers whose gate torch applies in one pass, 0 where it bends."""


def _for_subject(call: Call, signal: Tensor) -> tuple[Tensor | None, ...]:
    return (*(None for _ in range(call.subject)), signal)
