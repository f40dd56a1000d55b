"""Models that lack one thing each, and their healthy twins."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tests.unit.texts import Splitter, encoder
from torch import Tensor, nn

import pellucid
from pellucid.preprocess import Preprocess, Table
from pellucid.testing import tiny
from pellucid.zoo.labels import imagenet1k

SIDE = 16
PHOTO = (np.add.outer(np.arange(SIDE) * 8, np.arange(SIDE) * 3)[..., None] + np.array([0, 40, 90])).clip(0, 255)
PHOTO = PHOTO.astype(np.uint8)
PIXELS = Preprocess(resize=(SIDE, SIDE), crop=SIDE)
CENTRED = Preprocess(resize=(SIDE, SIDE), crop=SIDE, mean=(0.5,), std=(0.5,))


class Case(NamedTuple):
    """What to hand to the doctor: a model, and an input or none."""

    model: Any
    inputs: Any = None


class Net(nn.Module):
    """Two convolutions, and a linear layer over their mean; parts can be changed one at a time."""

    def __init__(self, outputs: int = 4, act: Callable[[], nn.Module] = nn.ReLU, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1, stride=2)
        self.act1, self.act2 = act(), act()
        self.fc = nn.Linear(8, outputs)

    def body(self, x: Tensor) -> Tensor:
        return self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


def net(kind: type[nn.Module] = Net, *args: Any, **more: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        module = kind(*args, **more)
    return tiny.filled(module, 3).eval()


def photo(module: nn.Module, preprocess: Any = PIXELS, labels: Any = None, **more: Any) -> Case:
    return Case(pellucid.wrap(module, preprocess, labels, **more), PHOTO)


def rows(module: nn.Module) -> Case:
    return Case(module, torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)))


class Softmax(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Shares(Net):
    """Probabilities that no softmax made."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).exp()
        return y / y.sum(1, keepdim=True)


class Draws(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.2))


class Sees(Net):
    """Subtracts the mean over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y - 0.5 * y.mean(0)


class Deaf(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0 + self.fc.bias


class Fails(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :2])


class Infinite(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0.0


class Functional(Net):
    def body(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3))


class Idle(Net):
    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(8, 3)


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv4 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv4.weight = self.conv3.weight

    def body(self, x: Tensor) -> Tensor:
        y = self.conv4(self.conv3(self.act1(self.conv1(x))))
        return self.act2(self.conv2(y)).mean((2, 3))


class Locked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Coarse(Net):
    """Its last map has one row of two places."""

    def body(self, x: Tensor) -> Tensor:
        return self.act2(self.conv2(F.adaptive_avg_pool2d(self.act1(self.conv1(x)), (2, 4)))).mean((2, 3))


class Flat(nn.Module):
    """No layer has a map."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def with_nan() -> nn.Module:
    module = net()
    with torch.no_grad():
        module.fc.bias[1] = torch.nan  # pyright: ignore
    return module


def equal_weights() -> nn.Module:
    module = net(Tied)
    module.conv4.weight = nn.Parameter(module.conv3.weight.detach().clone())  # pyright: ignore
    return module


def half() -> nn.Module:
    return net().to(torch.bfloat16)


def mixed() -> nn.Module:
    module = net()
    module.spare = nn.Linear(2, 2).double()
    return module


class Part(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def scripted() -> nn.Module:
    return nn.Sequential(torch.jit.script(Part()), net()).eval()


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


def compiled_in_place() -> nn.Module:
    module = net()
    module.conv1.compile(backend="eager")  # pyright: ignore
    return module


def configured(**held: Any) -> nn.Module:
    module = net()
    module.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, SIDE, SIDE), **held}
    return module


def hugging_face(folder: Path, mean: float) -> nn.Module:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [mean] * 3, "image_std": [0.5] * 3}))

    class Config:
        _name_or_path = str(folder)
        image_size = SIDE

    module = net()
    module.config = Config()
    return module


class Reads(nn.Module):
    """Twenty classes; the first one is what the photo shows, if it is read as it was trained."""

    def __init__(self, trained: Preprocess) -> None:
        super().__init__()
        self.known = nn.Parameter(trained.rows([pellucid.images.read(PHOTO)])[0])
        self.register_buffer("others", torch.linspace(0, 0.1, 19))

    def forward(self, x: Tensor) -> Tensor:
        far = (x - self.known).square().mean((1, 2, 3))
        return torch.cat([(-60 * far).exp()[:, None], self.get_buffer("others").expand(len(x), -1)], 1)


def reads(trained: Preprocess) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return Reads(trained).eval()


def imagenet(shift: int) -> Case:
    names = imagenet1k()
    moved = (*names[shift:], *names[:shift])
    return photo(net(Net, len(names)), labels=moved)


def table(values: Any, varies: bool = True) -> Case:
    data = np.column_stack([np.linspace(0, 1, 20), np.linspace(5, 6, 20) if varies else np.ones(20)])
    return Case(pellucid.wrap(lambda rows: rows[:, :1] * 2, Table.of(data)), np.array(values, dtype=float))


class Unknowing(Splitter):
    """Knows no word."""

    unk_token_id = 1

    def __call__(self, texts: Any, **more: Any) -> Any:
        got = super().__call__(texts, **more)
        return {"input_ids": [[1 for _ in ids] for ids in got["input_ids"]]}


class Wide(Splitter):
    """More words than the model has vectors."""

    def __len__(self) -> int:
        return 10**6


def text(splitter: Any, words: str = "a good film") -> Case:
    return Case(pellucid.wrap(encoder(), splitter, ("bad", "so so", "good")), words)
