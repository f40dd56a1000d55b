"""Relevance through whole models: conservation over all sources, closed forms, and all spellings alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.lrp.nets import filled, relevance, to_constants
from torch import Tensor, nn

from pellucid.core.errors import ParameterError, RuleError
from pellucid.propagation import Composite, Kind, On
from pellucid.propagation.lrp.flows import Pass
from pellucid.propagation.lrp.layers import Epsilon
from pellucid.propagation.lrp.presets import PRESETS, composite, epsilon


def rows(count: int = 1, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(name: str, x: Tensor) -> Composite:
    ends = {"black": x.amin((0, 2, 3), True) - 1, "white": x.amax((0, 2, 3), True) + 1}
    return composite(name, lambda end: ends[end])


def resnet() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)


def mobilenet() -> nn.Module:
    from torchvision.models import mobilenet_v3_small

    return mobilenet_v3_small(num_classes=10)


def efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1), MBConvConfig(4, 3, 2, 8, 16, 2), MBConvConfig(4, 5, 2, 16, 24, 2)]
    return EfficientNet(blocks, dropout=0.2, num_classes=10)


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10
    )


def timm_vit() -> nn.Module:
    import timm

    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_classes=10)


def convnext() -> nn.Module:
    import timm

    return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=10)


CONVOLUTIONAL = {
    "resnet": resnet,
    "densenet": densenet,
    "mobilenet": mobilenet,
    "efficientnet": efficientnet,
    "convnext": convnext,
}
TRANSFORMERS = {"torchvision": vit, "timm": timm_vit}


def gap(model: nn.Module, rules: Composite) -> float:
    """The part of the score that neither arrived at the input nor at a constant."""
    r, score, audit = relevance(model, rows(), rules)
    return abs(float(r.sum()) + to_constants(audit) - float(score.sum())) / abs(float(score.sum()))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_epsilon_conserves(name: str) -> None:
    assert gap(filled(CONVOLUTIONAL[name]), epsilon(1e-9, 1e-9)) < 1e-4


@pytest.mark.parametrize("name", ["resnet", "densenet"])
@pytest.mark.parametrize("preset", ["epsilon_plus", "epsilon_plus_flat", "epsilon_gamma_box", "deep_taylor"])
def test_presets_conserve_behind_relus(preset: str, name: str) -> None:
    """Where inputs are not negative, something supports every output that matters."""
    assert gap(filled(CONVOLUTIONAL[name]), made(preset, rows())) < 1e-4


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_cp_lrp_conserves_over_pictures_class_tokens_and_positions(name: str) -> None:
    assert gap(filled(TRANSFORMERS[name]), made("cp_lrp", rows())) < 1e-4


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_attn_lrp_leaks_in_softmax_only(name: str) -> None:
    _, score, audit = relevance(filled(TRANSFORMERS[name]), rows(), made("attn_lrp", rows()))
    leaks = {e.kind: 0.0 for e in audit}
    for e in audit:
        if e.relevance_in is not None and e.served:
            leaks[e.kind] += abs(e.relevance_in - (e.relevance_out or 0.0) - (e.to_constants or 0.0))
    assert leaks.pop(Kind.SOFTMAX) > 1e-6
    assert max(leaks.values()) < 1e-4 * abs(float(score))


class Relu(nn.Module):
    """Convolutions, a residual sum, pooling, a linear layer; no biases, and an activation in any spelling."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *, norm: bool = False, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.skip = nn.Conv2d(4, 4, 1, bias=bias)
        self.head = nn.Linear(4 * 16, 10, bias=bias)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.norm(self.conv(x)))
        b = self.act(self.skip(a) + a)
        return self.head(F.avg_pool2d(b, 2).flatten(1))


class Functional(Relu):
    """The same function without a module's call."""

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        a = F.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        a = F.batch_norm(a, n.running_mean, n.running_var, n.weight, n.bias)
        a = torch.where(a > 0, a, torch.zeros((), dtype=a.dtype))
        b = torch.add(a, torch.conv2d(a, self.skip.weight, self.skip.bias)).relu()
        pooled = F.adaptive_avg_pool2d(b, 4).reshape(len(x), -1)
        return torch.addmm(self.head.bias, pooled, self.head.weight.t())


SPELLINGS: dict[str, Callable[[], nn.Module]] = {
    "modules": lambda: Relu(nn.ReLU(), norm=True, bias=True),
    "in place": lambda: Relu(nn.ReLU(inplace=True), norm=True, bias=True),
    "functional": lambda: Relu(F.relu, norm=True, bias=True),
    "clamp": lambda: Relu(lambda x: x.clamp(min=0), norm=True, bias=True),
    "in place, by hand": lambda: Relu(torch.relu_, norm=True, bias=True),
    "no module called": lambda: Functional(nn.Identity(), norm=True, bias=True),
}


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("excitation_backprop", "zero")])
@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "modules"])
def test_spelling_does_not_matter(spelling: str, preset: str) -> None:
    x = rows(2, 8)
    wanted, _, _ = relevance(filled(SPELLINGS["modules"]), x, made(preset, x))
    got, _, _ = relevance(filled(SPELLINGS[spelling]), x, made(preset, x))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_rows_do_not_depend_on_each_other() -> None:
    net, x = filled(SPELLINGS["modules"]), rows(3, 8)
    for preset in ("epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1"):
        rules = made(preset, x)
        together, _, _ = relevance(net, x, rules)
        alone, _, _ = relevance(net, x[1:2], rules)
        torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-12)


def test_zero_is_input_times_gradient_on_nets_of_relus() -> None:
    net, x = filled(lambda: Relu(nn.ReLU())), rows(2, 8)
    got, score, _ = relevance(net, x, made("zero", x))
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(got, x * slope, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got.flatten(1).sum(1), score, rtol=1e-9, atol=1e-12)


def test_a_merged_norm_is_one_layer_with_the_convolution() -> None:
    net, x = filled(SPELLINGS["modules"]), rows(2, 8)
    folded = filled(lambda: Relu(nn.ReLU(), bias=True))
    folded.load_state_dict(net.state_dict(), strict=False)
    scale = net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()
    folded.conv.weight.copy_(net.conv.weight * scale.view(-1, 1, 1, 1))
    folded.conv.bias.copy_((net.conv.bias - net.norm.running_mean) * scale + net.norm.bias)
    for preset in PRESETS:
        one, _, _ = relevance(net, x, made(preset, x))
        other, _, _ = relevance(folded, x, made(preset, x))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


class Unheard(nn.Module):
    """A polynomial on the way, which no rule knows."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cross(x.flatten(1)[:, :3], x.flatten(1)[:, 3:6], dim=1)


def test_unknown_operators_are_refused_by_name_or_have_their_gradient() -> None:
    x = rows(2, 8)
    with pytest.raises(RuleError, match=r"cross"):
        relevance(Unheard(), x, composite("epsilon_plus", lambda _: x))
    rules = composite("epsilon_plus", lambda _: x, "gradient").with_(On(Pass(), kinds=(Kind.RECTIFIER,)))
    with pytest.raises(RuleError, match="no operator that it serves"):
        relevance(Unheard(), x, rules)


def test_composites_by_name() -> None:
    x = rows()
    assert made("epsilon_gamma_box", x) == made("epsilon_gamma_box", x)
    assert hash(made("epsilon_gamma_box", x)) == hash(made("epsilon_gamma_box", x.clone()))
    with pytest.raises(ParameterError, match="epsilon_plus_flat"):
        made("epsilon_plus_flatt", x)
    with pytest.raises(ParameterError, match=r"gamma=0\.5 for the composite epsilon_plus"):
        composite("epsilon_plus", lambda _: x, gamma=0.5)
    assert composite("epsilon", lambda _: x, epsilon=0.1) == epsilon(0.1)
    with pytest.raises(ParameterError, match="beside a Composite"):
        composite(epsilon(), lambda _: x, epsilon=0.1)
    assert Epsilon(0.1) in {line.rule for line in epsilon(0.1).lines}
