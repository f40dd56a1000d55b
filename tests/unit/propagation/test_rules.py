"""Guided backpropagation and deconvnet against maps that are written out backwards by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.propagation.nets import Net, by_hand, plain, row, saliency
from torch import Tensor, nn

from pellucid.propagation import Deconv, Guided, Intercept

X = row(2, 2, 5, 5, seed=1)


def guided(x: Tensor, r: Tensor) -> Tensor:
    return (x > 0) * (r > 0) * r


def deconv(x: Tensor, r: Tensor) -> Tensor:
    return (r > 0) * r


@pytest.mark.parametrize(("rules", "gate"), [(Guided(), guided), (Deconv(), deconv)])
def test_a_small_convolutional_net_with_a_residual_sum(rules, gate):
    net = Net(torch.relu)
    found, _ = saliency(net, X, rules)
    torch.testing.assert_close(found, by_hand(net, X, gate), atol=1e-9, rtol=1e-9)
    assert not torch.allclose(found, plain(net, X))


@settings(max_examples=25, deadline=None)
@given(widths=st.lists(st.integers(1, 6), min_size=3, max_size=5), seed=st.integers(0, 2**20), which=st.booleans())
def test_chains_of_linear_layers_are_products_of_gated_matrices(widths, seed, which):
    matrices = [row(b, a, seed=seed + i) for i, (a, b) in enumerate(pairwise(widths))]

    class Chain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for w in matrices[:-1]:
                x = F.relu(F.linear(x, w))
            return F.linear(x, matrices[-1])

    x = row(1, widths[0], seed=seed + 99)
    met = [x[0]]
    for w in matrices[:-1]:
        met.append((w @ met[-1]).clamp(min=0))
    r = matrices[-1][0]
    for w, a in zip(matrices[-2::-1], met[:0:-1], strict=True):
        r = w.T @ torch.tensor(
            [ri if ri > 0 and (ai > 0 or not which) else 0.0 for ri, ai in zip(r, a, strict=True)], dtype=r.dtype
        )
    found, _ = saliency(Chain(), x, Guided() if which else Deconv(), target=0)
    torch.testing.assert_close(found[0], r, atol=1e-9, rtol=1e-9)


LEAKS: list[tuple[str, Callable[[Tensor], Tensor], Callable[[float], float]]] = [
    ("relu6", F.relu6, lambda x: 0 < x < 6),
    ("hardtanh", lambda x: F.hardtanh(x, -0.5, 1.5), lambda x: -0.5 < x < 1.5),
    ("clamp", lambda x: x.clamp(0, 1), lambda x: 0 < x < 1),
    ("threshold", lambda x: F.threshold(x, 0.3, -2.0), lambda x: x > 0.3),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), lambda x: 1 if x > 0 else 0.2),
    ("prelu", lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=x.dtype)), None),
    ("rrelu", F.rrelu, lambda x: 1 if x > 0 else (1 / 8 + 1 / 3) / 2),
    ("elu", lambda x: F.elu(x, 0.7), lambda x: 1 if x > 0 else 0.7 * math.exp(x)),
    ("selu", F.selu, lambda x: 1.0507009873554805 * (1 if x > 0 else 1.6732632423543772 * math.exp(x))),
    ("celu", lambda x: F.celu(x, 2.0), lambda x: 1 if x > 0 else math.exp(x / 2)),
    ("softplus", lambda x: F.softplus(x, 3.0, 4.0), lambda x: 1 if 3 * x > 4 else 1 / (1 + math.exp(-3 * x))),
]


@pytest.mark.parametrize(("name", "function", "slope"), LEAKS, ids=[name for name, *_ in LEAKS])
def test_every_rectifier_has_its_own_slope(name, function, slope):
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x) * weight

    x, weight = 3 * row(4, 5, seed=2), row(4, 5, seed=3)
    found, seen = saliency_of_sum(One(), x, Guided())
    if slope is None:
        slopes = torch.where(x > 0, 1.0, torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=x.dtype))
    else:
        slopes = torch.tensor([[float(slope(v)) for v in line] for line in x.tolist()], dtype=x.dtype)
    torch.testing.assert_close(found, slopes * weight.clamp(min=0), atol=1e-9, rtol=1e-9)
    assert [e.operator for e in seen.audit.served] == [name]
    away = (x.abs() > 0.01).double()  # away from the kink the slope is torch's own derivative
    y = x.clone().requires_grad_()
    torch.testing.assert_close(away * torch.autograd.grad(function(y).sum(), y)[0], away * slopes)
    torch.testing.assert_close(saliency_of_sum(One(), x, Deconv())[0], weight.clamp(min=0))


def saliency_of_sum(model: nn.Module, x: Tensor, rules: Guided | Deconv) -> tuple[Tensor, Intercept]:
    x = x.clone().requires_grad_()
    with Intercept(model, rules) as seen:
        y = model(x).sum()
    (grad,) = torch.autograd.grad(y, x)
    seen.verify()
    return grad, seen


def test_smooth_activations_keep_their_gradient_and_are_reported():
    net = Net(lambda x: F.gelu(torch.sigmoid(F.relu(x))))
    _, seen = saliency(net, X, Guided())
    assert {(e.operator, e.rule) for e in seen.audit.unruled} == {
        ("gelu", "no rule: plain gradient"),
        ("sigmoid", "no rule: plain gradient"),
    }
    table = str(seen.audit)
    assert "no rule: plain gradient" in table and "2 of 2 served calls ran" in table


def test_not_a_number_is_not_hidden():
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) * torch.tensor([float("nan"), 1.0])

    found, _ = saliency_of_sum(One(), torch.ones(1, 2), Guided())
    assert found[0, 0].isnan() and found[0, 1] == 1


def test_several_backward_passes_and_batched_gradients_agree():
    net, x = Net(F.relu), X.clone().requires_grad_()
    with Intercept(net, Guided()) as seen:
        y = net(x)
        inside = torch.autograd.grad(y[:, 0].sum(), x, retain_graph=True)[0]
    outside = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(3)]
    basis = torch.eye(3, dtype=y.dtype)[:, None].expand(3, len(x), 3)
    batched = torch.autograd.grad(y, x, basis, is_grads_batched=True)[0]
    seen.verify()
    torch.testing.assert_close(inside, outside[0])
    torch.testing.assert_close(batched, torch.stack(outside), atol=1e-12, rtol=1e-12)
    assert {e.runs for e in seen.audit.served} == {5}


def test_two_passes_of_one_block_share_their_lines():
    net = Net(F.relu)
    with Intercept(net, Guided()) as seen:
        maps = []
        for part in (X[:1], X[1:]):
            x = part.clone().requires_grad_()
            maps.append(torch.autograd.grad(net(x)[:, 1].sum(), x)[0])
    torch.testing.assert_close(torch.cat(maps), saliency(net, X, Guided())[0])
    assert [(e.layer, e.call, e.runs) for e in seen.audit.served] == [("", 1, 2), ("", 2, 2)]
