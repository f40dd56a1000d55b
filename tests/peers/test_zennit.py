"""zennit's presets on nets with batch norms, closer than the table asks."""

from __future__ import annotations

import pytest
from tests.peers.models import distance, filled, resnet18, rows
from tests.peers.with_zennit import PRESETS, box, relevance, without_epsilon
from tests.unit.propagation.lrp.nets import relevance as own
from torch import Tensor, nn

from pellucid.propagation.lrp.presets import composite

pytest.importorskip("zennit")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def vgg11_bn() -> nn.Module:
    from torchvision.models import vgg11_bn as build

    module = build(num_classes=10)
    module.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return module


MODELS = {"vgg11_bn": (vgg11_bn, 32), "resnet18": (resnet18, 64)}


def ours(module: nn.Module, x: Tensor, name: str) -> Tensor:
    return own(module.requires_grad_(False), x, composite(name, lambda end: box(x)[end == "white"]))[0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str, model: str) -> None:
    build, size = MODELS[model]
    module, x = filled(build), rows(size, 2)
    theirs = relevance(preset, without_epsilon(module), x, 1)
    assert distance(ours(module, x, PRESETS[preset]), theirs) <= 1e-8
