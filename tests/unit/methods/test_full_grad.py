"""FullGrad against the shares of every layer written by hand, and against the score that they add up to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.methods.test_cam_linear import NET, X, close, one
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation
from pellucid.methods.full_grad import FullGrad


def slow(rescale: bool, target: int = 1) -> Tensor:
    """Biases of the net's layers, those of the norms with what they subtract, times the gradients there."""
    kept: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: kept.__setitem__(name, o))
        for name, module in NET.named_children()
    ]
    leaf = X.clone().requires_grad_()
    score = NET(leaf)[:, target].sum()
    for hook in hooks:
        hook.remove()
    shares = [leaf.detach() * torch.autograd.grad(score, leaf, retain_graph=True)[0]]
    for name in ("conv1", "bn1", "bn2"):
        layer: Any = NET.get_submodule(name)
        bias = layer.bias
        if isinstance(layer, nn.BatchNorm2d):
            bias = bias - layer.running_mean * layer.weight / (layer.running_var + layer.eps).sqrt()
        slope = torch.autograd.grad(score, kept[name], retain_graph=True)[0]
        shares.append((bias[:, None, None] * slope).detach())
    maps = torch.zeros(len(X), *X.shape[2:], dtype=X.dtype)
    for share in shares:
        share = share.abs()
        for b in range(len(X)):
            part = share[b]
            if rescale:
                part = (part - part.min()) / (part.max() - part.min())
            maps[b] += F.interpolate(part.sum(0)[None, None], X.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    return maps


def gap(e: Explanation) -> list[float]:
    found = e.check("full_gradient")
    assert found is not None
    return list(found.value)


@pytest.mark.parametrize("rescale", [True, False])
def test_full_grad_is_the_sum_of_the_shares(rescale: bool) -> None:
    got = one(FullGrad(rescale=rescale))
    close(got.values, slow(rescale))
    assert max(gap(got)) <= 1e-9


class Residual(nn.Module):
    """Sums of layers owe everything to their inputs, but not to the last digit."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        h = h + torch.tanh(h.mean((2, 3), keepdim=True)).detach() * self.b(h)
        return self.out((h + h.flip(3)).mean((2, 3)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rounding_in_sums_is_no_share(dtype: torch.dtype) -> None:
    """Stretched to [0, 1], it would weigh as much as a layer. Here: the input and two biases."""
    model, x = net(Residual()).to(dtype), X.to(dtype)
    e = explain(model, x, FullGrad(), target=1)[0]
    assert float(e.values.flatten(1).amax(1).max()) <= 3 + 4 + 4
    kept: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: kept.__setitem__(name, o))
        for name, module in model.named_children()
    ]
    leaf = x.clone().requires_grad_()
    score = model(leaf)[:, 1].sum()
    for hook in hooks:
        hook.remove()
    ends = [leaf, kept["a"], kept["b"]]
    slopes = torch.autograd.grad(score, ends)
    parts = [leaf.detach(), model.a.bias.detach()[:, None, None], model.b.bias.detach()[:, None, None]]
    wanted = torch.zeros_like(x[:, 0])
    for part, slope in zip(parts, slopes, strict=True):
        share = (part * slope).abs()
        low, high = share.amin((1, 2, 3), keepdim=True), share.amax((1, 2, 3), keepdim=True)
        wanted += ((share - low) / (high - low)).sum(1)
    torch.testing.assert_close(e.values, wanted, rtol=1e-4, atol=1e-3)


class Bent(nn.Module):
    """ReLU6, SiLU, leaky slopes, a gate, a residual sum and constants: all of them functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.gate, self.fc = nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(8 * self.conv1(x - 0.5) + 1)
        y = F.leaky_relu(self.conv2(F.silu(x)), 0.2) * torch.sigmoid(self.gate(x.mean((2, 3))))[..., None, None]
        y += x
        return self.fc(F.avg_pool2d(y, 2).flatten(2).max(2).values / 3)


def test_bent_functions_gates_and_constants_have_shares_too() -> None:
    got = one(FullGrad(), model=net(Bent()))
    assert max(gap(got)) <= 1e-9


def test_a_net_without_biases_has_the_input_alone() -> None:
    bare: Any = net(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3, bias=False))
    )
    got = one(FullGrad(rescale=False), model=bare)
    leaf = X.clone().requires_grad_()
    slope = torch.autograd.grad(bare(leaf)[:, 1].sum(), leaf)[0]
    close(got.values, (X * slope).abs().sum(1))
    assert max(gap(got)) <= 1e-9


class Normed(Convnet):
    """A layer norm, of which no operator accounts for the share."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.fc(F.layer_norm(self.relu2(self.conv2(x)).mean((2, 3)), (6,)))


def test_what_nobody_accounts_for_turns_the_check_red() -> None:
    got = one(FullGrad(), model=net(Normed())).check("full_gradient")
    assert got is not None and not any(got.passed)


class Last(nn.Module):
    """Channels last from the first convolution on, as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.fc = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.mix(self.conv(x).permute(0, 2, 3, 1))).mean((1, 2)))


class First(Last):
    """The same with channels first."""

    def forward(self, x: Tensor) -> Tensor:
        h = F.conv2d(self.conv(x), self.mix.weight[..., None, None], self.mix.bias)
        return self.fc(torch.relu(h).mean((2, 3)))


def test_channels_may_be_the_last_axis() -> None:
    close(one(FullGrad(), model=net(Last())).values, one(FullGrad(), model=net(First())).values)


def test_targets_and_chunks_share_nothing_but_the_pass() -> None:
    got = explain(wrap(net(Convnet()), rows=2), X, FullGrad(), target=[0, 1, 2])
    close(got[1].values, one(FullGrad()).values)


def test_the_prepared_form_has_the_same_map() -> None:
    x = pictures(2, dtype=torch.float32)
    plain, prepared = (
        explain(wrap(net(Convnet(), torch.float32), evaluate=how), x, FullGrad(), target=0)[0].values
        for how in ("plain", "prepared")
    )
    torch.testing.assert_close(plain, prepared, rtol=1e-4, atol=1e-5)


def test_rows_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="rows of shape"):
        explain(wrap(net(nn.Linear(6, 3))), torch.rand(2, 6, dtype=torch.float64), FullGrad(), target=0)
