"""What is written out in simple calls gives the numbers of the one call that hides its inside."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.propagation import apart

CLOSE = {"atol": 1e-12, "rtol": 1e-12}
CAUSAL = torch.ones(5, 7, dtype=torch.bool).tril()
BIAS = row(2, 4, 5, 7, seed=5)

SDPA: dict[str, dict[str, Any]] = {
    "plain": {},
    "bool mask": {"attn_mask": CAUSAL},
    "bool mask that hides all": {"attn_mask": torch.arange(5)[:, None] > torch.zeros(7)},
    "float mask": {"attn_mask": BIAS},
    "float mask with infinity": {"attn_mask": BIAS.masked_fill(~CAUSAL, -inf)},
    "only infinity": {"attn_mask": torch.zeros(5, 7, dtype=torch.float64).masked_fill(~CAUSAL, -inf)},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("given", SDPA.values(), ids=SDPA.keys())
def test_scaled_dot_product_attention(given):
    q, k, v = row(2, 4, 5, 6, seed=1), row(2, 4, 7, 6, seed=2), row(2, 4, 7, 3, seed=3)
    same(F.scaled_dot_product_attention, (q, k, v), given)


def test_grouped_queries_and_other_numbers_of_axes():
    q, k, v = row(2, 4, 5, 6, seed=1), row(2, 2, 7, 6, seed=2), row(2, 2, 7, 3, seed=3)
    same(F.scaled_dot_product_attention, (q, k, v), {"enable_gqa": True})
    same(F.scaled_dot_product_attention, (q[0], k[:, 0].repeat(2, 1, 1), v[:, 0].repeat(2, 1, 1)), {})
    same(F.scaled_dot_product_attention, (q[0, 0], k[0, 0], v[0, 0]), {})
    five = [t.unsqueeze(0).repeat(3, 1, 2 if t is not q else 1, 1, 1) for t in (q, k, v)]
    same(F.scaled_dot_product_attention, five, {})


def same(function: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Values and gradients."""
    leaves = [arg.clone().requires_grad_() for arg in args]
    wanted, parts = function(*leaves, **kwargs), apart.attention(function)
    assert parts is not None
    found = parts(*leaves, **kwargs)
    torch.testing.assert_close(found, wanted, **CLOSE)
    signal = row(*wanted.shape, seed=9)
    for a, b in zip(
        torch.autograd.grad(found, leaves, signal), torch.autograd.grad(wanted, leaves, signal), strict=True
    ):
        torch.testing.assert_close(a, b, **CLOSE)


class Apart(TorchFunctionMode):
    """Multi-head attention by its decomposition, as its module calls it."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        parts = apart.attention(func) if func is F.multi_head_attention_forward else None
        self.calls += parts is not None
        return (parts or func)(*args, **(kwargs or {}))


PADDING = torch.tensor([[False] * 7, [False] * 5 + [True] * 2])
MODULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "self": ({}, {}),
    "batch first": ({"batch_first": True}, {}),
    "without weights": ({}, {"need_weights": False}),
    "weights per head": ({}, {"average_attn_weights": False}),
    "without bias": ({"bias": False}, {}),
    "extra key": ({"add_bias_kv": True}, {}),
    "zero attention": ({"add_zero_attn": True, "add_bias_kv": True}, {"key_padding_mask": PADDING[:, :5]}),
    "mask": ({}, {"attn_mask": ~CAUSAL[:5, :5]}),
    "mask per head": ({}, {"attn_mask": row(8, 5, 5, seed=4)}),
    "causal": ({}, {"attn_mask": ~CAUSAL[:5, :5], "is_causal": True, "need_weights": False}),
    "cross": ({"kdim": 3, "vdim": 2}, {"key_padding_mask": PADDING}),
    "cross, one width": ({}, {"key_padding_mask": PADDING.double(), "attn_mask": row(5, 7, seed=3)}),
    "both masks": ({}, {"key_padding_mask": PADDING[:, 1:6], "attn_mask": ~CAUSAL[:5, :5]}),
}


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("made", "given"), MODULES.values(), ids=MODULES.keys())
def test_multi_head_attention_as_its_module_calls_it(made, given, single):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 4, **made).double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = row(5, 2, 8, seed=1)
    crossed = "kdim" in made or given.get("key_padding_mask", PADDING[:, :5]).shape[1] == 7
    key = row(7, 2, made.get("kdim", 8), seed=2) if crossed else x
    value = row(7, 2, made.get("vdim", 8), seed=3) if crossed else x
    inputs = [t.transpose(0, 1) if made.get("batch_first") else t for t in (x, key, value)]
    if single:
        inputs = [t[0] if made.get("batch_first") else t[:, 0] for t in inputs]
        given = {k: v[0] if k == "key_padding_mask" else v[:4] if v_is_per_head(v) else v for k, v in given.items()}
    if not crossed:
        inputs = [inputs[0]] * 3
    wanted = module(*inputs, **given)
    with Apart() as mode:
        found = module(*inputs, **given)
    assert mode.calls == 1
    torch.testing.assert_close(found[0], wanted[0], **CLOSE)
    if wanted[1] is None:
        assert found[1] is None
    else:
        torch.testing.assert_close(found[1], wanted[1], **CLOSE)


def v_is_per_head(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 3


def test_the_tap_sees_and_changes_the_weights():
    q, k, v = row(2, 4, 5, 6, seed=1), row(2, 4, 7, 6, seed=2), row(2, 4, 7, 3, seed=3)
    met: list[Tensor] = []

    def uniform(weights: Tensor) -> Tensor:
        met.append(weights)
        return torch.full_like(weights, 1 / 7)

    parts = apart.attention(F.scaled_dot_product_attention)
    assert parts is not None
    torch.testing.assert_close(parts(q, k, v, tap=uniform), v.mean(2, keepdim=True).expand(2, 4, 5, 3))
    wanted = (q @ k.transpose(2, 3) / 6**0.5).softmax(-1)
    torch.testing.assert_close(met[0], wanted, **CLOSE)
    parts(q[0], k[0], v[0], tap=uniform)
    parts(q[0, 0], k[0, 0], v[0, 0], tap=uniform)
    assert [tuple(weights.shape) for weights in met] == [(2, 4, 5, 7), (4, 1, 5, 7), (1, 1, 5, 7)]

    module = nn.MultiheadAttention(8, 4).double().eval()
    x = row(5, 2, 8, seed=1)
    multi, seen = apart.attention(F.multi_head_attention_forward), []
    assert multi is not None
    weights = (module.in_proj_weight, module.in_proj_bias, None, None, False, 0.0)
    out = (module.out_proj.weight, module.out_proj.bias)
    multi(x, x, x, 8, 4, *weights, *out, tap=lambda w: seen.append(w) or w)
    torch.testing.assert_close(seen[0], module(x, x, x, average_attn_weights=False)[1], **CLOSE)


def test_other_functions_are_no_attention():
    assert apart.attention(F.linear) is None
