"""Operators that hide their inside, written out in simple torch calls that give the same numbers.

An interceptor runs these in place of the one opaque call, so that the parts are served like any others. Attention can
also be had on its own, with a `tap` on its weights: attention maps are read, or changed, on models that fuse them away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F

from pellucid.propagation.operators import Kind, Operator
from pellucid.propagation.parts import norms, products, recurrent
from pellucid.propagation.parts.attention import Tap, multi_head, scaled_dot_product

Parts = Callable[..., Any]


class Attention(Protocol):
    """A decomposition of attention: the signature of the torch function, and a tap on the weights."""

    def __call__(self, *args: Any, tap: Tap | None = None, **kwargs: Any) -> Any:
        """The same result; `tap` gets softmax weights [batch, heads, queries, keys] and returns what to use."""
        ...


def attention(function: Callable[..., Any]) -> Attention | None:
    """The decomposition of an attention function of torch, or None for any other function."""
    return _ATTENTION.get(function)


def parts(function: Callable[..., Any], operator: Operator, kinds: frozenset[Kind]) -> Parts | None:
    """What to run in place of a call when operators of these kinds are taken apart; None for the call itself.

    Where anything is taken apart, so are calls that are products and sums in one: `addmm`, `addcmul`, `glu` …
    """
    if operator.inplace or operator.kind is Kind.OTHER:
        return None
    found = _ALWAYS.get(operator.name)
    if found is None and operator.kind in kinds:
        found = _BY_FUNCTION.get(function) or _BY_NAME.get(operator.name)
    return found


_ATTENTION: Final[Mapping[Callable[..., Any], Attention]] = {
    F.scaled_dot_product_attention: scaled_dot_product,
    torch.ops.aten.scaled_dot_product_attention: scaled_dot_product,
    torch.ops.aten.scaled_dot_product_attention.default: scaled_dot_product,
    F.multi_head_attention_forward: multi_head,
}

_BY_FUNCTION: Final[Mapping[Callable[..., Any], Parts]] = {
    **_ATTENTION,
    F.instance_norm: norms.instance_norm,
    torch.instance_norm: norms.native_instance_norm,
}
"""Functions whose name says too little about the order of their arguments."""

_BY_NAME: Final[Mapping[str, Parts]] = {
    **{f.__name__: f for f in (norms.layer_norm, norms.group_norm, norms.rms_norm, norms.normalize)},
    "local_response_norm": norms.local_response_norm,
    **{name: partial(recurrent.layers, step) for name, step in recurrent.STEPS.items()},
    **{f"{name}_cell": partial(recurrent.cell, step) for name, step in recurrent.STEPS.items()},
}

_ALWAYS: Final[Mapping[str, Parts]] = {
    function.__name__: function
    for function in (
        products.addmm,
        products.addmv,
        products.addr,
        products.baddbmm,
        products.addbmm,
        products.addcmul,
        products.addcdiv,
        products.lerp,
        products.bilinear,
        products.glu,
        products.softmin,
        norms.var_mean,
        norms.std_mean,
    )
}
