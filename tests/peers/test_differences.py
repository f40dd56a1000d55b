"""Where a peer and we differ: an axiom, or the same function written differently, that we pass and the peer fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.peers import with_torchcam
from tests.peers.models import (
    BUNDLED,
    TRANSFORMERS,
    Case,
    DenseNetOfModules,
    case,
    distance,
    filled,
    local,
    plain,
    rows,
    twin_case,
)
from tests.peers.rows import GUIDED, KNOWN, LAYER_PATH, TOLERANCE
from tests.peers.with_captum import COMPARED, RULES
from tests.peers.with_grad_cam import CAMS, finer, in_double, inside, raw, signed, similar
from tests.peers.with_zennit import relevance as of_zennit
from tests.peers.with_zennit import without_epsilon
from tests.unit.propagation.nets import Net, by_hand
from tests.unit.propagation.nets import plain as plain_gradient
from tests.unit.propagation.nets import row as random_row
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import pellucid
from pellucid.core.errors import RuleError

attr = pytest.importorskip("captum.attr")
pytest.importorskip("pytorch_grad_cam")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
EXACT = 1e-9


def ours(module: nn.Module, x: Tensor, method: Any, target: Any = 0) -> Tensor:
    return pellucid.explain(plain(module), x, [method], target=target, output="logit")[0].values


def compared(title: str, c: Case) -> tuple[Tensor, Tensor]:
    """Our map and Captum's."""
    return ours(c.module, c.x, COMPARED[title].ours(c), c.target), COMPARED[title].theirs(c)


def gradient(c: Case) -> Tensor:
    return plain_gradient(c.module, c.x, c.target)


def test_every_known_difference_has_its_test():
    tests = "".join(one.read_text(encoding="utf-8") for one in Path(__file__).parent.glob("test_*.py"))
    for known in KNOWN:
        assert f"def {known.proof}(" in tests, known.proof


# -- guided backpropagation and deconvnet ---------------------------------------------------------------------------

GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "guided_backprop": lambda z, r: r * ((z > 0) & (z < 6) & (r > 0)),
    "deconvnet": lambda z, r: r * (r > 0),
}


@pytest.mark.parametrize(("method", "theirs"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_relu6_has_the_guided_backward_written_by_hand(method, theirs):
    net, x = Net(nn.ReLU6()), 9 * random_row(2, 2, 5, 5, seed=7)
    assert distance(ours(net, x, method, 1), by_hand(net, x, GATES[method])) <= EXACT
    assert distance(getattr(attr, theirs)(net).attribute(x.clone(), target=1), plain_gradient(net, x)) == 0.0


@pytest.mark.parametrize("title", ["Guided Backpropagation", "Deconvnet"])
def test_on_the_bundled_model_captum_returns_the_plain_gradient(title):
    mine, theirs = compared(title, case(BUNDLED))
    assert distance(theirs, gradient(case(BUNDLED))) == 0.0
    assert distance(mine, gradient(case(BUNDLED))) > 0.1
    assert distance(mine, compared(title, twin_case(BUNDLED))[1]) <= TOLERANCE


@pytest.mark.parametrize("title", [*GUIDED, LAYER_PATH])
def test_modules_or_functions_make_no_difference(title):
    written, twin = case("densenet121"), twin_case("densenet121")
    mine, of_twin = (
        ours(module, twin.x, COMPARED[title].ours(twin), twin.target) for module in (twin.module, twin.twin)
    )
    assert distance(mine, of_twin) <= EXACT
    theirs = COMPARED[title].theirs(twin)
    assert distance(theirs, mine) <= TOLERANCE
    if title == LAYER_PATH:
        with pytest.raises(RuntimeError, match="in-place"):
            COMPARED[title].theirs(written)
    else:
        assert distance(COMPARED[title].theirs(written), theirs) > 0.01


@pytest.mark.parametrize("title", GUIDED)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_without_a_rectifier_there_is_no_guided_backward(name, title):
    c = case(name)
    with pytest.raises(RuleError, match="gelu"):
        ours(c.module, c.x, COMPARED[title].ours(c), c.target)
    if title != "Guided Grad-CAM":
        assert distance(COMPARED[title].theirs(c), gradient(c)) <= 1e-12


# -- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*RULES, "trapezoid"])
def test_trapezoid_is_complete_on_a_linear_model(rule):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    x, n = random_row(1, 3, 2, 2), 8
    wanted = float((net(x) - net(torch.zeros_like(x)))[0, 1])
    mine = ours(net, x, pellucid.registry.make("integrated_gradients", {"rule": rule, "steps": n}), 1)
    theirs = attr.IntegratedGradients(net).attribute(
        x.clone(), target=1, n_steps=n, method={**RULES, "trapezoid": "riemann_trapezoid"}[rule]
    )
    assert float(mine.sum()) == pytest.approx(wanted, rel=EXACT)
    kept = (n - 1) / n if rule == "trapezoid" else 1
    assert float(theirs.sum()) == pytest.approx(kept * wanted, rel=1e-6)


class Quadratic(nn.Module):
    """The sum of squares of the channels of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).square().sum((2, 3))


def test_conductance_is_complete_where_the_score_is_quadratic():
    net, x = Quadratic(), random_row(1, 3, 6, 6)
    wanted = float((net(x) - net(torch.zeros_like(x)))[0, 0])
    mine = ours(net, x, pellucid.registry.make("conductance", {"at": "conv", "steps": 5}))
    made = attr.LayerConductance(net, net.conv)
    assert float(mine.sum()) == pytest.approx(wanted, rel=EXACT)
    for rule in ("gausslegendre", "riemann_trapezoid", "riemann_middle"):
        theirs = made.attribute(x.clone(), target=0, n_steps=5, method=rule)
        assert abs(float(theirs.sum()) - wanted) > 0.05 * abs(wanted)


# -- occlusion ------------------------------------------------------------------------------------------------------


class Total(nn.Module):
    """Every pixel counts the same."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((1, 2, 3))[:, None]


def test_equal_pixels_get_equal_occlusion():
    c = Case(name="total", module=Total(), x=torch.ones(1, 3, 48, 48, dtype=torch.float64), target=0, site="")
    mine, theirs = compared("Occlusion, windows that do not fit evenly", c)
    assert float(mine.max() - mine.min()) <= EXACT * float(mine.max())
    assert float(theirs.max() - theirs.min()) > 0.1 * float(theirs.max())
    assert distance(*compared("Occlusion", c)) <= TOLERANCE


# -- class activation maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_token_grid_is_found_without_help(name):
    c, twin = case(name), twin_case(name)
    mine = ours(c.module, c.x, COMPARED["Grad-CAM"].ours(c), c.target)
    assert mine.shape == (2, 4, 4)
    explicit = ours(twin.twin, c.x, pellucid.registry.make("grad_cam", {"at": twin.twin_site}), c.target)
    assert distance(mine, explicit) <= EXACT
    assert COMPARED["Grad-CAM"].theirs(c).shape != mine.shape


class Rescaled(nn.Module):
    """A layer whose features are `size` times as large, and a head that takes it back: one function for all sizes."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size
        self.conv, self.features, self.head = nn.Conv2d(3, 4, 3), nn.Identity(), nn.Conv2d(4, 2, 3)
        self.double()
        with torch.no_grad():
            for p, q in zip(self.parameters(), Net(torch.relu).parameters(), strict=False):
                p.copy_(torch.randn(p.shape, dtype=q.dtype, generator=local(p.numel())) / 4)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.features(self.size * torch.relu(self.conv(x)))
        return torch.tanh(self.head(inner / self.size)).mean((2, 3))


@pytest.mark.parametrize("title", CAMS)
def test_cams_do_not_depend_on_the_scale_of_features(title):
    mine, theirs = CAMS[title]
    x = random_row(2, 3, 9, 9)
    cases = [Case(name="", module=Rescaled(s), x=x, target=1, site="features") for s in (1.0, 1e3)]
    a, b = (ours(c.module, x, pellucid.registry.make(mine, {"at": c.site}), 1) for c in cases)
    assert distance(a, b) <= EXACT
    if title == "Grad-CAM++":
        assert distance(*(raw(theirs, c) for c in cases)) > 0.01


@pytest.mark.parametrize("title", CAMS)
def test_in_place_or_not_makes_no_difference(title):
    written = case("densenet121")
    twin = replace(written, module=DenseNetOfModules(written.module))
    mine, theirs = CAMS[title]
    method = pellucid.registry.make(mine, {"at": written.site})
    a, b = (ours(c.module, c.x, method, c.target) for c in (written, twin))
    assert distance(a, b) <= EXACT
    if title in ("Grad-CAM", "XGrad-CAM"):  # the peers' XGrad-CAM adds 1e-7 to sums that may be small
        pytest.importorskip("torchcam")
        for peer in (lambda c: raw(theirs, c), with_torchcam.COMPARED[title].theirs):
            assert distance(peer(twin), a) <= (1e-5 if title == "XGrad-CAM" else TOLERANCE)
            assert distance(peer(written), a) > 0.01


def test_shapley_cam_of_a_transformer_is_the_second_derivative():
    c = case("vit_b_16 (narrow)")
    kept: list[Tensor] = []
    hook = c.layer.register_forward_hook(lambda m, i, o: kept.append(o))
    with sdpa_kernel(SDPBackend.MATH):
        score = c.module(c.x.clone().requires_grad_())[:, c.target].sum()
        hook.remove()
        tokens = kept[0].detach().clone()
        tokens[:, :1] = 0  # the map is of the patches
        (slope,) = torch.autograd.grad(score, kept[0], create_graph=True)
        (product,) = torch.autograd.grad((slope * tokens).sum(), kept[0])
    act, weight = c.at_grid(kept[0].detach()), c.at_grid((slope - product / 2).detach())
    wanted = (weight.mean((2, 3), keepdim=True) * act).sum(1)
    method = pellucid.registry.make("shapley_cam", {"at": c.site, "relu": False})
    assert distance(ours(c.module, c.x, method, c.target), wanted) <= 1e-8
    with pytest.raises(RuntimeError):
        raw("ShapleyCAM", c)


def test_finer_cam_is_the_map_of_a_difference():
    """Behind pooling and a linear layer, the gradient of a difference of scores is a difference of weights."""
    c = case("resnet18")
    act, _ = inside(c)
    order = similar(c)
    weight = c.module.fc.weight.detach()
    mix = weight[order[:, 0]] - weight[order[:, 1:4]].mean(1)
    wanted = ((mix[..., None, None] * act).sum(1) / act[0, 0].numel()).relu()
    method = pellucid.registry.make("finer_cam", {"at": c.site, "strength": 1.0})
    assert distance(ours(c.module, c.x, method, None), wanted) <= EXACT
    assert distance(finer(c, weighted=False), wanted) <= TOLERANCE
    assert distance(finer(c, weighted=True), wanted) > 0.01


def test_an_enlarged_spot_stays_at_its_place():
    """A place of a map of 4 × 4 stands for 16 × 16 pixels of 64 × 64: their middle is where its spot must lie."""
    from pellucid.ops.resize import resize

    for i in (1, 2):
        spot = torch.zeros(4, 4, dtype=torch.float64)
        spot[i, 1] = 1
        theirs = nn.UpsamplingBilinear2d(size=(64, 64))(spot[None, None])[0, 0]
        line = torch.arange(64, dtype=torch.float64)
        mine, their = ((big.sum(1) * line).sum() / big.sum() for big in (resize(spot, (64, 64)), theirs))
        assert abs(float(mine) - (16 * i + 7.5)) <= EXACT
        assert abs(float(their) - (16 * i + 7.5)) > 1


def test_a_channel_that_is_off_is_zero():
    """Behind pooling and a linear layer the score falls by w_k mean A_k, whatever the sign of A."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double().eval()
    x = random_row(2, 3, 9, 9)
    c = Case(name="", module=net, x=x, target=1, site="0")
    act, _ = inside(c)
    drop = net[3].weight[1].detach() * act.mean((2, 3)) / net(x)[:, 1:2].detach().abs()
    wanted = (drop[..., None, None] * act).sum(1)
    method = pellucid.registry.make("ablation_cam", {"at": "0", "relu": False})
    assert distance(ours(net, x, method, 1), wanted) <= EXACT
    with in_double(centres=True):
        assert distance(signed("AblationCAM", c), wanted) > 0.01


def test_where_the_epsilon_of_a_norm_stands_makes_no_difference():
    """The same function has the same relevance."""
    pytest.importorskip("zennit")
    c = case("resnet18")
    same, method = without_epsilon(c.module), pellucid.registry.make("lrp")
    assert distance(same(c.x), c.module(c.x)) <= EXACT
    assert distance(ours(same, c.x, method, c.target), ours(c.module, c.x, method, c.target)) <= EXACT
    one, other = (of_zennit("EpsilonPlusFlat", module, c.x, c.target) for module in (same, c.module))
    assert distance(one, other) > TOLERANCE


def test_sign_and_scale_survive():
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.image import scale_cam_image

    c = case("resnet18")
    signed = pellucid.registry.make("hi_res_cam", {"at": c.site, "relu": False})
    one, twice, minus = (
        ours(c.module, c.x, signed, pellucid.Score(lambda y, f=f: f * y[:, c.target])) for f in (1.0, 2.0, -1.0)
    )
    assert distance(twice, 2 * one) <= EXACT and distance(minus, -one) <= EXACT
    with pytorch_grad_cam.HiResCAM(c.module, [c.layer]) as cam:
        drawn = [cam(c.x.clone(), [lambda y, f=f: f * y[c.target]] * 2) for f in (1.0, 2.0)]
    c.module.zero_grad(set_to_none=True)
    assert (abs(drawn[0] - drawn[1]) < 1e-5).all() and drawn[0].min() == 0.0
    same = scale_cam_image(scale_cam_image(one.relu().numpy(), (64, 64)))
    assert (abs(same - drawn[0]) < 1e-5).all()


# -- DeepLIFT -------------------------------------------------------------------------------------------------------


class Chain(nn.Module):
    """Convolution, norm, activation, convolution, activation, pooling, linear layer."""

    def __init__(self, first: Any, second: Any, pool: nn.Module) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3)
        self.first, self.second, self.pool, self.head = first, second, pool, nn.Linear(6 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.second(self.two(self.first(self.norm(self.one(x)))))).flatten(1))


def chain(activation: Callable[[], Any], pool: nn.Module | None = None, shared: bool = False) -> nn.Module:
    one = activation()
    return filled(lambda: Chain(one, one if shared else activation(), pool or nn.AvgPool2d(2)))


def lifted(module: nn.Module, x: Tensor, r: Tensor, target: int = 1) -> tuple[Tensor, Tensor]:
    """Our map and Captum's."""
    mine = ours(module, x, pellucid.DeepLift(baseline=r), target)
    return mine, attr.DeepLift(module).attribute(x.clone(), r, target=target).detach()


def lost(module: nn.Module, x: Tensor, r: Tensor, values: Tensor, target: int = 1) -> float:
    """The part of the change that the values do not account for, in the worst row."""
    with torch.no_grad():
        change = (module(x) - module(r))[:, target]
    return float(((values.flatten(1).sum(1) - change).abs() / change.abs()).max())


LIFTED = rows(12, 3, seed=1), rows(12, 3, seed=2)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ELU, nn.LeakyReLU, nn.Softplus])
def test_deep_lift_is_that_of_captum_where_captum_knows_all_modules(activation):
    module = chain(activation)
    assert distance(*lifted(module, *LIFTED)) <= EXACT


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, lambda: torch.relu])
def test_deep_lift_is_complete_whatever_the_activation(activation):
    module = chain(activation)
    mine, theirs = lifted(module, *LIFTED)
    assert lost(module, *LIFTED, mine) <= EXACT
    assert lost(module, *LIFTED, theirs) > 1e-3


def test_deep_lift_is_complete_through_max_pooling():
    module = chain(nn.ReLU, nn.MaxPool2d(2))
    mine, theirs = lifted(module, *LIFTED)
    assert lost(module, *LIFTED, mine) <= EXACT
    assert lost(module, *LIFTED, theirs) > 1e-3


def test_deep_lift_does_not_mind_one_relu_for_all():
    apart, shared = chain(nn.ReLU), chain(nn.ReLU, shared=True)
    x, r = LIFTED
    method = pellucid.DeepLift(baseline=r)
    assert distance(ours(shared, x, method, 1), ours(apart, x, method, 1)) <= EXACT
    with pytest.raises(RuntimeError, match="does not contain"):
        attr.DeepLift(shared).attribute(x.clone(), r, target=1)


def test_deep_lift_through_a_softmax_does_not_know_the_other_rows():
    """Captum takes a mean over the whole tensor, rows of others included."""
    module = chain(nn.ReLU, nn.Sequential(nn.AvgPool2d(2), nn.Softmax(1)))
    x, r = LIFTED
    mine, theirs = lifted(module, x, r)
    mine_alone, theirs_alone = lifted(module, x[:1], r[:1])
    assert distance(mine[:1], mine_alone) <= EXACT
    assert lost(module, x, r, mine) <= EXACT
    assert distance(theirs[:1], theirs_alone) > 1e-3
