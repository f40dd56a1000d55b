"""Real architectures: every operator on the path is known, and its parts give the numbers of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.propagation import Intercept, Inventory, Kind, Place, inventory

ATTENTION = frozenset((Kind.ATTENTION,))
EVERY = frozenset((Kind.ATTENTION, Kind.NORM, Kind.RECURRENT))

pytestmark = pytest.mark.filterwarnings("ignore")


def torchvision_model(name: str, **sizes: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = pytest.importorskip("torchvision.models")
        return models.get_model(name, weights=None, num_classes=5, **sizes)

    return make


def timm_model(name: str, **sizes: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return pytest.importorskip("timm").create_model(name, num_classes=5, **sizes)

    return make


def swin() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    return models.SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4], num_classes=5)


def vit() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    return models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=5)


def densenet() -> nn.Module:
    return pytest.importorskip("torchvision.models").DenseNet(8, (2, 2), 16, num_classes=5)


def mixer() -> nn.Module:
    models = pytest.importorskip("timm.models")
    return models.MlpMixer(5, 32, patch_size=16, num_blocks=2, embed_dim=16)


class Logits(nn.Module):
    """The scores of a Hugging Face model."""

    def __init__(self, model: nn.Module, word: str) -> None:
        super().__init__()
        self.model, self.word = model, word

    def forward(self, x: Tensor) -> Tensor:
        return self.model(**{self.word: x}).logits


def hf_vit() -> nn.Module:
    of = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return Logits(of.ViTForImageClassification(of.ViTConfig(image_size=32, patch_size=16, **sizes)), "pixel_values")


def hf_bert() -> nn.Module:
    of = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return Logits(of.BertForSequenceClassification(of.BertConfig(vocab_size=30, **sizes)), "inputs_embeds")


PICTURE, TEXT = (1, 3, 32, 32), (1, 6, 8)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (torchvision_model("resnet18"), PICTURE),
    "densenet": (densenet, PICTURE),
    "mobilenet_v3_small": (torchvision_model("mobilenet_v3_small"), PICTURE),
    "shufflenet": (torchvision_model("shufflenet_v2_x0_5"), PICTURE),
    "swin": (swin, PICTURE),
    "vit": (vit, PICTURE),
    "timm vit": (timm_model("vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2), PICTURE),
    "timm swin": (
        timm_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(2, 2)),
        PICTURE,
    ),
    "timm convnext": (timm_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)), PICTURE),
    "timm regnet": (timm_model("regnety_002"), PICTURE),
    "timm mixer": (mixer, PICTURE),
    "transformers vit": (hf_vit, PICTURE),
    "transformers bert": (hf_bert, TEXT),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS.keys())
def test_no_unknown_operator_and_the_same_numbers_in_parts(make, shape):
    torch.manual_seed(0)
    model = make().double().eval()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = model(x)
    (slope,) = torch.autograd.grad(y[:, 1].sum(), x)
    for apart in (ATTENTION, EVERY):
        with Intercept(model, Inventory(apart)) as seen:
            found = model(x)
        assert [place for place in seen.places if place.kind in (Kind.OTHER, *(apart & EVERY))] == norms_of_batches(
            seen.places, apart
        )
        torch.testing.assert_close(found, y, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(torch.autograd.grad(found[:, 1].sum(), x)[0], slope, atol=1e-9, rtol=1e-9)


def norms_of_batches(places: tuple[Place, ...], apart: frozenset[Kind]) -> list[Place]:
    """Batch norms stay what they are, in eval mode an affine map."""
    return [place for place in places if Kind.NORM in apart and place.operator == "batch_norm"]


def test_an_inventory_leaves_nothing_behind():
    model = vit().eval()
    x = torch.randn(PICTURE, requires_grad=True)
    first, second = inventory(model, lambda: model(x)), inventory(model, lambda: model(x))
    assert first == second and not any(module._forward_hooks for module in model.modules())
