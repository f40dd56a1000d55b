"""A call seen as a linear map z = W a + b, whatever its spelling: run forward and pulled back with any weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.lrp.arguments import bound, only, slot
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Slot

Run = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
Pull = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """One call as z = W a + b; batch norms that were merged into it are part of w and b.

    a      the input
    w      the weights, None where the call has no tensor for them (means, sums, interpolation)
    b      the bias, as it is added to z; None for none
    run    (a, w, b) ↦ W a + b
    pull   (s, w) ↦ Wᵀ s
    index  which input of the call a is
    rest   which input the books show the bias under: the bias itself, or the weights where there is none
    alike  whether all rows meet the same weights
    """

    a: Tensor
    w: Tensor | None
    b: Tensor | None
    run: Run
    pull: Pull
    index: int = 0
    rest: int | None = None
    alike: bool = True


def linear(call: Call, inputs: tuple[Tensor, ...]) -> Linear:
    """The linear map of a call with one input that a signal can flow to.

    Raises RuleError where there are several: products of two tensors that depend on the model's input are not linear.
    """
    index = only(call, inputs)
    name, before = call.operator.name, call.fate.before
    if before is not None:
        inputs = (*inputs[:index], before.input.get(name), *inputs[index + 1 :])
    if name in _CONVOLUTIONS or name.startswith("conv_transpose"):
        view = _convolution(call, inputs, index)
    elif name in ("linear", "addmm"):
        view = _matrix(call, inputs, index)
    elif name == "batch_norm":
        view = _batch_norm(call, inputs)
    elif name in ("mul", "div"):
        view = _diagonal(call, inputs, index)
    elif call.place.kind is Kind.MATMUL:
        view = _product(call, inputs, index)
    else:
        view = _any(call, inputs, index)
    return view


def output(call: Call, z: Tensor) -> Tensor:
    """The output of the call as its linear map gives it: behind the batch norm that was merged.

    Channels are the second axis of a convolution, the last one of any other layer.
    """
    if call.fate.affine is None:
        return z
    convolution = call.place.kind is Kind.CONVOLUTION
    scale, shift = (as_channel(c, z) if convolution else c.to(z.dtype) for c in call.fate.affine)
    return scale * z + shift


def as_channel(c: Tensor, z: Tensor) -> Tensor:
    """One number per channel, in a form that can be added to z [batch, channel, ...]."""
    return c.to(z.dtype).view(-1, *(1,) * (z.ndim - 2))


def weights(call: Call, view: Linear) -> Tensor:
    """The weights, for rules that change them; raises RuleError where a call has none."""
    if view.w is None:
        raise RuleError(
            f"{call.operator.name} in layer {call.place.layer!r} has no weights that a rule could change",
            "a linear or convolution layer, or a product with constants",
            "give it the rule Epsilon or Norm",
        )
    return view.w


# -- the kinds of calls ------------------------------------------------------------------------------------------

_LAYER: Final = ("input", "weight", "bias")
_CONVOLUTION: Final = (*_LAYER, "stride", "padding", "dilation", "groups")
_CONVOLUTIONS: Final = dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONVOLUTION) | {
    "convolution": (*_LAYER, "stride", "padding", "dilation", "transposed", "output_padding", "groups")
}
_TRANSPOSED: Final = (*_LAYER, "stride", "padding", "output_padding", "groups", "dilation")
_NORM: Final = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_BEFORE: Final = frozenset({"addmm", "baddbmm", "addbmm", "addmv"})
"""Products whose first input is added."""


def _rest(call: Call, names: tuple[str, ...]) -> int | None:
    bias = slot(call, names, "bias")
    return slot(call, names, "weight") if bias is None else bias


def _convolution(call: Call, inputs: tuple[Tensor, ...], index: int) -> Linear:
    names = _CONVOLUTIONS.get(call.operator.name, _TRANSPOSED)
    given = bound(call, names, inputs)
    transposed = bool(given.get("transposed", names is _TRANSPOSED))
    a, w, b = given["input"], given["weight"], given.get("bias")
    if slot(call, names, "input") != index or a.ndim != w.ndim:
        return _any(call, inputs, index)
    places = w.ndim - 2
    groups = given.get("groups", 1)
    stride, dilation = _each(given.get("stride", 1), places), _each(given.get("dilation", 1), places)
    sides = _sides(given.get("padding", 0), w, dilation)
    ends, padding = None, [low for low, _ in sides]
    if any(low != high for low, high in sides):  # `same` with an even kernel
        ends, padding = [n for pair in reversed(sides) for n in pair], [0] * places
    shared = (stride, padding, dilation, transposed, _each(given.get("output_padding", 0), places), groups)
    w, b = _with_before(call, w, b, groups)
    w, b = _merged(call, w, b, groups if transposed else None)

    def run(a: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
        a = a if ends is None else F.pad(a, ends)
        return torch.ops.aten.convolution(a, w, None if b is None else b.flatten(), *shared)

    def pull(s: Tensor, w: Tensor | None) -> Tensor:
        like = a if ends is None else F.pad(a, ends)
        back = torch.ops.aten.convolution_backward(s, like, w, None, *shared, [True, False, False])[0]
        return back if ends is None else F.pad(back, [-n for n in ends])

    shape = (-1, *(1,) * places)
    return Linear(a, w, None if b is None else b.view(shape), run, pull, index, _rest(call, names))


def _each(value: Any, places: int) -> list[int]:
    return [int(value)] * places if isinstance(value, int) else [int(v) for v in value] * (places // len(value))


def _sides(padding: Any, w: Tensor, dilation: list[int]) -> list[tuple[int, int]]:
    """Zeros before and behind every axis."""
    if isinstance(padding, str):
        total = [0 if padding == "valid" else d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
        return [(n // 2, n - n // 2) for n in total]
    return [(n, n) for n in _each(padding, w.ndim - 2)]


def _with_before(call: Call, w: Tensor, b: Tensor | None, groups: int) -> tuple[Tensor, Tensor | None]:
    """w' = w · s by input channels, b' = b + Σ w t, for the batch norm s a + t before a layer without padding."""
    if call.fate.before is None:
        return w, b
    scale, shift, _ = call.fate.before
    channels = (groups, 1, -1, *(1,) * (w.ndim - 2))
    apart = w.unflatten(0, (groups, -1))
    moved = (apart * shift.to(w).view(channels)).flatten(2).sum(2).flatten()
    return (apart * scale.to(w).view(channels)).view_as(w), moved if b is None else b + moved


def _merged(call: Call, w: Tensor, b: Tensor | None, groups: int | None) -> tuple[Tensor, Tensor | None]:
    """w' = γ/√(σ² + ε) · w and b' likewise, for the batch norm that follows; `groups` of a transposed convolution."""
    if call.fate.affine is None:
        return w, b
    scale, shift = (c.to(w) for c in call.fate.affine)
    if groups is None:
        merged = w * scale.view(-1, *(1,) * (w.ndim - 1))
    else:
        apart = w.unflatten(0, (groups, -1))
        merged = (apart * scale.view(groups, 1, -1, *(1,) * (w.ndim - 2))).view_as(w)
    return merged, shift if b is None else scale * b + shift


def _matrix(call: Call, inputs: tuple[Tensor, ...], index: int) -> Linear:
    names = _LAYER if call.operator.name == "linear" else ("bias", "input", "weight")
    given = bound(call, names, inputs)
    if slot(call, names, "input") != index or slot(call, names, "weight") is None:
        return _product(call, inputs, index)
    w, b = given["weight"], given.get("bias")
    if call.operator.name == "addmm":
        w, b = given.get("alpha", 1) * w.t(), given.get("beta", 1) * b
    w, b = _with_before(call, w, b, 1)
    w, b = _merged(call, w, b, None)
    a: Tensor = given["input"]

    def pull(s: Tensor, w: Tensor | None) -> Tensor:
        return torch.matmul(s, _there(w))

    return Linear(a, w, b, lambda a, w, b: F.linear(a, _there(w), b), pull, index, _rest(call, names))


def _batch_norm(call: Call, inputs: tuple[Tensor, ...]) -> Linear:
    """z = γ/√(σ² + ε) · (a − μ) + β, a map of each channel for itself."""
    given = bound(call, _NORM, inputs)
    a, mean, var = given["input"], given.get("running_mean"), given.get("running_var")
    if mean is None or var is None or given.get("training", False):
        raise RuleError(
            f"The batch norm in layer {call.place.layer!r} takes mean and variance from the batch",
            "running statistics, so that rows do not depend on each other",
            "call model.eval(), and build the norm with track_running_stats=True",
        )
    scale = torch.rsqrt(var + given.get("eps", 1e-5))
    scale = scale if given.get("weight") is None else scale * given["weight"]
    shift = -mean * scale if given.get("bias") is None else given["bias"] - mean * scale
    rest = slot(call, _NORM, "bias")
    rest = slot(call, _NORM, "running_mean") if rest is None else rest
    return _scaled(a, as_channel(scale, a), as_channel(shift, a), 0, rest)


def _diagonal(call: Call, inputs: tuple[Tensor, ...], index: int) -> Linear:
    """z = w ⊙ a or a / w, with a constant w."""
    args, _ = call.filled(inputs)
    constant = args[1] if isinstance(call.args[0], Slot) and call.args[0].index == index else args[0]
    if call.operator.name == "div" and (constant is args[0] or call.kwargs.get("rounding_mode")):
        return _any(call, inputs, index)
    a = inputs[index]
    w = torch.as_tensor(constant, dtype=a.dtype, device=a.device)
    return _scaled(a, w.reciprocal() if call.operator.name == "div" else w, None, index, None)


def _scaled(a: Tensor, w: Tensor, b: Tensor | None, index: int, rest: int | None) -> Linear:
    def run(a: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
        return a * _there(w) if b is None else a * _there(w) + b

    def pull(s: Tensor, w: Tensor | None) -> Tensor:
        return (s * _there(w)).sum_to_size(a.shape)

    return Linear(a, w, b, run, pull, index, rest)


def _product(call: Call, inputs: tuple[Tensor, ...], index: int) -> Linear:
    """A matrix product with a constant, which is its weights; what is added to the product is its bias."""
    before = 0 if call.operator.name in _BEFORE and index != 0 else None
    others = [i for i in range(len(inputs)) if i not in (index, before)]
    if len(others) != 1 or (index == 0 and call.operator.name in _BEFORE):
        return _any(call, inputs, index)
    factor = others[0]

    def times(a: Tensor, w: Tensor | None) -> Tensor:
        changed = {index: a, factor: _there(w)} | ({} if before is None else {before: torch.zeros_like(inputs[before])})
        return again(call, inputs, changed)

    w, b = inputs[factor], None if before is None else inputs[before] * call.kwargs.get("beta", 1)
    if call.fate.affine is not None:  # whose channels are the columns of the constant
        scale, shift = (c.to(w) for c in call.fate.affine)
        w, b = w * scale, shift if b is None else scale * b + shift
    rest = factor if before is None else before
    return _by_autograd(inputs[index], w, b, times, index, rest)


def _any(call: Call, inputs: tuple[Tensor, ...], index: int) -> Linear:
    """Any other call that is affine in one input; its bias, for the books, is what it answers to zeros."""
    zero = {index: torch.zeros_like(inputs[index])}
    b = again(call, inputs, zero) if call.full else None
    return _by_autograd(inputs[index], None, b, lambda a, w: again(call, inputs, {index: a}), index, None)


def _by_autograd(
    a: Tensor, w: Tensor | None, b: Tensor | None, times: Callable[..., Tensor], index: int, rest: int | None
) -> Linear:
    def run(a: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
        return times(a, w) if b is None else times(a, w) + b

    def pull(s: Tensor, w: Tensor | None) -> Tensor:
        return vjp(lambda x: times(x, w), a, s)

    return Linear(a, w, b, run, pull, index, rest, alike=False)


def again(call: Call, inputs: tuple[Tensor, ...], changed: Mapping[int, Tensor]) -> Tensor:
    """Run the call once more with some other inputs; nothing is overwritten."""
    filled = [changed.get(i, tensor) for i, tensor in enumerate(inputs)]
    if call.inplace:
        filled[0] = filled[0].clone()
    return call.run(tuple(filled))


def vjp(function: Callable[[Tensor], Tensor], at: Tensor, s: Tensor) -> Tensor:
    """(∂ function / ∂ a)ᵀ s at one point."""
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        z = function(leaf)
    return torch.autograd.grad(z, leaf, s)[0]


def _there(w: Tensor | None) -> Tensor:
    if w is None:
        raise TypeError("a map without weights")
    return w
