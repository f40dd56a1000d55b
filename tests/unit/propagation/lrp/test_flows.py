"""Rules of what has no weights: against loops, against equations of the papers, and in their books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.lrp import dense
from tests.unit.propagation.lrp.calls import Made, drawn, matrix, stable
from tests.unit.propagation.lrp.test_layers import close
from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.lrp.attention import MatrixProduct, Softmax
from pellucid.propagation.lrp.flows import Norm, Pass, Product, Quotient, Refuse
from pellucid.propagation.lrp.layers import Epsilon
from pellucid.propagation.lrp.norms import LayerNorm

E = 1e-6


def back(made: Made, rule: Any, r: Tensor) -> list[Tensor | None]:
    return list(made.back(rule, r))


# -- sums and means ----------------------------------------------------------------------------------------------

MEANS: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = {
    "mean": (torch.mean, ((1, 2),), {}),
    "sum": (torch.sum, (1,), {}),
    "cumsum": (torch.cumsum, (2,), {}),
    "average pool": (F.avg_pool2d, (2,), {"stride": 1, "padding": 1}),
    "adaptive": (F.adaptive_avg_pool2d, ((2, 3),), {}),
    "nearest": (F.interpolate, (), {"scale_factor": 2, "mode": "nearest"}),
    "bilinear": (F.interpolate, (), {"size": (5, 3), "mode": "bilinear", "align_corners": False}),
    "bicubic": (F.interpolate, (), {"size": (5, 3), "mode": "bicubic"}),
}


@pytest.mark.parametrize("name", MEANS)
def test_means_share_by_what_they_sum(name: str) -> None:
    function, args, kwargs = MEANS[name]
    a = drawn(2, 2, 4, 4, seed=1)
    made = Made(function, a, *args, **kwargs)
    r = drawn(*made.output().shape, seed=2)
    w, b = matrix(lambda x: function(x, *args, **kwargs), a)
    close(made.relevance(Norm(), r), dense.epsilon(E)(w, b, a.flatten(), r.flatten()).view_as(a))


SUMS: dict[str, tuple[Callable[..., Tensor], float, float, dict[str, Any]]] = {
    "add": (torch.add, 1, 1, {}),
    "add with a factor": (torch.add, 1, -2, {"alpha": -2}),
    "sub": (torch.sub, 1, -1, {}),
    "sub with a factor": (torch.sub, 1, -3, {"alpha": 3}),
    "rsub": (torch.rsub, -1, 1, {}),
    "operator": (Tensor.__add__, 1, 1, {}),
    "reversed": (Tensor.__radd__, 1, 1, {}),
    "reversed difference": (Tensor.__rsub__, -1, 1, {}),
}


@pytest.mark.parametrize("shape", [(2, 3, 4), (4,), (3, 1)], ids=str)
@pytest.mark.parametrize("name", SUMS)
def test_summands_share_by_size_and_sign(name: str, shape: tuple[int, ...]) -> None:
    function, first, second, kwargs = SUMS[name]
    x, y = drawn(2, 3, 4, seed=1), drawn(*shape, seed=2)
    made = Made(function, x, y, tracked=(0, 1), **kwargs)
    close(made.output(), first * x + second * y)
    r = drawn(2, 3, 4, seed=3)
    rx, ry = torch.zeros_like(x), torch.zeros(2, 3, 4, dtype=torch.float64)
    wide = y.expand(2, 3, 4)
    for at in torch.cartesian_prod(*(torch.arange(n) for n in r.shape)).tolist():
        here = tuple(at)
        z = float(first * x[here] + second * wide[here])
        rx[here] = first * x[here] * r[here] / stable(z, E)
        ry[here] = second * wide[here] * r[here] / stable(z, E)
    got = back(made, Norm(), r)
    assert got[0] is not None
    assert got[1] is not None
    close(got[0], rx)
    close(got[1], ry.sum_to_size(y.shape))


def test_constants_of_sums_absorb_and_are_told_only_in_books() -> None:
    x, y = drawn(2, 3, seed=1), drawn(3, seed=2)
    r = drawn(2, 3, seed=3)
    assert back(Made(torch.add, x, y), Norm(), r)[1] is None
    told = back(Made(torch.add, x, y, full=True), Norm(), r)
    assert sum(float(t.sum()) for t in told if t is not None) == pytest.approx(float(r.sum()), rel=1e-4)


# -- activations, products, quotients ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [torch.relu, torch.sigmoid, F.gelu, torch.exp, F.hardswish, torch.square])
def test_activations_pass(function: Callable[..., Tensor]) -> None:
    made, r = Made(function, drawn(2, 3)), drawn(2, 3, seed=1)
    close(made.relevance(Pass(), r), r)


def test_the_gated_half_takes_all() -> None:
    made, r = Made(F.glu, drawn(2, 6, 3), 1), drawn(2, 3, 3, seed=1)
    close(made.relevance(Pass(), r), torch.cat([r, torch.zeros_like(r)], 1))


def products() -> dict[str, tuple[Made, tuple[float | None, ...]]]:
    """The shares of both sides."""
    x, y, gate, narrow = drawn(2, 3, 4), drawn(2, 3, 4, seed=1), drawn(2, 3, 4, seed=2), drawn(2, 3, 1, seed=3)
    return {
        "alike": (Made(torch.mul, x, y, tracked=(0, 1)), (0.5, 0.5)),
        "a gate": (Made(torch.mul, x, gate, tracked=(0, 1), gates=(1,)), (1.0, None)),
        "a gate before": (Made(torch.mul, gate, x, tracked=(0, 1), gates=(0,)), (None, 1.0)),
        "two gates": (Made(torch.mul, gate, x, tracked=(0, 1), gates=(0, 1)), (0.5, 0.5)),
        "a constant": (Made(torch.mul, x, y), (1.0, None)),
        "a number": (Made(torch.mul, x, 3.0), (1.0,)),
        "broadcast": (Made(torch.mul, x, narrow, tracked=(0, 1)), (1.0, None)),
        "constant and broadcast": (Made(torch.mul, y, narrow, tracked=(1,)), (None, 1.0)),
    }


@pytest.mark.parametrize("name", products())
def test_products(name: str) -> None:
    made, shares = products()[name]
    r = drawn(2, 3, 4, seed=5)
    for got, part, given in zip(back(made, Product(), r), shares, made.inputs, strict=True):
        assert (got is None) == (part is None)
        if got is not None and part is not None:
            close(got, (part * r).sum_to_size(given.shape))


def test_numerators_take_all() -> None:
    x, y, r = drawn(2, 3), drawn(2, 1, seed=1), drawn(2, 3, seed=2)
    both = back(Made(torch.div, x, y, tracked=(0, 1)), Quotient(), r)
    assert both[0] is r or torch.equal(both[0], r)  # type: ignore[arg-type]
    assert both[1] is None
    close(Made(torch.div, x, y, tracked=(1,)).relevance(Quotient(), r, 1), r.sum(1, keepdim=True))
    reverse = back(Made(Tensor.__rtruediv__, y, x, tracked=(0, 1)), Quotient(), r)
    assert reverse[0] is None
    assert torch.equal(reverse[1], r)  # type: ignore[arg-type]


def test_refusal_names_the_operator_and_only_where_a_signal_comes() -> None:
    made = Made(torch.cross, drawn(2, 3), drawn(2, 3, seed=1), tracked=(0, 1))
    assert back(made, Refuse(), torch.zeros(2, 3)) == [None, None]
    with pytest.raises(RuleError, match="cross in layer 'here'"):
        made.back(Refuse(), torch.ones(2, 3))


# -- norms -------------------------------------------------------------------------------------------------------


def norms(full: bool = False) -> dict[str, Made]:
    x, w, b = drawn(2, 4, 3, seed=1), drawn(3, seed=2), drawn(3, seed=3)
    c, d = drawn(4, seed=4), drawn(4, seed=5)
    return {
        "layer": Made(F.layer_norm, x, (3,), w, b, 1e-3, full=full),
        "layer, two axes": Made(F.layer_norm, x, (4, 3), drawn(4, 3, seed=2), drawn(4, 3, seed=3), full=full),
        "layer, plain": Made(F.layer_norm, x, (3,), full=full),
        "group": Made(F.group_norm, x, 2, c, d, full=full),
        "instance": Made(F.instance_norm, x, None, None, c, d, full=full),
        "root mean square": Made(F.rms_norm, x, (3,), w, 1e-3, full=full),
    }


def frozen(made: Made) -> tuple[Tensor, Tensor]:
    """Matrix and bias of a norm N(x) = (C x) γ / σ(x) + β whose deviation σ is held at what it is for the input."""
    x, *others = made.inputs
    zero = made.call.run((torch.zeros_like(x), *others)).flatten()  # β
    columns = []
    for i in range(x.numel()):
        e = torch.zeros_like(x).flatten()
        e[i] = 1
        columns.append(centre(made, e.view_as(x)))
    gain = (made.output().flatten() - zero) / centre(made, x)  # γ / σ, element by element
    return torch.stack(columns, 1) * gain[:, None], zero


def centre(made: Made, t: Tensor) -> Tensor:
    """What is left when the means are gone, written out group by group."""
    name = made.call.operator.name
    if name == "rms_norm":
        return t.flatten()
    out = t.clone()
    for row in out:
        if name == "layer_norm":
            shape = made.call.args[1]
            for group in row.reshape(-1, torch.Size(shape).numel()) if len(shape) == 1 else [row.view(-1)]:
                group -= group.mean()
        else:
            for group in row.view(2, -1) if name == "group_norm" else row:
                group -= group.mean()
    return out.flatten()


@pytest.mark.parametrize("name", norms())
def test_norms_are_linear_with_a_constant_deviation(name: str) -> None:
    made = norms()[name]
    x, r = made.inputs[0], drawn(2, 4, 3, seed=7)
    w, b = frozen(made)
    close(w @ x.flatten() + b, made.output().flatten())
    wanted = dense.epsilon(E)(w, b, x.flatten(), r.flatten()).view_as(x)
    torch.testing.assert_close(made.relevance(LayerNorm(), r), wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", norms())
def test_books_of_norms(name: str) -> None:
    made, r = norms(full=True)[name], drawn(2, 4, 3, seed=7)
    told = back(made, LayerNorm(0.0), r)
    assert sum(float(t.sum()) for t in told if t is not None) == pytest.approx(float(r.sum()), rel=1e-9)


# -- attention ---------------------------------------------------------------------------------------------------


def test_softmax_is_the_equation_of_the_paper() -> None:
    x, r = drawn(2, 3, 4), drawn(2, 3, 4, seed=1)
    for dim in (1, 2, -1):
        p = x.softmax(dim)
        close(Made(torch.softmax, x, dim).relevance(Softmax(), r), x * (r - p * r.sum(dim, keepdim=True)))


def test_softmax_is_the_first_taylor_term() -> None:
    """R = x · Jᵀ(R / f), which is how the other members of the family are done."""
    x, r = drawn(3, 5), drawn(3, 5, seed=1)
    for function, rule in ((torch.softmax, Softmax()), (torch.log_softmax, Softmax(0.0)), (F.softmin, Softmax(0.0))):
        leaf = x.clone().requires_grad_()
        f = function(leaf, 1)
        (slope,) = torch.autograd.grad(f, leaf, r / f.detach())
        close(Made(function, x, 1).relevance(rule, r), x * slope)


def test_hidden_keys_get_nothing() -> None:
    x = drawn(2, 4).where(torch.tensor([True, True, False, True]), float("-inf"))
    r = drawn(2, 4, seed=1).where(x.isfinite(), 0.0)
    got = Made(torch.softmax, x, -1).relevance(Softmax(), r)
    assert bool(got.isfinite().all())
    assert not bool(got[:, 2].any())


def by_pairs(a: Tensor, v: Tensor, r: Tensor, part: float, times: float) -> tuple[Tensor, Tensor]:
    """Σ over all products a_ij v_jk of O_ik, each sharing `part` of its relevance with both factors."""
    o = a @ v
    ra, rv = torch.zeros_like(a), torch.zeros_like(v)
    for n in range(len(a)):
        for i in range(a.shape[1]):
            for k in range(v.shape[2]):
                s = r[n, i, k] / stable(float(times * o[n, i, k]), E)
                for j in range(a.shape[2]):
                    term = a[n, i, j] * v[n, j, k] * s
                    ra[n, i, j] += part * term
                    rv[n, j, k] += term
    return ra, rv


SPELLINGS: dict[str, Callable[..., Made]] = {
    "matmul": lambda a, v, **k: Made(torch.matmul, a, v, **k),
    "bmm": lambda a, v, **k: Made(torch.bmm, a, v, **k),
    "einsum": lambda a, v, **k: Made(torch.einsum, "bij,bjk->bik", a, v, **k),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_both_factors_take_half_of_every_product(spelling: str) -> None:
    a, v, r = drawn(2, 3, 4), drawn(2, 4, 5, seed=1), drawn(2, 3, 5, seed=2)
    made = SPELLINGS[spelling](a, v, tracked=(0, 1), gates=(0,))
    ra, rv = by_pairs(a, v, r, 1.0, 2.0)
    got = back(made, MatrixProduct("share"), r)
    close(got[0], ra)  # type: ignore[arg-type]
    close(got[1], rv)  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values_take_all_where_attention_is_constant(spelling: str) -> None:
    a, v, r = drawn(2, 3, 4), drawn(2, 4, 5, seed=1), drawn(2, 3, 5, seed=2)
    got = back(SPELLINGS[spelling](a, v, tracked=(0, 1), gates=(0,)), MatrixProduct("stop"), r)
    assert got[0] is None
    close(got[1], by_pairs(a, v, r, 0.0, 1.0)[1])  # type: ignore[arg-type]
    keys = back(SPELLINGS[spelling](a, v, tracked=(0, 1)), MatrixProduct("stop"), r)
    close(keys[0], by_pairs(a, v, r, 1.0, 2.0)[0])  # type: ignore[arg-type]


def test_factors_that_are_broadcast() -> None:
    a, v, r = drawn(2, 3, 4), drawn(4, 5, seed=1), drawn(2, 3, 5, seed=2)
    ra, rv = by_pairs(a, v.expand(2, 4, 5), r, 1.0, 2.0)
    got = back(Made(torch.matmul, a, v, tracked=(0, 1)), MatrixProduct(), r)
    close(got[0], ra)  # type: ignore[arg-type]
    close(got[1], rv.sum(0))  # type: ignore[arg-type]


def test_summands_of_products_take_their_part() -> None:
    """Bloom's spelling: bias + queries × keys."""
    b, q, k, r = drawn(2, 3, 5, seed=3), drawn(2, 3, 4), drawn(2, 4, 5, seed=1), drawn(2, 3, 5, seed=2)
    made = Made(torch.baddbmm, b, q, k, tracked=(0, 1, 2), beta=0.5)
    told = back(made, MatrixProduct(stabilizer=0.0), r)
    assert sum(float(t.sum()) for t in told if t is not None) == pytest.approx(float(r.sum()), rel=1e-9)
    close(told[0], 0.5 * b * r / made.output())  # type: ignore[arg-type]


def test_products_with_constants_are_layers() -> None:
    made, r = Made(torch.matmul, drawn(2, 3), drawn(3, 4, seed=1)), drawn(2, 4, seed=2)
    close(made.relevance(MatrixProduct(layer=Epsilon(0.1)), r), made.relevance(Epsilon(0.1), r))
