"""LRP and CRP through the engine: against relevance computed without it, closed forms, and their sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from tests.unit.propagation.lrp.nets import filled, relevance
from tests.unit.propagation.lrp.test_models import Relu
from tests.unit.texts import WIDTH, Splitter, encoder
from torch import Tensor, nn

from pellucid.api import audit, explain, measure, plan, wrap
from pellucid.core.errors import ParameterError, PellucidError, RuleError, SiteError, UnsupportedModel
from pellucid.core.explanation import Explanation
from pellucid.core.site import Site
from pellucid.core.target import Score, Unit
from pellucid.methods.cam import GradCAM
from pellucid.methods.cam_masked import ScoreCAM
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


def test_layers_given_as_objects_have_their_names() -> None:
    e = one(LRP(layers=[NET.conv1, NET.conv2]))
    assert list(e.extras) == ["relevance conv1", "relevance conv2"]
    assert list(one(ScoreCAM(at=[NET.relu1, NET.relu2])).extras) == ["channels relu1", "channels relu2"]


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


def test_what_is_not_at_the_input_is_told_and_not_judged() -> None:
    check = one(LRP(composite="zero"), model=PLAIN).check("relevance_not_at_the_input")
    assert check is not None and not check.judged and check.share
    assert max(map(abs, check.value)) < 1e-9
    e = one(LRP(composite="zero"))
    with_biases = e.check("relevance_not_at_the_input")
    assert with_biases is not None
    score = NET(X)[:, 1].detach()
    close(torch.tensor(with_biases.value, dtype=torch.float64), 1 - e.values.flatten(1).sum(1) / score)
    assert one(LRP(composite="zero", at="conv1")).check("relevance_not_at_the_layer") is not None


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


def test_a_composite_of_ones_own_is_not_made_again_from_its_text() -> None:
    method = LRP(composite=epsilon_plus().with_(On(Epsilon(0.1), last=1)))
    e = explain(NET, X, method, target=1)
    with pytest.raises(ParameterError, match=r"does not hold whole[\s\S]*methods="):
        measure(NET, e, "max_sensitivity", inputs=X)
    assert len(measure(NET, e, "max_sensitivity", inputs=X, methods=method)) == 1


def test_a_rule_of_layers_means_layers_where_a_line_names_only_a_place() -> None:
    by_name = epsilon_plus().with_(On(Epsilon(0.1), layers="*"))
    wanted = epsilon_plus().with_(On(Epsilon(0.1), kinds=(Kind.LINEAR, Kind.CONVOLUTION)))
    close(one(LRP(composite=by_name)).values, one(LRP(composite=wanted)).values)
    assert {e.operator for e in audit(NET, X[:1], LRP(composite=by_name)) if e.rule == "epsilon 0.1"} == {
        "conv2d",
        "linear",
    }


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


class Recurrent(nn.Module):
    """Rows of a picture read one after the other."""

    def __init__(self, of: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.out = of(3 * X.shape[3], 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


def shared_out(net: Any, x: Tensor, target: int) -> Tensor:
    """x · ∂s/∂x of the same recurrence with gates held constant and tanh(u) as u · (tanh(u)/u held constant)."""
    cell: Any = net.cell
    x = x.clone().requires_grad_()
    h = c = x.new_zeros(len(x), 6)

    def tanh(u: Tensor) -> Tensor:
        return u * (u.tanh() / u).detach()

    for moment in x.permute(0, 2, 1, 3).flatten(2).unbind(1):
        w, v = moment @ cell.weight_ih_l0.T + cell.bias_ih_l0, h @ cell.weight_hh_l0.T + cell.bias_hh_l0
        if isinstance(cell, nn.LSTM):
            i, f, g, o = (w + v).chunk(4, -1)
            c = f.sigmoid().detach() * c + i.sigmoid().detach() * tanh(g)
            h = o.sigmoid().detach() * tanh(c)
        elif isinstance(cell, nn.GRU):
            (wr, wz, wn), (vr, vz, vn) = w.chunk(3, -1), v.chunk(3, -1)
            z = (wz + vz).sigmoid().detach()
            h = (1 - z) * tanh(wn + (wr + vr).sigmoid().detach() * vn) + z * h
        else:
            h = tanh(w + v)
    (slope,) = torch.autograd.grad(net.out(h)[:, target].sum(), x)
    return (x * slope).detach()


@pytest.mark.parametrize("of", [nn.LSTM, nn.GRU, nn.RNN])
def test_relevance_goes_through_recurrent_layers(of: type[nn.Module]) -> None:
    """Gates take nothing [Arras et al. 2017], and the books close over all moments."""
    model: Any = filled(lambda: Recurrent(of))
    with torch.no_grad():
        model.cell.bias_hh_l0[-6:] = 0  # a GRU's gate alone depends on x where it opens for a constant, and takes all
    close(one(LRP(composite="zero"), model=model).values, shared_out(model, X, 1))
    books = audit(model, X[:1], LRP(composite="zero"), target=1)
    assert books.started is not None and books.arrived is not None
    assert abs(books.leaked) <= 1e-9 * abs(books.started)
    assert abs(books.started - books.arrived - books.to_constants - books.leaked) <= 1e-9 * abs(books.started)


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


def test_a_plan_knows_that_targets_may_choose_different_channels() -> None:
    method, targets = CRP(at="conv2", top=2), [0, 2]
    planned, done = plan(NET, X, method, target=targets), explain(NET, X, method, target=targets)[0].record.passes
    assert planned.least.forward <= done.forward <= planned.most.forward
    assert planned.least.forward < planned.most.forward


@pytest.mark.parametrize("concepts", [(99,), 99, (True,), (1, 1), "1"])
def test_channels_that_are_not_there(concepts: Any) -> None:
    with pytest.raises(ParameterError, match="whole numbers from 0"):
        one(CRP(at="conv2", concepts=concepts))


def test_one_channel_by_itself() -> None:
    close(one(CRP(at="conv2", concepts=1)).values, one(CRP(at="conv2", concepts=(1,))).values)


def dense(place: bool = False) -> Any:
    """Two dense layers; with `place`, a convolution and a part that is the same for all rows before them."""
    made = net(Place()) if place else net(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))
    return made.requires_grad_(False)


class Place(nn.Module):
    """Positions that a layer of their own gives, one for all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.position, self.head = nn.Conv2d(3, 4, 1), nn.Embedding(64, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = self.position(torch.arange(64)[None]).transpose(1, 2).view(1, 4, 8, 8)
        return self.head((self.conv(x) + places).relu().mean((2, 3)))


def test_all_layers_are_those_that_answer_row_by_row() -> None:
    x = torch.rand(2, 5, dtype=torch.float64)
    e = one(LRP(composite="zero", layers="all"), model=dense(), x=x)
    assert {name: tuple(v.shape) for name, v in e.extras.items()} == {
        "relevance 0": (2, 8),
        "relevance 1": (2, 8),
        "relevance 2": (2, 3),
    }
    score = dense()(x)[:, 1]
    close(e.extras["relevance 2"], torch.stack([0 * score, score, 0 * score], 1))
    close(e.extras["relevance 1"], dense()[1](dense()[0](x)) * dense()[2].weight[1])
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    assert list(one(LRP(layers="all"), model=dense(place=True), x=x).extras) == ["relevance conv", "relevance head"]
    with pytest.raises(SiteError, match="layer position answers one for all 2 rows"):
        one(LRP(layers="position"), model=dense(place=True), x=x)


def test_units_of_a_dense_layer_are_concepts_too() -> None:
    x = torch.rand(2, 5, dtype=torch.float64)
    model = dense()
    e = one(CRP(at="1", concepts=tuple(range(8)), composite="zero"), model=model, x=x)
    close(e.values, one(LRP(composite="zero"), model=model, x=x).values)
    close(e.extras["channel_relevance"], one(LRP(composite="zero", at="1"), model=model, x=x).values)
    best = one(CRP(at="1", top=2, composite="zero"), model=model, x=x)
    assert torch.equal(best.extras["channels"], e.extras["channel_relevance"].argsort(1, descending=True)[:, :2])


def test_concepts_of_texts_are_channels_and_not_tokens() -> None:
    model = wrap(encoder(), Splitter())
    texts = ["the film was good", "a terrible bad film"]
    of_layer = explain(model, texts, LRP(composite="epsilon", at="norm"), target=1)[
        0
    ].values  # [batch, tokens, channel]
    e = explain(model, texts, CRP(composite="epsilon", at="norm", concepts=tuple(range(WIDTH))), target=1)[0]
    close(e.extras["channel_relevance"], of_layer.sum(1))
    close(e.values, explain(model, texts, LRP(composite="epsilon"), target=1)[0].values)


# -- units inside, and what cannot be ------------------------------------------------------------------------------


def test_a_unit_after_a_class_of_the_same_model() -> None:
    """Composites that look at positions count anew where a site is read: its copy is a call more."""
    model = net(Convnet())
    one(LRP(), model=model)
    unit = one(LRP(), Unit("conv2", 1), model)
    close(unit.values, one(LRP(), Unit("conv2", 1), net(Convnet())).values)


class CrossedAbove(Crossed):
    """The unknown operator lies above the unit that is explained."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.below(x).relu())


def test_relevance_of_a_unit_does_not_meet_what_lies_above_it() -> None:
    model = filled(CrossedAbove)
    got = one(LRP(composite="zero"), Unit("below", (1, 0, 0)), model).values
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.below(x)[:, 1, 0, 0].sum(), x)
    close(got, x.detach() * slope)


def test_a_score_that_depends_on_nothing() -> None:
    with pytest.raises(UnsupportedModel, match="does not depend on its input"):
        one(LRP(), Score(lambda y: y.new_zeros(len(y))))
    with pytest.raises(UnsupportedModel, match="does not depend on layer conv2"):
        one(GradCAM(at="conv2"), Unit("conv1", 0))


@pytest.mark.parametrize("wrong", [["epsilon"], 3, None])
def test_composites_that_are_none(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="composite"):
        one(LRP(composite=wrong))


def test_numbers_that_a_preset_does_not_have() -> None:
    with pytest.raises(ParameterError, match="no numbers"):
        one(LRP(composite="zero", epsilon=0.1))


def test_a_layer_by_itself() -> None:
    assert "relevance conv2" in one(LRP(layers=Site("conv2"))).extras
    with pytest.raises(PellucidError):
        one(LRP(layers=3))


@pytest.mark.parametrize("method", [CRP(at="2"), LRP(at="2")])
def test_a_layer_with_nothing_behind_it_is_refused_by_its_name(method: CRP | LRP):
    last = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(12, 3)).eval()
    with pytest.raises(RuleError, match="between the layer '2' and the score"):
        explain(last, torch.rand(1, 3, 2, 2), method, target=0)
