"""Rules that are gradients, against finite differences: through the autograd function that carries every rule."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn
from torch.autograd import gradcheck

from pellucid.propagation import Intercept, RuleSet
from pellucid.propagation.deeplift import Multipliers
from pellucid.propagation.full_gradient import FullGradient


class Mixed(nn.Module):
    """Convolution, batch norm, bent and smooth functions, a gate, a residual sum and a dense layer; smooth at X."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.inplace = inplace
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm, self.gate, self.head = nn.BatchNorm2d(4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.norm.running_mean.fill_(0.3)
        self.norm.running_var.fill_(1.7)
        self.double().eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.norm(self.first(x)))
        b = F.relu6(self.second(a), inplace=self.inplace)
        b = b * torch.sigmoid(self.gate(b.mean((2, 3))))[:, :, None, None]
        return self.head(F.gelu(a + b).mean((2, 3)) / 1.5)


X = row(2, 2, 4, 4, seed=8)


def ruled(net: nn.Module, rules: RuleSet, x: Tensor) -> Tensor:
    planes = rules.manner.canvas
    canvas = x.detach().new_zeros((len(x), planes, *x.shape[-2:])).requires_grad_() if planes else None
    with Intercept(net, rules, canvas=canvas) as seen:
        out = net(x)
    assert any(entry.served for entry in seen.audit)
    return out


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rescale", [False, True])
def test_full_gradients_hand_on_the_plain_gradient(rescale, inplace):
    net = Mixed(inplace=inplace)
    assert gradcheck(lambda x: ruled(net, FullGradient(rescale), x), (X.clone().requires_grad_(),))


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_multipliers_against_the_input_itself_are_the_gradient(rule):
    """Δ = 0 everywhere: what is left of every multiplier is a derivative."""
    net, rules = Mixed(), Multipliers(rule)
    step = 1e-6
    with Intercept(net, rules) as before:
        net(X.clone().requires_grad_())
    leaf = X.clone().requires_grad_()
    with Intercept(net, rules, against=before.reference):
        out = net(leaf)
    (found,) = torch.autograd.grad(out[:, 1].sum(), leaf)
    shifts = torch.eye(X[0].numel(), dtype=X.dtype).view(-1, *X.shape[1:]) * step
    with torch.no_grad():
        wanted = torch.stack([(net(x + shifts)[:, 1] - net(x - shifts)[:, 1]) / (2 * step) for x in X])
    torch.testing.assert_close(found.flatten(1), wanted, atol=1e-7, rtol=1e-5)
