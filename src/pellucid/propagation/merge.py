"""What belongs to a layer: y = scale · (W a + b) + shift is one layer, in one call or spelled by hand.

So is z = W (scale · a + shift) + b, a batch norm before it, where there is no padding: zeros at the edges are put in
behind the norm, and no weights would give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.propagation.audit import PLAIN, Met
from pellucid.propagation.following import Notes
from pellucid.propagation.held import Held
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Before, Call, Fate, Refused, Rule, Unruled
from pellucid.propagation.tensors import flowing, tensors_among


class Affine(NamedTuple):
    """A batch norm in eval mode, a bias or a factor by hand: scale · x + shift in every channel."""

    scale: Tensor
    shift: Tensor


def affine(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Affine | None:
    """What a batch norm does in eval mode, its epsilon included; None for one that uses the statistics of the batch."""
    words = _WORDS.get(function)
    if words is None:
        return None
    given = dict(zip(words, args, strict=False)) | dict(kwargs)
    mean, var = given.get("running_mean"), given.get("running_var")
    if given.get("training", False) or mean is None or var is None:
        return None
    weight, bias = (_frozen(given.get(name)) for name in ("weight", "bias"))
    scale = torch.rsqrt(var + given.get("eps", 1e-5))
    scale = scale if weight is None else weight * scale
    return Affine(scale, -mean * scale if bias is None else torch.addcmul(bias, mean, scale, value=-1))


def bias(name: str, axis: int, x: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Affine | None:
    """What a sum or difference of a layer's output and a constant per channel does; None for any other sum."""
    found = _constant(axis, x, args, kwargs)
    if found is None:
        return None
    own, c = found
    sign = _SIGNS[name]
    return Affine(torch.full_like(c, sign[own]), sign[1 - own] * c)


def factor(name: str, axis: int, x: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Affine | None:
    """What a product or quotient of a layer's output and a constant per channel does; None for any other."""
    found = _constant(axis, x, args, kwargs)
    if found is None or (name == "div" and found[0] == 1):
        return None
    c = found[1] if name == "mul" else found[1].reciprocal()
    return Affine(c, torch.zeros_like(c))


def _constant(axis: int, x: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, Tensor] | None:
    """Which of two arguments x is, and the other one, where that is one constant for each channel, the axis of x."""
    if len(args) != 2 or kwargs:
        return None
    own = 0 if args[0] is x else 1
    c = args[1 - own]
    if not isinstance(c, Tensor) or flowing(c) or c.dim() > x.dim() or c.numel() != x.shape[axis]:
        return None
    if axis >= x.dim() - c.dim() and c.shape[axis - x.dim()] == c.numel():
        return own, c.detach().reshape(-1)
    return None


_SIGNS: Final[Mapping[str, tuple[int, int]]] = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}
_FACTORS: Final = ("mul", "div")


def _frozen(weight: Tensor | None) -> Tensor | None:
    return weight.detach() if weight is not None and weight.requires_grad else weight


@dataclass(slots=True, eq=False)
class Stage:
    """What the output of a layer has become: itself, or behind batch norms, biases and factors that may be part of it.

    maker    the call of the layer
    affine   from the layer's output to this; None for the output itself
    firm     whether the layer may end here: a factor alone makes none, a norm or a bias does
    before   the stage that was read
    step     the call that read this one and made the next
    readers  how many calls read it
    alive    whether all before it is part of the layer, or may yet be
    """

    maker: Call
    affine: Affine | None = None
    firm: bool = True
    before: Stage | None = None
    step: Step | None = None
    readers: int = 0
    alive: bool = True


@dataclass(slots=True, eq=False)
class Step:
    """A call that may be part of the layer before it.

    stage   what it reads
    found   what it does
    bare    whether it is a mere factor
    after   what it makes
    met     its line of the audit, and the name of its own rule there
    merged  whether it is part of the layer: complete when the forward pass has ended
    """

    stage: Stage
    found: Affine
    bare: bool
    after: Stage | None = None
    met: tuple[Met, str] | None = None
    merged: bool = False

    def turn(self, merged: bool) -> None:
        """Make it part of the layer, or not."""
        self.merged = merged
        if self.met is not None:
            met, own = self.met
            met.rule = f"merged into {self.stage.maker.operator.name}" if merged else own


@dataclass(slots=True, eq=False)
class Waiting:
    """A batch norm whose output no layer has read yet; then `layer` is what became of that layer's."""

    call: Call
    met: Met
    name: str
    before: Before
    layer: Fate | None = None

    def read(self) -> None:
        """Somebody reads the output: a second reader undoes a merger."""
        fate = self.call.fate
        fate.readers += 1
        if fate.readers > 1 and self.layer is not None:
            self.layer.before, self.layer, fate.taken, self.met.rule = None, None, False, self.name


class Merging:
    """Follows the outputs of linear and convolution layers to the norms, biases and factors that alone read them.

    A batch norm by hand is a chain of them, (x − μ) · γ/√(σ² + ε) + β. A factor counts where a difference comes before
    it or a sum after it; alone it is a gate or a layer's scale, which has a rule of its own.

    And the outputs of batch norms without a layer before them to the layer that alone reads them.
    """

    __slots__ = ("_norms", "_stages")

    def __init__(self) -> None:
        self._stages: Notes[tuple[Stage, int]] = Notes()
        self._norms: Notes[tuple[Waiting, tuple[int, ...]]] = Notes()

    def clear(self) -> None:
        """The pass is over."""
        self._stages.clear()
        self._norms.clear()

    def made(self, call: Call, rule: Rule, output: Any) -> None:
        """To be told of the output of every call that a rule serves."""
        product = call.operator.name in ("matmul", "mm") and call.tracked == (True, False)
        if isinstance(rule, Merged) and rule.step.after is not None:
            self._stages.set(output, (rule.step.after, rule.axis))
        elif call.inplace:
            self._stages.set(output, None)
        elif product or call.place.kind in (Kind.LINEAR, Kind.CONVOLUTION):
            places = _places(call) if call.place.kind is Kind.CONVOLUTION else 0
            self._stages.set(output, (Stage(call), output.dim() - 1 - places))

    def waits(self, call: Call, rule: Ahead, met: Met, entered: Held, output: Tensor) -> None:
        """To be told of the input and output of a batch norm that the layer after it may take in."""
        waiting = Waiting(call, met, met.rule, Before(*rule.found, entered))
        self._norms.set(output, (waiting, tuple(range(output.dim()))))

    def take(self, call: Call, rule: Rule, inputs: Sequence[Tensor]) -> None:
        """To be told of every call that a rule serves, when its inputs are read."""
        if self._norms and rule.takes_norms and sum(call.tracked) == 1:
            x = inputs[call.tracked.index(True)]
            norm, order = self._norms.of(x) or (None, ())
            in_order = order == tuple(range(x.dim()))
            if norm is not None and in_order and norm.call.fate.readers == 1 and _exact(call, x):
                call.fate.before, norm.layer, norm.call.fate.taken = norm.before, call.fate, True
                norm.met.rule = f"merged into {call.operator.name} behind it"

    def read(self, inputs: Collection[Any]) -> None:
        """To be told of the inputs of every call; a second reader undoes a merger."""
        if self._stages:
            for tensor in inputs:
                found = self._stages.of(tensor)
                if found is not None:
                    stage = found[0]
                    stage.readers += 1
                    if stage.readers > 1 and stage.step is not None:
                        _cut(stage)
        if self._norms:
            for tensor in inputs:
                norm = self._norms.of(tensor)
                if norm is not None:
                    norm[0].read()

    def left(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """To be told of every call that no rule serves. Copies are no readers: who reads the copy reads the output."""
        x = args[0] if args else None
        order = _order(name, x.dim(), args, kwargs) if isinstance(x, Tensor) else None
        if x is None or order is None or not isinstance(output, Tensor):
            self.read([*tensors_among(args), *tensors_among(kwargs.values())])
        elif output is not x:
            stage, norm = self._stages.of(x), self._norms.of(x)
            if stage is not None:
                self._stages.set(output, (stage[0], order.index(stage[1])))
            if norm is not None:
                self._norms.set(output, (norm[0], tuple(norm[1][i] for i in order)))

    def candidate(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        own: Rule | None,
    ) -> Rule | None:
        """The rule of a call that may be part of the layer before it; its own where there is none."""
        x = next((a for a in args[:2] if isinstance(a, Tensor) and self._stages.of(a) is not None), None)
        note = None if x is None else self._stages.of(x)
        norm = name == "batch_norm"
        if x is None or note is None or not note[0].alive or note[0].readers > 0:
            return _ahead(own, function, args, kwargs) if norm else own
        stage, axis = note
        if not norm and (own is None or isinstance(own, Unruled)):
            return own
        if norm:
            found = affine(function, args, kwargs) if axis == 1 and _batched(stage.maker, x) else None
        else:
            found = (factor if name in _FACTORS else bias)(name, axis, x, args, kwargs)
        if found is None:
            return _ahead(own, function, args, kwargs) if norm else own
        return Merged(Step(stage, found, name in _FACTORS), None if isinstance(own, Unruled) else own, axis)

    def merge(self, rule: Merged, met: Met) -> None:
        """The call becomes part of the layer, unless somebody else reads between them, now or later."""
        step, stage = rule.step, rule.step.stage
        if stage.readers != 1:
            return
        firm = not step.bare or _difference(stage)
        step.met = (met, met.rule)
        step.after = Stage(stage.maker, _then(stage.affine, step.found), firm, stage)
        stage.step = step
        if firm:
            _settle(step.after)


def _ahead(
    own: Rule | None, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Rule | None:
    """The rule of a batch norm that the layer after it may take in."""
    if own is None or isinstance(own, Unruled | Refused):
        return own
    alone = affine(function, args, kwargs)
    return own if alone is None else Ahead(own, alone)


def _difference(stage: Stage) -> bool:
    """Whether a mean was taken away just before."""
    last = None if stage.before is None else stage.before.step
    return last is not None and last.met is not None and last.met[0].operator == "sub"


def _then(first: Affine | None, second: Affine) -> Affine:
    if first is None:
        return second
    return Affine(second.scale * first.scale, second.scale * first.shift + second.shift)


def _settle(end: Stage) -> None:
    """All steps up to here are part of the layer."""
    end.maker.fate.affine = None if end.affine is None else (end.affine.scale, end.affine.shift)
    stage = end.before
    while stage is not None:
        if stage.step is not None:
            stage.step.turn(True)
        stage = stage.before


def _cut(stage: Stage) -> None:
    """Somebody else reads this: no step from here on is part of the layer, nor a factor just before."""
    while not stage.firm and stage.before is not None:
        stage = stage.before
    fate, last = stage.maker.fate, stage
    fate.affine = None if stage.affine is None else (stage.affine.scale, stage.affine.shift)
    while last.step is not None and last.step.after is not None:
        last.step.turn(False)
        last = last.step.after
        last.alive = False


@dataclass(frozen=True, slots=True)
class Merged(Rule):
    """The rule of a call that may be part of the layer before it: then what comes back goes on to that layer.

    step  tells in the backward pass whether it is so, and what the call does
    own   the rule of the call where it is not; None for its gradient
    axis  the axis of the channels
    """

    step: Step
    own: Rule | None
    axis: int

    @property
    def name(self) -> str:
        """The word in the audit."""
        return PLAIN if self.own is None else self.own.name

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs: what its own rule needs of them, and of the output, is found when it turns out to be needed."""
        return () if self.own is None else inputs

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """R itself, for the layer to share out."""
        (r,) = upstream
        if self.step.merged:
            return tuple(r if flows else None for flows in call.tracked)
        if self.own is None:
            return (r * self.step.found.scale.view(-1, *[1] * (r.dim() - self.axis - 1)),)
        return _later(self.own, call, kept, r)


@dataclass(frozen=True, slots=True)
class Ahead(Rule):
    """The rule of a batch norm that the layer after it may take in: then what comes back is that of its input.

    own    its rule where none does
    found  what it does
    """

    own: Rule
    found: Affine

    @property
    def name(self) -> str:
        """The word in the audit."""
        return self.own.name

    def serves(self, call: Call) -> bool:
        """As its own rule."""
        return self.own.serves(call)

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs."""
        return inputs

    def borrows_output(self, call: Call) -> bool:
        """As its own rule, which may be needed."""
        return self.own.borrows_output(call)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """R itself, which the layer has shared out among the inputs of the norm."""
        if call.fate.taken:
            return tuple(upstream[0] if flows else None for flows in call.tracked)
        if not self.own.borrows_output(call):
            return _later(self.own, call, kept, upstream[0])
        return self.own.back(call, (*self.own.keep(call, kept[:-1]), kept[-1]), *upstream)


def _later(own: Rule, call: Call, kept: tuple[Tensor, ...], r: Tensor) -> tuple[Tensor | None, ...]:
    """What a rule says that was only found to be needed in the backward pass, from all inputs."""
    output: tuple[Tensor, ...] = ()
    if own.borrows_output(call) or own.keeps_output(call):
        output = (call.run((kept[0].clone(), *kept[1:]) if call.inplace else kept),)
    return own.back(call, (*own.keep(call, kept), *output), r)


def _exact(call: Call, x: Tensor) -> bool:
    """Whether a norm of the channels of x can be part of the layer that reads it: one without padding."""
    if call.operator.name == "linear":
        return x.dim() == 2
    if call.operator.name not in ("conv1d", "conv2d", "conv3d") or x.dim() != 2 + _places(call):
        return False
    padding = call.kwargs.get("padding", call.args[4] if len(call.args) > 4 else 0)
    return padding == "valid" or not any(padding if isinstance(padding, list | tuple) else (padding,))


def _places(call: Call) -> int:
    """How many axes follow the channels of a convolution."""
    return next((int(c) for c in call.operator.name if c.isdigit()), -1)


def _batched(maker: Call, x: Tensor) -> bool:
    """Whether the channels are axis 1 because a batch is axis 0, as a batch norm takes them."""
    return x.dim() == 2 + (_places(maker) if maker.place.kind is Kind.CONVOLUTION else 0)


_COPIES: Final = frozenset(("clone", "contiguous", "dropout", "to"))
"""Operators whose output is their input."""


def _order(name: str, dims: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Which axes those of a copy or a permutation were before; None for any other operator."""
    if name in _COPIES:
        return None if kwargs.get("training", False) else tuple(range(dims))
    if name != "permute":
        return None
    given = kwargs.get("dims", args[1] if len(args) == 2 else args[1:])
    return tuple(int(d) % dims for d in given)


MERGED: Final = frozenset(("batch_norm", *_SIGNS, *_FACTORS))
"""Operators that may become part of a layer."""

_FUNCTIONAL: Final = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NATIVE: Final = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
_WORDS: Final[Mapping[Callable[..., Any], tuple[str, ...]]] = {
    F.batch_norm: _FUNCTIONAL,
    torch.batch_norm: _NATIVE,
    torch.ops.aten.batch_norm: _NATIVE,
    torch.ops.aten.batch_norm.default: _NATIVE,
}
