"""Sites, units, and what happens at them while a model runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Calls, Convnet, Twice, net, pictures
from torch import Tensor, nn

from pellucid import wrap
from pellucid.adapters.torch import TorchModel
from pellucid.api import as_model, explain, layers
from pellucid.core.errors import SiteError, TargetError, UnsupportedModel
from pellucid.core.explanation import Explanation
from pellucid.core.site import AUTO, Site, as_site
from pellucid.core.target import Unit
from pellucid.methods.cam import GradCAM
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.testing import tiny

X = pictures(2)


def one(model: Any, method: Any, target: Any = 0) -> Explanation:
    return explain(model, X, method, target=target)[0]


def inner(module: nn.Module, name: str, call: int = 0, index: int = 0) -> tuple[Tensor, Tensor]:
    """Activation and gradient there, by a hook of the test's own."""
    seen: list[Tensor] = []
    hook = module.get_submodule(name).register_forward_hook(lambda m, i, o: (seen.append(o), o.clone())[1])
    out = module(X.clone().requires_grad_())
    hook.remove()
    return seen[call].detach(), torch.autograd.grad(out[:, index].sum(), seen[call])[0]


# -- activations and gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv1", "bn1", "relu1", "conv2", "bn2", "relu2"])
def test_gradient_and_activation_of_a_layer_are_those_that_a_hook_sees(name: str) -> None:
    module = net(Convnet())
    act, grad = inner(module, name)
    torch.testing.assert_close(one(module, Gradient(at=name)).values, grad)
    torch.testing.assert_close(one(module, InputXGradient(at=name)).values, act * grad)


@pytest.mark.parametrize(
    ("site", "name", "call"), [("conv[0]", "conv", 0), ("conv[1]", "conv", 1), ("conv[-1]", "conv", 1)]
)
def test_a_layer_that_runs_twice_is_asked_for_by_call(site: str, name: str, call: int) -> None:
    module = net(Twice())
    act, grad = inner(module, name, call)
    torch.testing.assert_close(one(module, InputXGradient(at=site)).values, act * grad)


def test_what_runs_in_place_behind_a_layer_does_not_overwrite_what_was_recorded() -> None:
    act, grad = inner(net(Twice()), "conv", 1)
    assert bool((act < 0).any())
    torch.testing.assert_close(one(net(Twice()), InputXGradient(at="conv[1]")).values, act * grad)


def test_a_layer_given_as_an_object_is_found_by_identity() -> None:
    module: Any = net(Convnet())
    assert one(module, GradCAM(at=module.conv1)).record.at == "conv1"


def test_a_path_may_enter_in_front_of_an_operator_in_place() -> None:
    """Integrated gradients at a layer against the sum over its steps, written out."""
    module: Any = net(Twice())
    act, _ = inner(module, "conv", 1)
    base = module.conv(torch.relu(module.conv(module.stem(torch.zeros_like(X)))))

    def tail(h: Tensor) -> Tensor:
        return module.fc(torch.relu(h).mean((2, 3)))[:, 0]

    total = torch.zeros_like(act)
    for k in range(4):
        h = (base + (k + 0.5) / 4 * (act - base)).detach().requires_grad_()
        total += torch.autograd.grad(tail(h).sum(), h)[0] / 4
    got = one(module, IntegratedGradients(at="conv[1]", steps=4, rule="midpoint"))
    torch.testing.assert_close(got.values, (act - base).detach() * total)


# -- names that do not fit -----------------------------------------------------------------------------------------


def test_a_misspelt_layer_is_answered_with_the_nearest() -> None:
    with pytest.raises(SiteError, match="perhaps 'conv1'"):
        one(net(Convnet()), GradCAM(at="conv_1"))


def test_a_layer_that_runs_twice_must_be_asked_for_by_call() -> None:
    with pytest.raises(SiteError, match=r"runs 2 times[\s\S]*conv\[0\], conv\[1\]"):
        one(net(Twice()), GradCAM(at="conv"))


@pytest.mark.parametrize("call", ["conv[2]", "conv[-3]"])
def test_a_call_that_does_not_happen_is_refused(call: str) -> None:
    with pytest.raises(SiteError, match="a call below 2"):
        one(net(Twice()), GradCAM(at=call))


def test_a_layer_of_another_model_is_refused() -> None:
    with pytest.raises(SiteError, match="not part of the model"):
        one(net(Convnet()), GradCAM(at=nn.Conv2d(1, 1, 1)))


def test_a_layer_that_never_runs_is_refused_as_such() -> None:
    module: Any = net(Convnet())
    module.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(SiteError, match="'spare' does not run"):
        one(module, GradCAM(at="spare"))


@pytest.mark.parametrize("at", ["conv[", "conv[]", "conv[x]", "conv[1", "conv[--1]", "conv[²]", "conv[1]]"])
def test_a_call_that_is_no_number_is_refused(at: str) -> None:
    with pytest.raises(SiteError, match="layer name"):
        as_site(at)


def test_a_number_is_no_layer() -> None:
    with pytest.raises(SiteError, match="3 of type int"):
        as_site(3)


def test_addresses_are_written_as_they_are_read() -> None:
    for site in (AUTO, Site("a.b"), Site("a", 0), Site("a", -1)):
        assert as_site(str(site)) == site


# -- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "name", "call"), [("bn1", "bn1", 0), ("auto", "relu2", 0), ("conv2", "conv2", 0), ("conv2[0]", "conv2", 0)]
)
def test_the_gradient_of_a_channel_is_that_of_its_mean(at: str, name: str, call: int) -> None:
    module = net(Convnet())
    leaf = X.clone().requires_grad_()
    seen: list[Tensor] = []
    hook = module.get_submodule(name).register_forward_hook(lambda m, i, o: seen.append(o))
    module(leaf)
    hook.remove()
    wanted = torch.autograd.grad(seen[call][:, 2].mean((1, 2)).sum(), leaf)[0]
    got = one(module, Gradient(), Unit(at, 2))
    torch.testing.assert_close(got.values, wanted)
    assert got.target.score == pytest.approx(seen[call][:, 2].mean((1, 2)).tolist())


def test_a_unit_of_a_layer_given_as_an_object() -> None:
    module: Any = net(Convnet())
    by_name, by_object = (one(module, Gradient(), Unit(at, 1)) for at in ("bn1", module.bn1))
    assert torch.equal(by_name.values, by_object.values)
    assert by_object.target.name == ("unit 1 of bn1",) * 2


def test_a_unit_at_one_place() -> None:
    module = net(Convnet())
    got = one(module, Gradient(at="conv1"), Unit("conv1", (1, 2, 3)))
    wanted = torch.zeros(2, 4, 8, 8, dtype=torch.float64)
    wanted[:, 1, 2, 3] = 1
    assert torch.equal(got.values, wanted)


def test_a_unit_of_the_last_call() -> None:
    module = net(Twice())
    got = one(module, Gradient(), Unit("relu[-1]", 1))
    assert got.target.name == ("unit 1 of relu[1]",) * 2
    assert torch.equal(got.values, one(module, Gradient(), Unit("relu[1]", 1)).values)


def test_a_unit_of_a_layer_that_runs_twice_must_say_which_call() -> None:
    with pytest.raises(SiteError, match="runs 2 times"):
        one(net(Twice()), Gradient(), Unit("relu", 1))


@pytest.mark.parametrize("index", [6, (0, 4, 0), (0, 0, 0, 0)])
def test_a_unit_that_does_not_exist_is_refused_before_anything_is_computed(index: Any) -> None:
    with pytest.raises(TargetError, match=r"an index below \(6, 4, 4\)"):
        one(net(Convnet()), Gradient(), Unit("conv2", index))


@pytest.mark.parametrize("index", [-1, True, 1.5, (), "1", (0, None)])
def test_a_unit_is_addressed_by_whole_numbers(index: Any) -> None:
    with pytest.raises(TargetError, match="whole numbers"):
        Unit("conv2", index)


# -- the automatic layer -----------------------------------------------------------------------------------------


def auto(module: nn.Module, side: int) -> str | None:
    got = explain(module.eval(), pictures(1, side, dtype=torch.float32), GradCAM(), target=0)[0]
    assert got.check("degenerate") is not None
    return got.record.at


TORCHVISION = {"resnet18": (64, "layer4"), "vgg11": (32, "avgpool"), "densenet121": (64, "features")}


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_last_layer_with_height_and_width_of_torchvisions(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    side, wanted = TORCHVISION[name]
    assert auto(getattr(models, name)(), side) == wanted


def test_in_a_vision_transformer_it_is_the_last_whose_patches_the_class_token_still_reads() -> None:
    models = pytest.importorskip("torchvision").models
    vit = net(models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5), torch.float32)
    assert auto(vit, 32) == "encoder.layers.encoder_layer_2.ln_1"


def test_in_timms_too() -> None:
    timm = pytest.importorskip("timm")
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, embed_dim=16, num_heads=2)
    assert auto(vit, 32) == "blocks.2.norm1"
    deit = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, depth=3, embed_dim=16, num_heads=2)
    assert auto(deit, 32) == "blocks.2.norm1"


def test_channels_last_is_understood_in_swin_and_convnext() -> None:
    models = pytest.importorskip("torchvision").models
    swin = models.SwinTransformer([2, 2], 8, [1, 1], [1, 2], [2, 2], num_classes=5)
    got = explain(swin.eval(), pictures(1, 16, dtype=torch.float32), GradCAM(), target=0)[0]
    assert (got.record.at, tuple(got.values.shape)) == ("permute", (1, 4, 4))
    timm = pytest.importorskip("timm")
    convnext = timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), num_classes=5)
    assert auto(convnext, 64) == "norm_pre"


def test_transformers_with_stages_are_read_in_the_last_stage() -> None:
    timm, hub = pytest.importorskip("timm"), pytest.importorskip("transformers")
    coat = timm.create_model("coat_lite_tiny", img_size=64, num_classes=5)
    assert str(auto(coat, 64)).startswith("serial_blocks4.1.norm")
    config = hub.SwinConfig(image_size=32, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    assert auto(hub.SwinForImageClassification(config), 32) == "swin.layernorm"


def test_a_layer_whose_output_is_handed_on_but_not_read_is_not_chosen() -> None:
    """The model around the encoder gives a map too, but the head reads the pooled vector beside it."""
    hub = pytest.importorskip("transformers")
    config = hub.ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1])
    assert auto(hub.ConvNextForImageClassification(config), 64) == "convnext.encoder"


def test_tokens_are_answered_as_a_map_that_is_not_square() -> None:
    timm = pytest.importorskip("timm")
    vit = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2, embed_dim=16, num_heads=2).eval()
    got = explain(vit, torch.rand(1, 3, 32, 64), GradCAM(), target=0)[0]
    assert tuple(got.values.shape) == (1, 2, 4)
    assert any("2 × 4 grid behind 1 class/register token(s)" in said for said in got.record.decisions)


def test_layers_are_listed_in_running_order_and_the_automatic_one_is_marked() -> None:
    listed = layers(net(Convnet()), X)
    assert [name for name, *_ in listed] == ["conv1", "bn1", "relu1", "conv2", "bn2", "relu2"]
    assert listed[3][1:3] == ("Conv2d", (6, 4, 4))
    assert [name for name, _, _, best in listed if best] == ["relu2"]


def test_a_model_without_maps_is_refused_with_a_remedy() -> None:
    with pytest.raises(SiteError, match="no layer of the model has height and width"):
        explain(net(nn.Linear(4, 3)), torch.rand(2, 4, dtype=torch.float64), GradCAM())


class Functions(nn.Module):
    """A net without layers, or with one that only gives a map its name."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.rand(4, 3, 3, 3)), nn.Parameter(torch.rand(4, 5))
        self.map = nn.Identity() if named else None

    def forward(self, x: Tensor) -> Tensor:
        a = torch.nn.functional.conv2d(x, self.weight).relu()
        return (a if self.map is None else self.map(a)).mean((2, 3)) @ self.head


def test_a_model_of_functions_alone_is_told_how_to_name_a_map() -> None:
    x = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    with pytest.raises(SiteError, match=r"has no layers.*\n.*\n.*nn\.Identity"):
        explain(net(Functions(named=False)), x, GradCAM())
    assert tuple(explain(net(Functions(named=True)), x, GradCAM(at="map"))[0].values.shape) == (1, 4, 4)


# -- layouts that the user names -----------------------------------------------------------------------------------


def channels_last_model() -> nn.Module:
    return net(
        Calls(
            lambda m, x: m.fc(m.mix(m.norm(x.movedim(1, -1))).mean((1, 2))),
            norm=nn.LayerNorm(3),
            mix=nn.Linear(3, 6),
            fc=nn.Linear(6, 5),
        )
    )


def test_layout_none_leaves_the_activation_as_it_is() -> None:
    module = channels_last_model()
    by_itself, raw = (one(module, Gradient(at=Site("mix", layout=layout))).values for layout in ("auto", "none"))
    assert raw.shape == (2, 8, 8, 6)
    assert torch.equal(raw.movedim(-1, 1), by_itself)


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SiteError, match="no height and width that fit"):
        one(net(Convnet()), Gradient(at=Site("fc", layout="tokens")))


# -- models that can do less ---------------------------------------------------------------------------------------


@pytest.fixture
def script() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="script"):
        return torch.jit.script(net(Convnet()))


def test_a_scripted_model_has_scores_and_gradients(script: nn.Module) -> None:
    for method in (Gradient(), IntegratedGradients(steps=4)):
        torch.testing.assert_close(one(script, method).values, one(net(Convnet()), method).values)


@pytest.mark.parametrize("method", ["guided_backprop", "grad_cam"])
def test_a_scripted_model_is_refused_what_needs_its_inside(script: nn.Module, method: str) -> None:
    with pytest.raises(UnsupportedModel, match="can only be asked for gradient, score"):
        one(script, method)


def test_a_layer_of_a_scripted_model_is_refused(script: nn.Module) -> None:
    with pytest.raises((SiteError, UnsupportedModel)):
        one(script, Gradient(at="conv1"))


def quantised() -> nn.Module:
    module = net(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), torch.float32)
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_quantised_model_has_scores() -> None:
    x = pictures(2, dtype=torch.float32)
    module = quantised()
    got = explain(module, x, "occlusion", target=0, output="logit")[0]
    assert got.target.score == pytest.approx(module(x)[:, 0].tolist())
    assert got.values.abs().max() > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["gradient", "grad_cam", "guided_backprop"])
def test_a_quantised_model_has_no_gradients(method: str) -> None:
    with pytest.raises(UnsupportedModel, match="use Occlusion"):
        explain(quantised(), pictures(2, dtype=torch.float32), method)


def test_a_model_that_detaches_its_input_is_refused_in_plain_words() -> None:
    module = net(Calls(lambda m, x: m.fc(x.detach().flatten(1)), fc=nn.Linear(192, 3)))
    with pytest.raises(UnsupportedModel, match="differentiated"):
        one(module, Gradient())


def test_a_score_that_ignores_the_input_is_refused_in_plain_words() -> None:
    module = net(Calls(lambda m, x: m.fc(x.flatten(1)) * 0 + 1, fc=nn.Linear(192, 3)))
    assert float(one(module, Gradient()).values.abs().max()) == 0


def test_a_handle_is_itself() -> None:
    handle = wrap(net(Convnet()))
    assert as_model(handle) is handle
    assert isinstance(as_model(handle.module), TorchModel)


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_cams_of_small_transformers_are_grids(name: str) -> None:
    model = tiny.make(name)
    got = explain(model.module, model.x, GradCAM(relu=False))[0]
    assert got.dims == ("batch", "height", "width")
    assert all(got.check("degenerate").passed)  # pyright: ignore[reportOptionalMemberAccess]
