"""One small net in many spellings, and what the tests ask of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.propagation import Intercept
from pellucid.propagation.rules import RuleSet

Activation = Callable[[Tensor], Tensor]


def row(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers, with exact zeros among them: spellings differ most at the kink."""
    drawn = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.where(drawn.abs() < 0.1, torch.zeros(()), drawn)


class Net(nn.Module):
    """Convolution, rectifier, residual sum, rectifier, linear layer; the rectifier is any callable."""

    def __init__(self, activation: Activation, seed: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.skip = nn.Conv2d(4, 4, 1, bias=False)
        self.head = nn.Linear(4 * 25, 3)
        self.act = activation
        self.double()
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=source, dtype=p.dtype) * 0.4)
            self.conv.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.conv(x))
        b = self.act(self.skip(a) + a)
        return self.head(b.flatten(1))


def saliency(model: nn.Module, x: Tensor, rules: RuleSet, target: int = 1) -> tuple[Tensor, Intercept]:
    """The map of one target, verified."""
    x = x.clone().requires_grad_()
    with Intercept(model, rules) as seen:
        y = model(x)
    (grad,) = torch.autograd.grad(y[:, target].sum(), x)
    seen.verify()
    return grad, seen


def plain(model: nn.Module, x: Tensor, target: int = 1) -> Tensor:
    """The ordinary gradient."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x)[:, target].sum(), x)[0]


def by_hand(net: Net, x: Tensor, gate: Callable[[Tensor, Tensor], Tensor], target: int = 1) -> Tensor:
    """The map of `Net` written out backwards; `gate(x, signal)` is the rule at a rectifier."""
    z1 = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
    a = net.act(z1)
    z2 = F.conv2d(a, net.skip.weight) + a
    r = net.head.weight[target].expand(len(x), -1).reshape(z2.shape)
    r = gate(z2, r)
    r = F.conv_transpose2d(r, net.skip.weight) + r
    r = gate(z1, r)
    return F.conv_transpose2d(r, net.conv.weight, padding=1).detach()
