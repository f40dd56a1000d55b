"""LRP and CRP through the engine: against relevance computed without it, closed forms, and their sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from tests.unit.propagation.lrp.nets import filled, relevance
from tests.unit.propagation.lrp.test_models import Relu
from torch import Tensor, nn

from pellucid.api import explain
from pellucid.core.errors import ParameterError, RuleError
from pellucid.core.explanation import Explanation
from pellucid.methods.crp import CRP
from pellucid.methods.lrp import LRP
from pellucid.propagation import Kind, On
from pellucid.propagation.lrp.layers import Epsilon
from pellucid.propagation.lrp.presets import PRESETS, composite, epsilon, epsilon_plus

X = pictures(3)
NET: Any = net(Convnet()).requires_grad_(False)
PLAIN: Any = filled(lambda: Relu(nn.ReLU()))


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def ends(name: str) -> Tensor:
    """Black and white, as rows that are pixels have them."""
    return torch.full_like(X, {"black": 0.0, "white": 1.0}[name])


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_engine_adds_nothing(preset: str) -> None:
    wanted, _, _ = relevance(NET, X, composite(preset, ends))
    close(one(LRP(composite=preset)).values, wanted)


def test_several_targets_in_one_call() -> None:
    many = explain(NET, X, LRP(), target=[0, 2])
    for e, target in zip(many, (0, 2), strict=True):
        close(e.values, one(LRP(), target).values)


def test_relevance_of_layers_in_the_same_pass() -> None:
    e = one(LRP(composite="epsilon", layers="all"))
    assert {"relevance conv1", "relevance conv2"} <= set(e.extras)
    close(e.extras["relevance conv2"], one(LRP(composite="epsilon", at="conv2")).values)
    close(one(LRP(composite="epsilon", layers="conv2")).extras["relevance conv2"], e.extras["relevance conv2"])


def test_zero_at_a_layer_is_activation_times_gradient() -> None:
    a = PLAIN.conv(X).detach().requires_grad_()
    b = PLAIN.act(a)
    y = PLAIN.head(torch.nn.functional.avg_pool2d(PLAIN.act(PLAIN.skip(b) + b), 2).flatten(1))
    (slope,) = torch.autograd.grad(y[:, 1].sum(), a)
    close(one(LRP(composite="zero", at="conv"), model=PLAIN).values, (a * slope).detach())


def test_what_starts_with_one_is_the_share_of_the_score() -> None:
    whole, share = one(LRP(layers="conv1")), one(LRP(start="one", layers="conv1"))
    score = NET(X)[:, 1].detach().view(-1, 1, 1, 1)
    close(share.values * score, whole.values)
    close(share.extras["relevance conv1"] * score, whole.extras["relevance conv1"])


def test_conservation_is_told() -> None:
    check = one(LRP(composite="zero"), model=PLAIN).check("conservation")
    assert check is not None
    assert max(check.value) < 1e-9
    with_biases = one(LRP(composite="zero")).check("conservation")
    assert with_biases is not None
    e = one(LRP(composite="zero"))
    score = NET(X)[:, 1].detach()
    wanted = (e.values.flatten(1).sum(1) - score).abs() / score.abs()
    close(torch.tensor(with_biases.value, dtype=torch.float64), wanted)


def test_numbers_reach_the_rules() -> None:
    close(one(LRP(composite="epsilon", epsilon=0.5)).values, one(LRP(composite=epsilon(0.5))).values)
    assert not torch.equal(one(LRP(composite="epsilon", epsilon=0.5)).values, one(LRP(composite="epsilon")).values)
    with pytest.raises(ParameterError, match="gamma"):
        one(LRP(composite="epsilon", gamma=0.5))
    with pytest.raises(ParameterError, match="epsilon_plus"):
        one(LRP(composite="epsilon_pluss"))


def test_a_composite_of_ones_own() -> None:
    mine = epsilon_plus().with_(On(Epsilon(0.5), kinds=(Kind.CONVOLUTION,), layers="conv2"))
    wanted, _, _ = relevance(NET, X, mine)
    close(one(LRP(composite=mine)).values, wanted)


def test_rows_outside_of_the_box_are_refused() -> None:
    with pytest.raises(RuleError, match="outside of the box"):
        one(LRP(composite="epsilon_gamma_box"), x=X * 3)


class Crossed(nn.Module):
    """An operator that no rule knows, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x.flatten(2).mean(2))
        return self.b(torch.linalg.cross(h, h.roll(1, 1)))


def test_unknown_operators_are_named_or_have_their_gradient() -> None:
    crossed = filled(Crossed)
    with pytest.raises(RuleError, match="cross"):
        one(LRP(), model=crossed)
    e = one(LRP(unknown="gradient"), model=crossed)
    assert bool(e.values.isfinite().all())


# -- concepts ----------------------------------------------------------------------------------------------------


def test_concepts_of_all_channels_add_up_to_the_map() -> None:
    many = NET.conv2.out_channels
    e = one(CRP(at="conv2", concepts=tuple(range(many)), composite="epsilon_plus"))
    close(e.extras["concepts"].sum(1), e.values)
    close(e.values, one(LRP(composite="epsilon_plus")).values)


def test_a_concept_is_what_its_channel_passes_on() -> None:
    """On a net of ReLUs without biases: x · ∂/∂x Σ A_c G_c, with G = ∂s/∂A held."""
    e = one(CRP(at="conv", concepts=(2, 0), composite="zero"), model=PLAIN)
    x = X.clone().requires_grad_()
    a = PLAIN.conv(x)
    relevant = one(LRP(composite="zero", at="conv"), model=PLAIN).values
    for n, channel in enumerate((2, 0)):
        g = torch.where(a[:, channel] == 0, 0.0, relevant[:, channel] / a[:, channel]).detach()
        (slope,) = torch.autograd.grad((a[:, channel] * g).sum(), x, retain_graph=True)
        close(e.extras["concepts"][:, n], (x * slope).detach())
        close(e.extras["channel_relevance"][:, n], relevant[:, channel].flatten(1).sum(1))


def test_the_most_relevant_channels_of_every_row_and_target() -> None:
    for e, target in zip(explain(NET, X, CRP(at="conv2", top=2), target=[0, 2]), (0, 2), strict=True):
        at_layer = one(LRP(at="conv2"), target).values.flatten(2).sum(2)
        best = at_layer.argsort(1, descending=True)[:, :2]
        assert torch.equal(e.extras["channels"], best)
        for row, channels in enumerate(best.tolist()):
            chosen = one(CRP(at="conv2", concepts=tuple(channels)), target)
            close(e.extras["concepts"][row], chosen.extras["concepts"][row])


def test_channels_that_are_not_there() -> None:
    with pytest.raises(ParameterError, match="whole numbers from 0"):
        one(CRP(at="conv2", concepts=(99,)))
