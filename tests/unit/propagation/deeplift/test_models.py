"""Whole architectures, with random weights: nothing is lost on the way through any of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.deeplift.passes import filled, gap, multipliers, numbers
from torch import Tensor, nn

from pellucid.propagation.deeplift import Multipliers, Unlike

vision = pytest.importorskip("torchvision.models")


def vit() -> nn.Module:
    return vision.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )


def swin() -> nn.Module:
    return vision.swin_transformer.SwinTransformer(
        patch_size=[2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=5
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: vision.resnet18(num_classes=5),
    "densenet": lambda: vision.DenseNet(8, (2, 2), 16, num_classes=5),
    "mobilenet_v3_small": lambda: vision.mobilenet_v3_small(num_classes=5),
    "convnext": lambda: vision.ConvNeXt(
        [vision.convnext.CNBlockConfig(8, 16, 1), vision.convnext.CNBlockConfig(16, None, 1)], num_classes=5
    ),
    "vit": vit,
    "swin": swin,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_nothing_is_lost(name: str, rule: str):
    rules, model, x = Multipliers(rule=rule), filled(MODELS[name]()), numbers(2, 3, 32, 32)  # pyright: ignore
    r = numbers(2, 3, 32, 32, seed=1)
    assert gap(model, x, r, rules) <= 1e-9
    if name == "swin":  # its windows lie on the axis of the rows
        with pytest.raises(Unlike):
            gap(model, x, r[:1], rules)
    else:
        assert gap(model, x, 0 * r[:1], rules) <= 1e-9


@pytest.mark.parametrize("name", MODELS)
def test_nor_in_single_precision(name: str):
    model = filled(MODELS[name](), dtype=torch.float32)
    x, r = (numbers(2, 3, 32, 32, seed=seed, dtype=torch.float32) for seed in (0, 1))
    assert gap(model, x, r, floor=1.0) <= 1e-5  # the scores themselves are no closer to those of double precision


class Written(nn.Module):
    """One net as modules, as functions, with one activation for all, or in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6 * 4, 5)
        self.acts = nn.ModuleList([nn.ReLU(inplace=how == "in place") for _ in range(2)])
        self.pool = nn.MaxPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        if self.how == "functions":
            a = F.relu(z)
            b = torch.add(F.batch_norm(F.conv2d(a, self.second.weight, self.second.bias, padding=1),
                                       self.norm.running_mean, self.norm.running_var, self.norm.weight,
                                       self.norm.bias), a)  # fmt: skip
            return F.linear(torch.max_pool2d(b.clamp(min=0), 4).flatten(1), self.head.weight, self.head.bias)
        a = self.acts[0](z)
        b = self.norm(self.second(a))
        if self.how == "in place":
            b += a
        else:
            b = b + a
        return self.head(self.pool(self.acts[0 if self.how == "shared" else 1](b)).flatten(1))


@pytest.mark.parametrize("how", ["functions", "shared", "in place"])
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_however_a_net_is_written_it_is_the_same(how: str, rule: str):
    x, r, rules = numbers(2, 3, 8, 8), numbers(2, 3, 8, 8, seed=1), Multipliers(rule=rule)  # pyright: ignore
    wanted = multipliers(filled(Written("modules")), x, r, rules)[0]
    assert torch.allclose(multipliers(filled(Written(how)), x, r, rules)[0], wanted, rtol=1e-9, atol=1e-12)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.rows, self.head = kind(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_nothing_is_lost_in_recurrent_layers(kind: type[nn.Module]):
    model = filled(Recurrent(kind))
    assert gap(model, numbers(2, 4, 6), numbers(2, 4, 6, seed=1)) <= 1e-9


class Dense(nn.Module):
    """Product and sum in two calls, with a bias that could be trained, as Keras has it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(linear.weight.detach().T.clone()), nn.Parameter(linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.kernel + self.bias


def test_a_bias_in_or_out_of_the_product_is_the_same():
    model = filled(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)))
    apart = nn.Sequential(*[Dense(part) if isinstance(part, nn.Linear) else part for part in model])
    x, r = numbers(3, 6), numbers(3, 6, seed=1)
    for rules in (Multipliers(), Multipliers(rule="reveal_cancel")):
        one, other = (multipliers(m, x, r, rules)[0] for m in (model, apart))
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_a_norm_in_or_out_of_the_convolution_is_the_same():
    """Folding a batch norm does not change what speaks for and against."""
    model = filled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)))
    with torch.no_grad():
        model[1].weight.mul_(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    folded = nn.Sequential(torch.nn.utils.fuse_conv_bn_eval(model[0], model[1]), *model[2:])
    x, r = numbers(2, 3, 8, 8), numbers(2, 3, 8, 8, seed=1)
    for rules in (Multipliers(), Multipliers(rule="reveal_cancel")):
        one, other = (multipliers(m, x, r, rules)[0] for m in (model, folded))
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
