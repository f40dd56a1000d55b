"""Every rule of linear maps against its matrix form, over all kinds of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.lrp import dense
from tests.unit.propagation.lrp.calls import Made, drawn, matrix
from torch import Tensor

from pellucid.core.errors import ParameterError, RuleError
from pellucid.propagation.lrp.box import ZBox
from pellucid.propagation.lrp.layers import AlphaBeta, Epsilon, Flat, Gamma, WSquare, Zero, ZPlus
from pellucid.propagation.lrp.shares import above
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Rule

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
E = 1e-6
RULES: dict[str, tuple[Rule, dense.Dense]] = {
    "zero": (Zero(), dense.epsilon(0.0)),
    "epsilon": (Epsilon(0.1), dense.epsilon(0.1)),
    "z-plus": (ZPlus(), dense.z_plus(E)),
    "alpha-beta": (AlphaBeta(), dense.alpha_beta(2, 1, E)),
    "alpha-beta 3": (AlphaBeta(3.0, 2.0), dense.alpha_beta(3, 2, E)),
    "gamma": (Gamma(), dense.gamma(0.25, E)),
    "w-square": (WSquare(), dense.w_square(E)),
}

Layer = tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...], int, dict[str, Any]]
LAYERS: dict[str, Layer] = {  # function, row, weight, biases, arguments
    "linear": (F.linear, (5,), (4, 5), 4, {}),
    "linear on tokens": (F.linear, (3, 5), (4, 5), 4, {}),
    "conv1d": (F.conv1d, (2, 7), (3, 2, 3), 3, {"padding": 1}),
    "conv2d": (F.conv2d, (2, 5, 4), (3, 2, 3, 3), 3, {"padding": 1}),
    "strided": (F.conv2d, (2, 6, 5), (3, 2, 3, 2), 3, {"stride": (2, 1), "padding": (1, 0)}),
    "dilated": (F.conv2d, (2, 6, 5), (3, 2, 2, 2), 3, {"dilation": 2, "padding": 1}),
    "grouped": (F.conv2d, (4, 4, 4), (6, 2, 3, 3), 6, {"groups": 2, "padding": 1}),
    "depthwise": (F.conv2d, (4, 4, 4), (4, 1, 3, 3), 4, {"groups": 4, "padding": 1}),
    "padding same": (F.conv2d, (2, 5, 4), (3, 2, 3, 3), 3, {"padding": "same"}),
    "padding same, even kernel": (F.conv2d, (2, 5, 4), (3, 2, 2, 4), 3, {"padding": "same"}),
    "padding valid": (F.conv2d, (2, 5, 4), (3, 2, 3, 3), 3, {"padding": "valid"}),
    "conv3d": (F.conv3d, (2, 3, 3, 4), (2, 2, 2, 3, 2), 2, {"padding": (0, 1, 0)}),
    "transposed 1d": (F.conv_transpose1d, (2, 4), (2, 3, 3), 3, {"stride": 2}),
    "transposed 2d": (F.conv_transpose2d, (2, 3, 3), (2, 3, 3, 3), 3, {"stride": 2, "padding": 1}),
    "transposed, grouped": (
        F.conv_transpose2d,
        (4, 3, 2),
        (4, 3, 2, 2),
        6,
        {"stride": 2, "output_padding": 1, "groups": 2},
    ),
    "transposed 3d": (F.conv_transpose3d, (2, 2, 2, 3), (2, 2, 2, 2, 2), 2, {"dilation": 2}),
}


def layer(name: str, bias: bool, seed: int, *, signed: bool = True, rows: int = 2, **more: Any) -> Made:
    function, row, weight, biases, arguments = LAYERS[name]
    a = drawn(rows, *row, seed=seed)
    a = a if signed else a.abs()
    return Made(
        function,
        a,
        drawn(*weight, seed=seed + 1),
        drawn(biases, seed=seed + 2) if bias else None,
        **arguments,
        **more,
    )


def by_matrix(made: Made, rule: dense.Dense, r: Tensor) -> Tensor:
    """The rule of every row, in matrix form."""
    a, *others = made.inputs
    w, b = matrix(lambda x: made.call.run((x[None], *others))[0], a[0])
    return torch.stack([rule(w, b, row.flatten(), out.flatten()).view_as(row) for row, out in zip(a, r, strict=True)])


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "positive"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", RULES)
def test_matrix_form(rule: str, name: str, bias: bool, signed: bool) -> None:
    for seed in (0, 10):
        made = layer(name, bias, seed, signed=signed)
        r = drawn(*made.output().shape, seed=seed + 3)
        ours, theirs = RULES[rule]
        close(made.relevance(ours, r), by_matrix(made, theirs, r))


@pytest.mark.parametrize("name", LAYERS)
def test_flat(name: str) -> None:
    made = layer(name, True, 0)
    a, w, *_ = made.inputs
    looks, _ = matrix(lambda x: made.call.run((x[None], torch.ones_like(w), torch.zeros_like(made.inputs[2])))[0], a[0])
    r = drawn(*made.output().shape, seed=3)
    close(made.relevance(Flat(), r), by_matrix(made, dense.flat(looks, E), r))


@pytest.mark.parametrize("name", LAYERS)
def test_box(name: str) -> None:
    made = layer(name, True, 0)
    low, high = made.inputs[0].amin(0, keepdim=True) - 0.5, made.inputs[0].amax(0, keepdim=True) + 1
    r = drawn(*made.output().shape, seed=3)
    close(made.relevance(ZBox(low, high), r), by_matrix(made, dense.z_box(low.flatten(), high.flatten(), E), r))


@pytest.mark.parametrize("name", LAYERS)
def test_a_box_of_numbers(name: str) -> None:
    made = layer(name, True, 0)
    r, like = drawn(*made.output().shape, seed=3), torch.ones_like(made.inputs[0][:1])
    close(made.relevance(ZBox(-9, 9.5), r), made.relevance(ZBox(-9 * like, 9.5 * like), r))
    with pytest.raises(ParameterError, match="a tensor like one row, or a number"):
        ZBox("black", "white")  # pyright: ignore


def test_gamma_is_the_classic_one_for_positive_inputs_and_outputs() -> None:
    made = layer("conv2d", True, 4, signed=False)
    r = drawn(*made.output().shape, seed=3).where(made.output() > 0, 0.0)
    close(made.relevance(Gamma(stabilizer=0.0), r), by_matrix(made, dense.classic_gamma(0.25), r))


def test_alpha_one_is_z_plus_and_large_gamma_goes_there() -> None:
    made = layer("conv2d", True, 4)
    r = drawn(*made.output().shape, seed=3).where(made.output() > 0, 0.0)
    plus = made.relevance(ZPlus(), r)
    close(made.relevance(AlphaBeta(1.0, 0.0), r), plus)
    torch.testing.assert_close(made.relevance(Gamma(1e9), r), plus, rtol=1e-5, atol=1e-5)


def merged(made: Made, seed: int) -> tuple[Made, Made]:
    """The layer with a batch norm merged into it, and the layer that has it in its weights."""
    out = made.output()
    channels = out.shape[1 if made.kind is Kind.CONVOLUTION else -1]
    scale, shift = drawn(channels, seed=seed), drawn(channels, seed=seed + 1)
    others = made.inputs[1:]

    def run(a: Tensor) -> Tensor:
        z = made.call.run((a, *others))
        spread = (-1, *(1,) * (z.ndim - 2)) if made.kind is Kind.CONVOLUTION else (-1,)
        return scale.view(spread) * z + shift.view(spread)

    with_norm = Made(made.call.function, *made.call.filled(made.inputs)[0], affine=(scale, shift), **made.call.kwargs)
    whole = Made(run, made.inputs[0])
    return with_norm, whole


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_merged_batch_norm(name: str, bias: bool) -> None:
    with_norm, whole = merged(MAPS["matmul"] if name == "matmul" else layer(name, bias, 5), 9)
    a = with_norm.inputs[0]
    w, b = matrix(lambda x: whole.call.function(x[None])[0], a[0])
    r = drawn(*with_norm.output().shape, seed=3)
    for ours, theirs in RULES.values():
        rows = [theirs(w, b, x.flatten(), out.flatten()).view_as(x) for x, out in zip(a, r, strict=True)]
        close(with_norm.relevance(ours, r), torch.stack(rows))


def constants() -> Iterator[tuple[str, Made]]:
    """Linear maps that are no layers."""
    x, w = drawn(2, 3, 4, seed=1), drawn(4, 5, seed=2)
    yield "matmul", Made(torch.matmul, x, w)
    yield "from the left", Made(torch.matmul, drawn(5, 3, seed=2), x, tracked=(1,))
    yield "einsum", Made(torch.einsum, "bij,jk->bik", x, w)
    yield "bmm", Made(torch.bmm, x, drawn(2, 4, 2, seed=3))
    yield "addmm", Made(torch.addmm, drawn(5, seed=4), x[:, 0], w, tracked=(1,))
    yield "addmm with factors", Made(torch.addmm, drawn(5, seed=4), x[:, 0], w, tracked=(1,), alpha=2.0, beta=0.5)
    yield "baddbmm", Made(torch.baddbmm, drawn(2, 3, 2, seed=4), x, drawn(2, 4, 2, seed=3), tracked=(1,), beta=0.5)
    yield "product", Made(torch.mul, x, drawn(3, 1, seed=5))
    yield "reversed product", Made(torch.mul, drawn(3, 1, seed=5), x, tracked=(1,))
    yield "quotient", Made(torch.div, x, drawn(4, seed=5))
    yield "quotient by a number", Made(torch.div, x, 3.0)
    statistics = (drawn(3, seed=6), drawn(3, seed=7).abs())
    yield "batch norm", Made(F.batch_norm, x, *statistics, drawn(3, seed=8), drawn(3, seed=9), False, 0.1, 1e-3)


MAPS = dict(constants())


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("rule", RULES)
def test_linear_maps_without_modules(rule: str, name: str) -> None:
    made = MAPS[name]
    index = made.call.tracked.index(True)
    a = made.inputs[index]

    def run(x: Tensor) -> Tensor:
        return made.call.run(tuple(x if i == index else t for i, t in enumerate(made.inputs)))

    w, b = matrix(run, a)
    r = drawn(*made.output().shape, seed=3)
    ours, theirs = RULES[rule]
    close(made.relevance(ours, r, index), theirs(w, b, a.flatten(), r.flatten()).view_as(a))


@pytest.mark.parametrize("rule", ["zero", "z-plus", "gamma", "w-square"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_books_balance(rule: str, name: str, bias: bool) -> None:
    """What arrives at input and bias is what left; to five digits, because of the stabiliser."""
    made = layer(name, bias, 5, full=True)
    (a, w), run, more = made.inputs[:2], LAYERS[name][0], LAYERS[name][4]
    heard = run(above(a), above(w), **more) + run(above(-a), above(-w), **more) > 0.1  # else z-plus loses relevance
    r = drawn(*made.output().shape, seed=3).where(heard, 0.0)
    assert bool(r.any())
    arrived = sum(float(t.sum()) for t in made.back(RULES[rule][0], r) if t is not None)
    assert arrived == pytest.approx(float(r.sum()), rel=1e-4)


def test_relative_epsilon_does_not_depend_on_the_unit() -> None:
    made = layer("conv2d", False, 5)
    r = drawn(*made.output().shape, seed=3)
    other = Made(F.conv2d, 1000 * made.inputs[0], made.inputs[1], None, padding=1)
    rule = Epsilon(0.25, relative=True)
    close(made.relevance(rule, r), other.relevance(rule, r))
    rows = made.output().flatten(1).square().mean(1).sqrt()
    one = by_matrix(made, dense.epsilon(0.25 * float(rows[0])), r)[0]
    close(made.relevance(rule, r)[0], one)


def test_box_knows_zeros_around_the_input() -> None:
    """A model that pads by itself and one whose layer pads have the same relevance."""
    a, w = drawn(2, 3, 4, 4, seed=1), drawn(2, 3, 3, 3, seed=2)
    low, high = a.amin((0, 2, 3), keepdim=True) - 1, a.amax((0, 2, 3), keepdim=True) + 1
    low, high = low.expand(1, 3, 4, 4), high.expand(1, 3, 4, 4)
    inside = Made(F.conv2d, a, w, padding=1)
    outside = Made(F.conv2d, F.pad(a, (1, 1, 1, 1)), w)
    r = drawn(*inside.output().shape, seed=3)
    got = outside.relevance(ZBox(low, high), r)
    close(got[..., 1:-1, 1:-1], inside.relevance(ZBox(low, high), r))
    assert float(got.sum() - got[..., 1:-1, 1:-1].sum()) == 0


def test_box_refuses_what_is_no_input() -> None:
    made = layer("conv2d", True, 0)
    a = made.inputs[0]
    r = torch.ones_like(made.output())
    with pytest.raises(RuleError, match="outside of the box"):
        made.back(ZBox(a[:1] * 0, a[:1] * 0 + 0.1), r)
    with pytest.raises(RuleError, match="reads the input"):
        made.back(ZBox(drawn(1, 7, 5, 4) - 100, drawn(1, 7, 5, 4) + 100), r)


def test_boxes_are_equal_by_value() -> None:
    low, high = drawn(1, 3, 2, 2), drawn(1, 3, 2, 2) + 10
    assert ZBox(low, high) == ZBox(low.clone(), high.clone())
    assert hash(ZBox(low, high)) == hash(ZBox(low.clone(), high.clone()))
    assert ZBox(low, high) != ZBox(low, high + 1)


def test_weightless_calls_are_refused_by_rules_of_weights() -> None:
    made = Made(F.avg_pool2d, drawn(1, 2, 4, 4), 2)
    with pytest.raises(RuleError, match="has no weights"):
        made.back(ZPlus(), torch.ones(1, 2, 2, 2))


def test_products_of_two_inputs_are_not_linear() -> None:
    made = Made(torch.matmul, drawn(2, 3), drawn(3, 2), tracked=(0, 1))
    with pytest.raises(RuleError, match="MatrixProduct"):
        made.back(Epsilon(), torch.ones(2, 2))


def test_batch_statistics_are_refused() -> None:
    made = Made(F.batch_norm, drawn(4, 3), None, None, training=True)
    with pytest.raises(RuleError, match="from the batch"):
        made.back(Epsilon(), torch.ones(4, 3))


@pytest.mark.parametrize("make", [lambda: Epsilon(-1.0), lambda: Gamma(float("nan")), lambda: AlphaBeta(2.0, 2.0)])
def test_wrong_numbers_are_refused(make: Callable[[], Rule]) -> None:
    with pytest.raises(ParameterError):
        make()
