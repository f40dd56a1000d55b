"""Small models that the command line can be pointed at: `tests.unit.cli.tiny:model`."""

from __future__ import annotations

import torch
from tests.unit.texts import Splitter, encoder
from torch import nn

import pellucid
from pellucid.preprocess import Preprocess
from pellucid.testing import tiny as zoo

CLASSES = ("tabby", "Egyptian cat", "beagle", "otter")
PREPROCESS = Preprocess(resize=16, crop=16, mean=(0.5,), std=(0.5,))


def module() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(4),
    )
    with torch.no_grad():
        net(torch.zeros(1, 3, 16, 16))
        draw = torch.Generator().manual_seed(7)
        for weights in net.parameters():
            weights.copy_(torch.randn(weights.shape, generator=draw) * 0.3)
    return net.eval()


def model():
    return pellucid.wrap(module(), PREPROCESS, CLASSES, name="tiny")


def other():
    return pellucid.wrap(nn.Sequential(module(), nn.Hardtanh(-2, 2)), PREPROCESS, CLASSES, name="other")


def nameless():
    return pellucid.wrap(module(), PREPROCESS)


def hostile():
    """Class names that try to steer a terminal."""
    return pellucid.wrap(module(), PREPROCESS, ["\x1b[2J\x1b[31mred", "a\nb", "c\rd", "e\u202ef"], name="\x1b[1mbold")


READY = model()


def never():
    raise RuntimeError("the model was built, although nothing should have been computed")


def interrupted():
    raise KeyboardInterrupt


def wrong():
    return {"weights": 1}


def grey():
    """For pictures of one channel, of which nobody says so."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))


class Stops(nn.Module):
    """Interrupted from the keyboard in the middle of a pass."""

    def forward(self, x):
        raise KeyboardInterrupt


def stops():
    return pellucid.wrap(Stops(), PREPROCESS, CLASSES)


def reader():
    """A model of texts."""
    return pellucid.wrap(encoder(), Splitter(), ("bad", "so so", "good"), name="reader")


def counted():
    """A function of a list of strings: how much is said for and against."""
    score = {"great": 2.0, "good": 1.0, "bad": -1.0}

    def moods(texts: list[str]) -> list[list[float]]:
        sums = [sum(score.get(word, 0.0) for word in text.lower().split()) for text in texts]
        return [[-one, one] for one in sums]

    return pellucid.wrap(moods, pellucid.Words(), ["against", "for"], name="moods")


def vit():
    """A transformer of pictures."""
    preprocess = Preprocess(resize=8, crop=8, mean=(0.5,), std=(0.5,))
    return pellucid.wrap(zoo.make("vit", torch.float32).module, preprocess, name="vit")


def pooled():
    """A network that ends in a mean over places and a linear layer."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return pellucid.wrap(zoo.filled(net, 1).float().eval(), PREPROCESS, CLASSES, name="pooled")


def club():
    """A function of a frame."""
    import pandas as pd

    frame = pd.DataFrame({"age": [n % 37 for n in range(60)], "weight": range(60), "city": ["Bern", "Rome"] * 30})

    def score(rows):
        inside = ((rows["age"] > 18) * 0.5 + (rows["city"] == "Rome") * 0.3).to_numpy()
        return [[1 - one, one] for one in inside]

    return pellucid.wrap(score, frame, ["no", "yes"], name="club")
