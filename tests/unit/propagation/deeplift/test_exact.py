"""Nothing is lost: Σ m Δx = Δs through every operator, alone and in whole models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.unit.propagation.deeplift.passes import filled, gap, multipliers, numbers
from torch import Tensor, nn

from pellucid.core.errors import RuleError
from pellucid.propagation.audit import NO_RULE
from pellucid.propagation.deeplift import Multipliers, Unlike
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Place

EXACT = 1e-9
RULES = (Multipliers(), Multipliers(rule="reveal_cancel"))


class Around(nn.Module):
    """Convolution, any function of its output [n, 4, 6, 6], two linear layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.function = function
        self.hidden = nn.LazyLinear(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.function(self.norm(self.conv(x)))
        return self.head(F.relu(self.hidden(z.flatten(1))))


def around(function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float64) -> nn.Module:
    model = Around(function).double()
    with torch.no_grad():
        model.eval()(numbers(1, 2, 6, 6))
    return filled(model, dtype=dtype)


def overwriting(z: Tensor) -> Tensor:
    z = z.clone()
    z.mul_(z.sigmoid())
    z.relu_()
    z += z * 2
    return z


def assigned(z: Tensor) -> Tensor:
    z = z.clone()
    z[z < 0] = 0
    return z


def cleared(z: Tensor) -> Tensor:
    z = z.clone()
    z[z.abs() < 0.4] = 0.1
    z[:, 0] = 2.0
    return z


def swapped(z: Tensor) -> Tensor:
    return z.transpose(0, 1).relu().transpose(0, 1)


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu, in place": nn.ReLU(inplace=True),
    "relu6": F.relu6,
    "relu by mask": lambda z: z * (z > 0),
    "relu by where": lambda z: torch.where(z > 0, z, 0.0),
    "relu by where, by name": lambda z: torch.where(condition=z > 0, input=z, other=torch.zeros_like(z)),
    "relu by maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "relu by assignment": assigned,
    "leaky relu by where": lambda z: torch.where(z > 0, z, 0.2 * z),
    "elu by where": lambda z: z.where(z > 0, 1.5 * z.expm1()),
    "absolute by where": lambda z: torch.where(z < 0, -z, z),
    "another tensor decides": lambda z: torch.where(z[:, :1] > 0, z, z.tanh() + 1),
    "jump": lambda z: z.masked_fill(z.abs() < 0.4, 1.0),
    "jump by assignment": cleared,
    "clamp": lambda z: z.clamp(-0.3, 0.4),
    "leaky relu": lambda z: F.leaky_relu(z, 0.2),
    "prelu": nn.PReLU(4),
    "elu": lambda z: F.elu(z, alpha=1.5),
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu, tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "glu": lambda z: F.glu(z, 1),
    "absolute": torch.abs,
    "power": lambda z: z**3,
    "square root": lambda z: (z.square() + 0.1).sqrt(),
    "exp": lambda z: (z / 2).exp(),
    "log": lambda z: (z.abs() + 1e-3).log(),
    "reciprocal": lambda z: 1 / (1 + z.square()),
    "rounding": lambda z: (3 * z).round(),
    "product": lambda z: z[:, :2] * z[:, 2:],
    "gate": lambda z: z * z.mean((2, 3), keepdim=True).sigmoid(),
    "quotient": lambda z: z / (1 + z.square().sum(1, keepdim=True)),
    "quotient whose divisor changes sign": lambda z: z[:, :2] / (z[:, 2:] + 0.37),
    "matrix product": lambda z: z @ z.transpose(2, 3),
    "einsum": lambda z: torch.einsum("nchw,ndhw->ncd", z, z),
    "softmax": lambda z: z.softmax(1),
    "softmax in rows": lambda z: (5 * z).flatten(2).softmax(-1),
    "softmin": lambda z: F.softmin(z, 1),
    "log softmax": lambda z: z.log_softmax(1),
    "logsumexp": lambda z: z.logsumexp(1),
    "hidden keys": lambda z: z.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf).softmax(-1),
    "max pooling": lambda z: F.max_pool2d(z, 3, 2, 1),
    "max pooling, with places": lambda z: F.max_pool2d(z, 2, return_indices=True)[0],
    "max pooling in a line": lambda z: F.max_pool1d(z.flatten(2), 4, 3),
    "adaptive max pooling": lambda z: F.adaptive_max_pool2d(z, 2),
    "amax": lambda z: z.amax((1, 3)),
    "min over an axis": lambda z: z.min(2).values,
    "maximum of two": lambda z: torch.maximum(z, 0.5 - z),
    "minimum of two": lambda z: torch.minimum(z[:, :1], z),
    "layer norm": nn.LayerNorm((4, 6, 6)),
    "layer norm of the last axis": nn.LayerNorm(6),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4, affine=True),
    "rms norm": nn.RMSNorm((6,)),
    "unit length": lambda z: F.normalize(z, dim=1),
    "standard deviation": lambda z: z / z.std(1, keepdim=True),
    "variance": lambda z: z.var((2, 3)),
    "euclidean norm": lambda z: z.norm(dim=1),
    "average pooling": lambda z: F.avg_pool2d(z, 2).square(),
    "enlarging": lambda z: F.interpolate(z.relu(), scale_factor=2.0, mode="bilinear"),
    "joining": lambda z: torch.cat([z.relu(), -z], 1),
    "attention": lambda z: F.scaled_dot_product_attention(z, z.tanh(), z),
    "causal attention": lambda z: F.scaled_dot_product_attention(z, z, z, is_causal=True),
    "in place, many times": overwriting,
    "another axis first": swapped,
}


class Summed(nn.Module):
    """Σ f(x), so that the multipliers at the input are those of f."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x).sum(1, keepdim=True)


EDGES = (0.0, 6.0, -0.0, 1.0, 1.0 + 2**-10, 2.0**-14, 2.0**-20, 2.0**-24, -(2.0**-24))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("function", "high"), [(F.relu, torch.inf), (F.relu6, 6.0)])
@given(
    x=st.lists(st.sampled_from(EDGES) | st.floats(-20, 20, width=16), min_size=6, max_size=6),
    r=st.lists(st.sampled_from(EDGES) | st.floats(-20, 20, width=16), min_size=6, max_size=6),
    same=st.lists(st.booleans(), min_size=6, max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_quotients_of_rectifiers_to_the_last_digits(
    dtype: torch.dtype, function: Any, high: float, x: list[float], r: list[float], same: list[bool]
):
    """Δf / Δx, and the slope wherever nothing changes: also between numbers as small as there are."""
    at = torch.tensor(x, dtype=dtype)
    base = torch.where(torch.tensor(same), at, torch.tensor(r, dtype=dtype))
    m, _, _ = multipliers(Summed(function), at[None], base[None])
    a, b = at.double(), base.double()
    slope = ((a > 0) & (a < high)).double()
    wanted = torch.where(a == b, slope, (a.clamp(0, high) - b.clamp(0, high)) / (a - b))
    assert m.dtype == dtype
    kind = torch.finfo(dtype)
    torch.testing.assert_close(m[0].double(), wanted, rtol=4 * kind.eps, atol=kind.tiny * kind.eps)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("rules", RULES, ids=lambda r: r.rule)
def test_every_operator_hands_on_the_whole_change(name: str, rules: Multipliers):
    model = around(OPERATORS[name])
    x = numbers(3, 2, 6, 6, seed=2)
    assert gap(model, x, numbers(3, 2, 6, 6, seed=3), rules) <= EXACT
    if name != "another axis first":
        assert gap(model, x, 0 * x[:1], rules) <= EXACT


@pytest.mark.parametrize("name", OPERATORS)
def test_in_single_precision_too(name: str):
    model = around(OPERATORS[name], torch.float32)
    x = numbers(2, 2, 6, 6, seed=2, dtype=torch.float32)
    assert gap(model, x, numbers(2, 2, 6, 6, seed=3, dtype=torch.float32), floor=1.0) <= 1e-5


NO_GRADIENT = {"rounding", "in place, many times"}
"""Where torch has none: of a jump, and of a model that overwrites what its gradient needs."""


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in NO_GRADIENT])
def test_a_reference_next_to_the_input_gives_the_gradient(name: str):
    model, x = around(OPERATORS[name]), numbers(2, 2, 6, 6, seed=2)
    slope = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(slope)[:, 0].sum(), slope)
    m, *_ = multipliers(model, x, x - 1e-7 * numbers(2, 2, 6, 6, seed=5))
    assert torch.allclose(m, slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in NO_GRADIENT])
def test_a_reference_equal_to_the_input_gives_the_gradient(name: str):
    model, x = around(OPERATORS[name]), numbers(2, 2, 6, 6, seed=2)
    slope = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(slope)[:, 0].sum(), slope)
    assert torch.allclose(multipliers(model, x, x)[0], slope, rtol=1e-9, atol=1e-9 * float(slope.abs().max()))


@pytest.mark.parametrize("name", OPERATORS)
def test_rows_do_not_know_each_other(name: str):
    model, x = around(OPERATORS[name]), numbers(3, 2, 6, 6, seed=2)
    r = numbers(3, 2, 6, 6, seed=3)
    alone = torch.cat([multipliers(model, x[i : i + 1], r[i : i + 1])[0] for i in range(3)])
    assert torch.allclose(multipliers(model, x, r)[0], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in OPERATORS if n != "another axis first"])
@pytest.mark.parametrize("rules", RULES, ids=lambda r: r.rule)
def test_one_reference_for_all_is_the_same_as_many(name: str, rules: Multipliers):
    model, x, r = around(OPERATORS[name]), numbers(3, 2, 6, 6, seed=2), numbers(1, 2, 6, 6, seed=3)
    one, many = multipliers(model, x, r, rules)[0], multipliers(model, x, r.repeat(3, 1, 1, 1), rules)[0]
    assert torch.allclose(one, many, rtol=1e-9, atol=1e-12)


def test_one_reference_cannot_stand_for_rows_on_another_axis():
    x = numbers(3, 2, 6, 6, seed=2)
    with pytest.raises(Unlike, match="shape"):
        multipliers(around(swapped), x, x[:1])


def turned_softmax(z: Tensor) -> Tensor:
    return z.transpose(1, 3).softmax(3).transpose(1, 3)


def flat_max(z: Tensor) -> Tensor:
    return z.flatten(2).max(2).values


SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "relu": tuple(f for name, f in OPERATORS.items() if name.startswith("relu") and name != "relu6"),
    "relu6": (F.relu6, lambda z: z.clamp(0, 6), lambda z: F.hardtanh(z, 0, 6), nn.ReLU6(inplace=True)),
    "softmax": (lambda z: z.softmax(1), nn.Softmax(1), lambda z: F.softmin(-z, 1), turned_softmax),
    "silu": (F.silu, nn.SiLU(inplace=True)),
    "max": (lambda z: F.max_pool2d(z, 6), lambda z: z.amax((2, 3)), flat_max, nn.AdaptiveMaxPool2d(1)),
    "product": (lambda z: z * z.tanh(), lambda z: torch.mul(z, z.tanh()), lambda z: z.clone().mul_(z.tanh())),
    "square": (lambda z: z * z, torch.square, lambda z: z**2, lambda z: z.pow(2)),
    "quotient": (lambda z: z / z.exp(), lambda z: torch.div(z, z.exp()), lambda z: z.clone().div_(z.exp())),
    "layer norm": (
        lambda z: F.layer_norm(z, (4, 6, 6)),
        lambda z: F.group_norm(z, 1),
        nn.LayerNorm((4, 6, 6), elementwise_affine=False),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("rules", RULES, ids=lambda r: r.rule)
def test_all_spellings_of_a_function_are_one(name: str, rules: Multipliers):
    x, r = numbers(2, 2, 6, 6, seed=2), numbers(2, 2, 6, 6, seed=3)
    first, *others = [multipliers(around(f), x, r, rules)[0] for f in SPELLINGS[name]]
    for other in others:
        assert torch.allclose(other, first, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["leaky relu", "elu", "absolute"])
def test_a_function_in_two_branches_is_rescaled_as_one(name: str):
    x, r = numbers(2, 2, 6, 6, seed=2), numbers(2, 2, 6, 6, seed=3)
    one, two = (multipliers(around(OPERATORS[n]), x, r)[0] for n in (name, f"{name} by where"))
    assert torch.allclose(one, two, rtol=1e-9, atol=1e-11)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z.sort(1).values,
        lambda z: z.cumprod(1),
        lambda z: torch.div(z, z.exp(), rounding_mode="floor"),
        lambda z: z.abs() ** z,
        lambda z: z.norm(p=1, dim=1),
        lambda z: torch.einsum("ncx,ndx,nex->ncd", *[z.flatten(2)] * 3),
        lambda z: F.batch_norm(z, None, None, training=True),
    ],
    ids=["sort", "cumprod", "rounded quotient", "power of two", "norm of order 1", "three factors", "batch statistics"],
)
def test_what_cannot_be_shared_out_is_refused(function: Any):
    x = numbers(2, 2, 6, 6, seed=2)
    with pytest.raises(RuleError):
        multipliers(around(function), x, 0 * x)


def test_unknown_operators_may_keep_their_gradient():
    x = numbers(2, 2, 6, 6, seed=2)
    model = around(lambda z: z.cumprod(1))
    m, of_x, of_r = multipliers(model, x, 0 * x, Multipliers(unknown="gradient"))
    assert torch.isfinite(m).all()
    assert not torch.allclose((m * x).flatten(1).sum(1), of_x - of_r, rtol=1e-3)


def test_with_gradients_for_the_unknown_the_known_keep_their_rules():
    x, r = numbers(2, 2, 6, 6, seed=2), numbers(2, 2, 6, 6, seed=3)
    for name in ("softmax", "power", "max pooling", "layer norm"):
        assert gap(around(OPERATORS[name]), x, r, Multipliers(unknown="gradient")) <= EXACT
    rule = Multipliers(unknown="gradient").rule_for(Place(Kind.OTHER, "cumprod", ""))
    assert rule is not None and rule.name == NO_RULE


def test_another_way_for_the_reference_is_refused():
    model = around(lambda z: z.relu() if z.sum() > 0 else z.tanh())
    x = numbers(1, 2, 6, 6, seed=2)
    ways = {bool((model.norm(model.conv(s * x))).sum() > 0): s * x for s in (-5.0, 5.0)}
    if len(ways) < 2:
        pytest.skip("both go the same way")
    with pytest.raises(RuleError, match="reference"):
        multipliers(model, ways[True], ways[False])


# -- whole models ---------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(OPERATORS.keys() - {"rounding", "exp", "power"})), min_size=2, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from(RULES),
)
def test_chains_of_operators_are_exact(names: list[str], seed: int, rules: Multipliers):
    def keeps(f: Callable[[Tensor], Tensor]) -> bool:
        return f(numbers(1, 4, 6, 6)).shape[1:] == (4, 6, 6)

    with torch.no_grad():
        chain = [f for f in (copied(OPERATORS[name]) for name in names) if keeps(f)]
    model = around(nn.Sequential(*[Called(f) for f in chain]))
    x, r = numbers(2, 2, 6, 6, seed=seed), numbers(2, 2, 6, 6, seed=seed + 1)
    assume(bool(torch.isfinite(model(torch.cat([x, r]))).all()))  # numbers without spread divided by their spread
    assert gap(model, x, r, rules) <= 1e-8


def copied(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return f.double() if isinstance(f, nn.Module) else f


class Called(nn.Module):
    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)
