"""Small convolutional networks, each function in several spellings with the same weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, SIDE, CLASSES = 3, 8, 4
WIDTH = 4


def linear_rows() -> nn.Module:
    """s = W x + b on rows of six numbers."""
    return nn.Linear(6, CLASSES)


def linear_pictures() -> nn.Module:
    """s = W x + b on flattened pictures."""
    return nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * SIDE * SIDE, CLASSES))


class Smooth(nn.Module):
    """A convolution, tanh and a linear layer: differentiable as often as one likes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).tanh().flatten(1))


class BiasFree(nn.Module):
    """Convolutions and rectifiers without biases: positively homogeneous, s(a x) = a s(x) for a > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1, bias=False)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(WIDTH, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


# -- convolution, batch-norm, rectifier, twice -------------------------------------------------------------------


class Convnet(nn.Module):
    """The weights that all spellings share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(WIDTH)
        self.fc = nn.Linear(WIDTH, CLASSES)


class Modules(Convnet):
    """Every step a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.pool, self.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.flat(self.pool(x)))


class Functional(Convnet):
    """Rectifiers and pooling as functions."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Shared(Convnet):
    """One rectifier module, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Inplace(Convnet):
    """Rectifiers that overwrite what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x.relu_()
        return self.fc(x.mean((2, 3)))


class Methods(Convnet):
    """Methods and operators of tensors: clamp, maximum by where, the matrix product, the sum."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).clamp(min=0)
        x = self.bn2(self.conv2(x))
        x = torch.where(x > 0, x, torch.zeros_like(x))
        return x.mean((-2, -1)) @ self.fc.weight.T + self.fc.bias


class SoftmaxModule(Modules):
    """The same, ending in a softmax module."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(super().forward(x))


class SoftmaxFunctional(Functional):
    """The same, ending in a softmax written as a method."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(-1)


class SigmoidHead(Modules):
    """Independent probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


# -- residual sums -------------------------------------------------------------------------------------------------


class Add(nn.Module):
    """A sum as a module."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.add(a, b)


class Residual(nn.Module):
    """A stem and a block around which the signal also goes; subclasses write the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.bn = nn.BatchNorm2d(WIDTH)
        self.fc = nn.Linear(WIDTH, CLASSES)


class ResidualModule(Residual):
    """The sum as a module, rectifiers as modules."""

    def __init__(self) -> None:
        super().__init__()
        self.add, self.relu1, self.relu2 = Add(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.stem(x))
        return self.fc(self.relu2(self.add(self.bn(self.conv(x)), x)).mean((2, 3)))


class ResidualDunder(Residual):
    """The sum as an operator."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.fc(F.relu(self.bn(self.conv(x)) + x).mean((2, 3)))


class ResidualInplace(Residual):
    """The sum and the rectifiers in place, the result of one of them ignored."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x), inplace=True)
        y = self.bn(self.conv(x))
        y += x
        F.relu_(y)
        return self.fc(y.mean((2, 3)))


# -- dense connections ---------------------------------------------------------------------------------------------


class Dense(nn.Module):
    """Two convolutions whose outputs are put side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.conv2 = nn.Conv2d(WIDTH, 2, 3, padding=1)
        self.last = nn.BatchNorm2d(WIDTH + 2)
        self.fc = nn.Linear(WIDTH + 2, CLASSES)


class DenseModules(Dense):
    """Rectifiers as modules."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = torch.cat([x, self.conv2(self.relu1(self.norm(x)))], 1)
        return self.fc(self.relu2(self.last(x)).mean((2, 3)))


class DenseFunctional(Dense):
    """The last rectifier as a function, in place, as DenseNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = torch.cat((x, self.conv2(self.relu1(self.norm(x)))), dim=1)
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.last(x), inplace=True), (1, 1)).flatten(1))


# -- rectifiers with a ceiling -------------------------------------------------------------------------------------


class Relu6(nn.Module):
    """min(max(x, 0), 6), as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


class Relu6Clamp(nn.Module):
    """The same as a clamp."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.clamp(self.conv(x), 0, 6).mean((2, 3)))
