"""Models with habits: answers in containers, weights that are shared or computed, memory of their own, no copies."""

from __future__ import annotations

import threading
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from pellucid.testing.nets import CHANNELS, CLASSES, WIDTH, Functional, Modules


class Tuple(Modules):
    """Answers with a tuple: scores and something else."""

    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return scores, scores.detach() * 2


class Dict(Modules):
    """Answers with a mapping."""

    def forward(self, x: Tensor) -> Any:
        return {"aux": x.mean((1, 2, 3)), "logits": super().forward(x)}


class Answer:
    """An object that keeps its scores under `logits`, as Hugging Face models answer."""

    def __init__(self, logits: Tensor) -> None:
        self.loss, self.logits = None, logits


class ModelOutput(Modules):
    """Answers with an object."""

    def forward(self, x: Tensor) -> Any:
        return Answer(super().forward(x))


class Uncopyable(Modules):
    """Holds a lock, which cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Refusing(Functional):
    """Refuses to be copied, in words of its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ValueError("this model is one of a kind")


def frozen() -> nn.Module:
    """All parameters frozen."""
    return Modules().requires_grad_(False)


class WithDropout(Modules):
    """Drops channels while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.drop(x))


def training() -> nn.Module:
    """In the middle of training: dropout and batch-norm in train mode, one norm kept in eval mode on purpose."""
    net = WithDropout().train()
    net.bn1.eval()
    return net


class Checkpointed(Functional):
    """Recomputes its first half in the backward pass, when its flag says so."""

    def __init__(self) -> None:
        super().__init__()
        self.gradient_checkpointing = True

    def first(self, x: Tensor) -> Tensor:
        """The first convolution."""
        return F.relu(self.bn1(self.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            x = checkpoint(self.first, x, use_reentrant=False)
        else:
            x = self.first(x)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Counting(Modules):
    """Counts its calls in a buffer, in place."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Rebinding(Modules):
    """Puts a new buffer in place of the old one, and remembers what it saw."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.last_seen = x
        return super().forward(x)


class UncopyableRebinding(Rebinding):
    """Does so in its own memory, because it cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Stochastic(Modules):
    """Draws random numbers in eval mode too: `F.dropout` trains unless it is told not to."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.2))


class Plain(nn.Module):
    """Two convolutions and a rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3)))


def parametrised() -> nn.Module:
    """Weights that are computed from others whenever they are read."""
    net = Plain()
    parametrizations.weight_norm(net.conv1)
    return net


def weight_normed() -> nn.Module:
    """The older way: a hook computes the weights before every call, and keeps them as a plain attribute."""
    net = Plain()
    net.conv1.register_forward_pre_hook(_normalise)
    weight = net.conv1.weight.detach()
    del net.conv1.weight
    net.conv1.weight_g = nn.Parameter(weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    net.conv1.weight_v = nn.Parameter(weight.clone())
    _normalise(net.conv1, ())
    return net


def _normalise(module: Any, args: Any) -> None:
    length = module.weight_v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    module.weight = module.weight_v * (module.weight_g / length)


class Tied(nn.Module):
    """Two layers that hold one and the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(CHANNELS, WIDTH, 3, padding=1)
        self.body = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.again = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.again.weight = self.body.weight
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.body(F.relu(self.stem(x))))
        return self.fc(F.relu(self.again(x)).mean((2, 3)))


def tied() -> nn.Module:
    """The tied model."""
    return Tied()


def regression() -> nn.Module:
    """One number out."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
