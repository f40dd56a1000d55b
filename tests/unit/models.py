"""Small networks for the unit tests, with weights from a generator of their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.testing.tiny import filled


def net(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Filled with seeded weights and running statistics, in eval mode."""
    return filled(module, seed=0).to(dtype).eval()


def pictures(count: int = 3, side: int = 8, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random pictures in [0, 1]."""
    draw = torch.Generator().manual_seed(count * 1000 + side * 10 + channels)
    return torch.rand(count, channels, side, side, generator=draw, dtype=torch.float64).to(dtype)


class Convnet(nn.Module):
    """Convolution, norm, rectifier; convolution, norm, rectifier; mean; linear."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.fc = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Twice(nn.Module):
    """One convolution and one in-place rectifier that run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(self.stem(x)))
        return self.fc(self.relu(self.conv(x)).mean((2, 3)))


class Calls(nn.Module):
    """Layers by name, and what `forward` does with them."""

    def __init__(self, forward: object, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.way = (forward,)

    def forward(self, x: Tensor) -> Tensor:
        return self.way[0](self, x)  # pyright: ignore


def relu(x: Tensor) -> Tensor:
    return F.relu(x)
