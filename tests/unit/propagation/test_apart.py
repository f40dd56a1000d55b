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

from pellucid.core.errors import RuleError
from pellucid.propagation import Intercept, Inventory, Kind, apart, inventory
from pellucid.propagation.tensors import tensors_in

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


class Parted(nn.Module):
    """Any function as a model of one input; `apart` runs it in its parts under an interceptor that serves nothing."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.inside = function if isinstance(function, nn.Module) else None

    def forward(self, x: Tensor) -> Any:
        return self.function(x)

    def apart(self, x: Tensor) -> tuple[Any, list[str]]:
        with Intercept(self, Inventory(frozenset(Kind))) as seen:
            output = self(x)
        return output, [place.operator for place in seen.places]


W, B, A = row(6, seed=21), row(6, seed=22), row(2, 6, 6, seed=25)
MATRIX, SQUARE = row(4, 6, seed=23), row(6, 6, seed=24)
NORMS: dict[str, Any] = {
    "layer_norm": lambda x: F.layer_norm(x, (6,), W, B, 1e-3),
    "layer_norm of two axes": lambda x: F.layer_norm(x, (4, 6)),
    "torch.layer_norm": lambda x: torch.layer_norm(x, (6,), W, B, 1e-3),
    "nn.LayerNorm": nn.LayerNorm(6, bias=False).double(),
    "group_norm": lambda x: F.group_norm(x, 2, W[:4], B[:4]),
    "group_norm of one axis": lambda x: F.group_norm(x[:, :, 0], 2),
    "instance_norm": lambda x: F.instance_norm(x, weight=W[:4], bias=B[:4]),
    "torch.instance_norm": lambda x: torch.instance_norm(x, W[:4], B[:4], None, None, True, 0.1, 1e-5, False),
    "instance_norm, running": lambda x: F.instance_norm(x, W[:4], W[:4].square() + 1, use_input_stats=False),
    "rms_norm": lambda x: F.rms_norm(x, (6,), W),
    "nn.RMSNorm": nn.RMSNorm((4, 6), eps=0.1).double(),
    "normalize": F.normalize,
    "normalize otherwise": lambda x: F.normalize(x, 1.0, -1, 1e-3),
    "local_response_norm": lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0),
    "local_response_norm, even": lambda x: F.local_response_norm(x[..., None], 2, 0.5),
    "var_mean": lambda x: torch.var_mean(x, 1),
    "var_mean kept": lambda x: torch.var_mean(x, (1, 2), correction=0, keepdim=True),
    "std_mean": torch.std_mean,
}
PRODUCTS: dict[str, Any] = {
    "addmm": lambda x: torch.addmm(B, x[0], SQUARE),
    "addmm with numbers": lambda x: torch.addmm(x[0], x[1], SQUARE, beta=0.5, alpha=2),
    "addmm of the weight": lambda x: x[0].addmm(MATRIX, x[1].t() @ x[0], beta=0),
    "addmv": lambda x: torch.addmv(B[:4], x[0], W),
    "addr": lambda x: torch.addr(MATRIX, x[0, :, 0], x[1, 0]),
    "baddbmm": lambda x: torch.baddbmm(x, x, A, alpha=3),
    "addbmm": lambda x: torch.addbmm(x[0], x, A, beta=2),
    "addcmul": lambda x: torch.addcmul(x, x, W, value=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x, W.abs() + 1),
    "lerp": lambda x: torch.lerp(x, W, 0.3),
    "lerp by tensor": lambda x: x.lerp(x.sin(), W),
    "bilinear": lambda x: F.bilinear(x, x, row(3, 6, 6, seed=26), W[:3]),
    "glu": F.glu,
    "softmin": lambda x: F.softmin(x, -1),
}
CELLS = {"lstm": nn.LSTMCell(6, 3).double(), "gru": nn.GRUCell(6, 3).double(), "rnn": nn.RNNCell(6, 3).double()}
RECURRENT: dict[str, Any] = {
    "lstm": nn.LSTM(6, 3, 2, batch_first=True, bidirectional=True),
    "lstm with projection": nn.LSTM(6, 3, proj_size=2, bias=False),
    "gru": nn.GRU(6, 3, 2),
    "gru, both ways": nn.GRU(6, 3, bidirectional=True, batch_first=True),
    "rnn": nn.RNN(6, 3, nonlinearity="relu"),
    "rnn of tanh": nn.RNN(6, 3, 2),
    "lstm cell": lambda x: CELLS["lstm"](x[0]),
    "gru cell": lambda x: CELLS["gru"](x[0], x[0, :, :3]),
    "rnn cell": lambda x: CELLS["rnn"](x[0]),
}
EVERY = NORMS | PRODUCTS | RECURRENT


@pytest.mark.parametrize("name", EVERY)
def test_norms_products_and_recurrent_layers(name):
    model = Parted(EVERY[name]).double().eval()
    leaf = row(2, 4, 6, seed=11).requires_grad_()
    wanted, (found, operators) = list(tensors_in(model(leaf))), model.apart(leaf)
    whole = [place.operator for place in inventory(model, lambda: model(leaf.clone()))] if name not in RECURRENT else []
    assert operators != whole
    for a, b in zip(tensors_in(found), wanted, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    signals = [row(*t.shape, seed=9) for t in wanted]
    slopes = [torch.autograd.grad(list(outputs), leaf, signals)[0] for outputs in (tensors_in(found), wanted)]
    torch.testing.assert_close(*slopes, **CLOSE)


def test_a_linear_layer_in_disguise_is_one():
    _, operators = Parted(lambda x: torch.addmm(B, x[0], SQUARE)).apart(row(2, 4, 6).requires_grad_())
    assert operators == ["getitem", "linear"]


def test_packed_sequences_are_refused():
    lstm = nn.LSTM(6, 3).double()
    packed = Parted(lambda x: lstm(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([2, 1, 1, 1])))[0].data)
    with pytest.raises(RuleError, match="packed"):
        packed.apart(row(2, 4, 6).requires_grad_())
