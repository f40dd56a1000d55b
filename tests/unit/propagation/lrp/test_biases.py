"""A bias that is added by hand is a bias: the layer without one and the sum after it are served as one layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.lrp.nets import filled, relevance
from tests.unit.propagation.lrp.test_models import made, rows
from torch import Tensor, nn

from pellucid.propagation.lrp.presets import PRESETS


class Biased(nn.Module):
    """A convolution, a layer of tokens, a linear layer: `conv`, `mix` and `head` do them with their biases."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.m, self.h = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 6), nn.Linear(6, 10)

    def conv(self, x: Tensor) -> Tensor:
        return self.c(x)

    def mix(self, x: Tensor) -> Tensor:
        return self.m(x)

    def head(self, x: Tensor) -> Tensor:
        return self.h(x)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).relu().flatten(2).transpose(1, 2)
        return self.head(self.mix(tokens).relu().mean(1))


class ByHand(Biased):
    def conv(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.c.weight, padding=1) + self.c.bias.view(1, -1, 1, 1)

    def mix(self, x: Tensor) -> Tensor:
        return torch.add(F.linear(x, self.m.weight), self.m.bias)

    def head(self, x: Tensor) -> Tensor:
        return x @ self.h.weight.T + self.h.bias


class Reversed(Biased):
    def conv(self, x: Tensor) -> Tensor:
        return self.c.bias.view(-1, 1, 1) + F.conv2d(x, self.c.weight, padding=1)

    def mix(self, x: Tensor) -> Tensor:
        return x @ self.m.weight.T - (-self.m.bias)

    def head(self, x: Tensor) -> Tensor:
        y = torch.mm(x, self.h.weight.T)
        y += self.h.bias
        return y


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("spelling", [ByHand, Reversed])
def test_biases_by_hand(spelling: Callable[[], nn.Module], preset: str) -> None:
    x = rows(2, 6)
    wanted, _, _ = relevance(filled(Biased), x, made(preset, x))
    got, _, _ = relevance(filled(spelling), x, made(preset, x))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


class Read(Biased):
    """Somebody else reads what the layer says before its bias."""

    def head(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.h.weight)
        return (y + self.h.bias) + y


class Same(Biased):
    def head(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.h.weight)
        return (self.h.bias.expand_as(y) + y) + y


def test_what_others_read_is_not_merged() -> None:
    x = rows(2, 6)
    wanted, _, _ = relevance(filled(Same), x, made("epsilon_plus", x))
    got, _, _ = relevance(filled(Read), x, made("epsilon_plus", x))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
