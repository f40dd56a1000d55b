"""Another kind of operator gets a rule without any change of the mechanism: epsilon-LRP on linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn

from pellucid.core.errors import RuleError
from pellucid.propagation import Call, Intercept, Kind, Manner, Place, Rule


@dataclass(frozen=True, slots=True)
class Epsilon(Rule):
    """R_i = a_i Σ_j w_ij R_j / (z_j + ε·sign z_j)."""

    epsilon: float
    name: str = "epsilon"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            a, *weights = (tensor.detach() for tensor in kept)
            z = call.run((a.requires_grad_(), *weights))
            s = upstream[0] / (z + self.epsilon * torch.where(z >= 0, 1.0, -1.0))
            (pulled,) = torch.autograd.grad(z, a, s.detach())
        return (a.detach() * pulled,)


@dataclass(frozen=True, slots=True)
class Through(Rule):
    name: str = "through"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream


@dataclass(frozen=True, slots=True)
class Composite:
    epsilon: float
    name: str = "composite"

    @property
    def manner(self) -> Manner:
        return Manner()

    def rule_for(self, place: Place) -> Rule | None:
        kind, operator, layer = place.kind, place.operator, place.layer
        if kind is Kind.LINEAR:
            return Epsilon(0.1 if layer == "last" else self.epsilon)
        if kind is Kind.RECTIFIER:
            return Through()
        if kind in (Kind.SHAPE, Kind.OTHER):
            return None
        raise RuleError(f"{operator} in layer {layer!r} has no rule")


class Three(nn.Module):
    def __init__(self, *, inplace: bool, smooth: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)
        self.inplace, self.smooth = inplace, smooth
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=self.inplace)
        x = x @ self.second.weight.T + self.second.bias if self.smooth else self.second(x)
        return self.last(F.relu(x, inplace=self.inplace))


def dense(net: Three, x: Tensor, target: int, epsilon: float) -> Tensor:
    """The same relevance with every matrix written out, one row."""
    layers = (net.first, net.second, net.last)
    met, a = [], x
    for layer in layers:
        z = layer.weight @ a + layer.bias
        met.append((a, z, layer.weight))
        a = z.clamp(min=0)
    r = torch.zeros_like(met[-1][1])
    r[target] = met[-1][1][target]
    for (a, z, w), eps in zip(met[::-1], (0.1, epsilon, epsilon), strict=True):
        share = (w * a) / (z + eps * torch.where(z >= 0, 1.0, -1.0))[:, None]
        r = share.T @ r
    return r.detach()


@pytest.mark.parametrize("inplace", [False, True])
def test_epsilon_rule_equals_its_dense_matrices(inplace):
    net, x = Three(inplace=inplace), row(2, 6, seed=4)
    leaf = x.clone().requires_grad_()
    with Intercept(net, Composite(0.25)) as seen:
        y = net(leaf)
    (found,) = torch.autograd.grad(y[:, 2], leaf, y[:, 2].detach())
    seen.verify()
    wanted = torch.stack([dense(net, line, 2, 0.25) for line in x])
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)
    assert [e.rule for e in seen.audit] == ["epsilon", "through", "epsilon", "through", "epsilon"]


def test_a_composite_may_refuse_by_name():
    net = Three(inplace=False, smooth=True)
    with pytest.raises(RuleError, match="matmul in layer ''"), Intercept(net, Composite(0.25)):
        net(row(2, 6).requires_grad_())


def test_a_refusal_inside_of_an_infix_operator_keeps_its_words():
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x) + x

    with pytest.raises(RuleError, match="add in layer ''"), Intercept(net := Sum(), Composite(0.25)):
        net(row(2, 6).requires_grad_())


def test_constants_need_no_rule():
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            shift = (torch.ones(6, dtype=x.dtype) + 1).exp()
            return F.linear(F.relu(x), torch.eye(6, dtype=x.dtype) * shift)

    with Intercept(net := Shifted(), Composite(0.25)) as seen:
        y = net(row(2, 6).requires_grad_())
    y.sum().backward()
    seen.verify()
    assert [e.operator for e in seen.audit] == ["relu", "linear"]
