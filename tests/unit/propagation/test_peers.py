"""Captum where it is right (nn.ReLU modules), and what it misses where it is not."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import saliency
from torch import Tensor, nn

from pellucid.propagation import Deconv, Guided

attr = pytest.importorskip("captum.attr")
models = pytest.importorskip("torchvision.models")

pytestmark = pytest.mark.peers
X = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@cache
def random_model(name: str) -> nn.Module:
    return models.get_model(name, weights=None).double().eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
@pytest.mark.parametrize(("rules", "peer"), [(Guided(), "GuidedBackprop"), (Deconv(), "Deconvolution")])
def test_equal_to_captum_on_models_of_relu_modules(name, rules, peer):
    model = random_model(name)
    found, _ = saliency(model, X, rules)
    assert far(getattr(attr, peer)(model).attribute(X.clone(), target=1), found) < 1e-6


class AsModule(nn.Module):
    """A functional rectifier of DenseNet as a module that Captum can see."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.relu, self.pool = model, nn.ReLU(), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.classifier(self.pool(self.relu(self.model.features(x))).flatten(1))


@pytest.mark.filterwarnings("ignore")
def test_right_on_densenet_where_captum_misses_a_functional_rectifier():
    model = models.DenseNet(8, (2, 2), 16, num_classes=5).double().eval()
    found, _ = saliency(model, X, Guided())
    assert far(attr.GuidedBackprop(AsModule(model)).attribute(X.clone(), target=1), found) < 1e-6
    assert far(attr.GuidedBackprop(model).attribute(X.clone(), target=1), found) > 0.01


@pytest.mark.filterwarnings("ignore")
def test_right_on_relu6_where_captum_sees_nothing():
    model = models.mobilenet_v2(weights=None, num_classes=5).double().eval()

    class AsMinimum(nn.Module):
        """min(relu(x), 6), the rectifier of which Captum can see."""

        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return 6 - F.threshold(6 - self.relu(x), 0.0, 0.0)

    found, seen = saliency(model, X, Guided())
    assert {e.operator for e in seen.audit.served} == {"hardtanh"}
    blind = attr.GuidedBackprop(model).attribute(X.clone(), target=1)
    assert far(blind, found) > 0.01
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, AsMinimum())
    assert far(attr.GuidedBackprop(model).attribute(X.clone(), target=1), found) < 1e-6
