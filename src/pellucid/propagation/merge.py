"""What belongs to a layer: y = scale · (W a + b) + shift, a batch norm or a bias by hand behind it, is one layer.

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
from pellucid.propagation.tensors import flowing


class Affine(NamedTuple):
    """A batch norm in eval mode, or a bias that is added by hand: scale · x + shift in every channel."""

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


def bias(name: str, maker: Call, x: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Affine | None:
    """What a sum or difference of a layer's output and a constant per channel does; None for any other sum."""
    if len(args) != 2 or kwargs or name not in _SIGNS:
        return None
    own = 0 if args[0] is x else 1
    c = args[1 - own]
    axis = 1 if maker.place.kind is Kind.CONVOLUTION else x.dim() - 1
    if not isinstance(c, Tensor) or flowing(c) or c.dim() > x.dim() or c.numel() != x.shape[axis]:
        return None
    if axis >= x.dim() - c.dim() and c.shape[axis - x.dim()] == c.numel():
        sign = _SIGNS[name]
        c = c.detach().reshape(-1)
        return Affine(torch.full_like(c, sign[own]), sign[1 - own] * c)
    return None


_SIGNS: Final[Mapping[str, tuple[int, int]]] = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}


def _frozen(weight: Tensor | None) -> Tensor | None:
    return weight.detach() if weight is not None and weight.requires_grad else weight


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
    """Follows the outputs of linear and convolution layers to the batch norm or bias that alone reads them.

    And those of batch norms without such a layer to the layer that alone reads them.
    """

    __slots__ = ("_makers", "_merged", "_norms")

    def __init__(self) -> None:
        self._makers: Notes[Call] = Notes()
        self._norms: Notes[Waiting] = Notes()
        self._merged: dict[int, tuple[Met, str]] = {}

    def clear(self) -> None:
        """The pass is over."""
        self._makers.clear()
        self._norms.clear()
        self._merged.clear()

    def made(self, call: Call, output: Any) -> None:
        """To be told of the output of every call that a rule serves."""
        product = call.operator.name in ("matmul", "mm") and call.tracked == (True, False)
        if call.inplace:
            self._makers.set(output, None)
        elif product or call.place.kind in (Kind.LINEAR, Kind.CONVOLUTION):
            self._makers.set(output, call)

    def waits(self, call: Call, rule: Ahead, met: Met, entered: Held, output: Any) -> None:
        """To be told of the input and output of a batch norm that the layer after it may take in."""
        self._norms.set(output, Waiting(call, met, met.rule, Before(*rule.found, entered)))

    def take(self, call: Call, rule: Rule, inputs: Sequence[Tensor]) -> None:
        """To be told of every call that a rule serves, when its inputs are read."""
        if self._norms and rule.takes_norms and sum(call.tracked) == 1:
            x = inputs[call.tracked.index(True)]
            norm = self._norms.of(x)
            if norm is not None and norm.call.fate.readers == 1 and _exact(call, x):
                call.fate.before, norm.layer, norm.call.fate.taken = norm.before, call.fate, True
                norm.met.rule = f"merged into {call.operator.name} behind it"

    def read(self, inputs: Collection[Any]) -> None:
        """To be told of the inputs of every call; a second reader undoes a merger."""
        if self._makers:
            for tensor in inputs:
                maker = self._makers.of(tensor)
                if maker is not None:
                    self._read(maker.fate)
        if self._norms:
            for tensor in inputs:
                norm = self._norms.of(tensor)
                if norm is not None:
                    norm.read()

    def _read(self, fate: Fate) -> None:
        fate.readers += 1
        if fate.readers > 1 and fate.affine is not None:
            fate.affine = None
            met, name = self._merged[id(fate)]
            met.rule = name

    def passed(self, before: Any, after: Any) -> None:
        """To be told of copies, which are no readers: whoever reads the copy reads the output."""
        maker = self._makers.of(before)
        norm = self._norms.of(before)
        if isinstance(after, Tensor) and after is not before:
            if maker is not None:
                self._makers.set(after, maker)
            if norm is not None:
                self._norms.set(after, norm)

    def candidate(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        own: Rule | None,
    ) -> Rule | None:
        """The rule of a batch norm or bias that may be part of the layer before it; its own where there is none."""
        x = next((a for a in args[:2] if isinstance(a, Tensor) and self._makers.of(a) is not None), None)
        maker = None if x is None else self._into(x, any_shape=name != "batch_norm")
        if maker is None and name == "batch_norm" and own is not None and not isinstance(own, Unruled | Refused):
            alone = affine(function, args, kwargs)
            return own if alone is None else Ahead(own, alone)
        if x is None or maker is None or (name != "batch_norm" and (own is None or isinstance(own, Unruled))):
            return own
        found = affine(function, args, kwargs) if name == "batch_norm" else bias(name, maker, x, args, kwargs)
        if found is None:
            return own
        return Merged(maker, None if isinstance(own, Unruled) else own, found)

    def _into(self, x: Tensor, *, any_shape: bool) -> Call | None:
        """The call that made x, if nobody else has read its output, and channels are axis 1 unless that is all one."""
        maker = self._makers.of(x)
        if maker is None or maker.fate.readers > 0:
            return None
        axes = _axes(maker.operator.name) if maker.place.kind is Kind.CONVOLUTION else 2
        return maker if any_shape or x.dim() == axes else None

    def merge(self, rule: Merged, met: Met) -> None:
        """The batch norm becomes part of the layer, unless somebody else reads between them, now or later."""
        fate = rule.maker.fate
        if fate.readers == 1:
            fate.affine = (rule.found.scale, rule.found.shift)
            self._merged[id(fate)] = (met, met.rule)
            met.rule = f"merged into {rule.maker.operator.name}"


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
    output = (call.run(kept),) if own.borrows_output(call) or own.keeps_output(call) else ()
    return own.back(call, (*own.keep(call, kept), *output), r)


def _exact(call: Call, x: Tensor) -> bool:
    """Whether a norm of the channels of x can be part of the layer that reads it: one without padding."""
    if call.operator.name == "linear":
        return x.dim() == 2
    if call.operator.name not in ("conv1d", "conv2d", "conv3d") or x.dim() != _axes(call.operator.name):
        return False
    padding = call.kwargs.get("padding", call.args[4] if len(call.args) > 4 else 0)
    return padding == "valid" or not any(padding if isinstance(padding, list | tuple) else (padding,))


@dataclass(frozen=True, slots=True)
class Merged(Rule):
    """The rule of a batch norm that may be part of the layer before it: then what comes back goes on to that layer.

    maker  the call of that layer, whose fate tells in the backward pass whether it is so
    own    the rule of the batch norm where it is not; None for its gradient
    found  what the batch norm does
    """

    maker: Call
    own: Rule | None
    found: Affine

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
        if self.maker.fate.affine is not None:
            return tuple(r if flows else None for flows in call.tracked)
        if self.own is None:
            return (r * self.found.scale.view(-1, *[1] * (r.dim() - 2)),)
        return _later(self.own, call, kept, r)


def _axes(name: str) -> int:
    return 2 + next((int(c) for c in name if c.isdigit()), -1)


MERGED: Final = frozenset(("batch_norm", *_SIGNS))
"""Operators that may become part of a layer."""

_FUNCTIONAL: Final = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NATIVE: Final = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
_WORDS: Final[Mapping[Callable[..., Any], tuple[str, ...]]] = {
    F.batch_norm: _FUNCTIONAL,
    torch.batch_norm: _NATIVE,
    torch.ops.aten.batch_norm: _NATIVE,
    torch.ops.aten.batch_norm.default: _NATIVE,
}
