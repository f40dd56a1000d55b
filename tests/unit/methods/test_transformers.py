"""Every method for transformers on models as they come from torchvision, timm and Hugging Face, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.unit.methods.vits import SPELLINGS, vit
from tests.unit.models import net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import UnsupportedModel
from pellucid.methods.attention_rollout import AttentionRollout
from pellucid.methods.cam import GradCAM, LayerCAM
from pellucid.methods.chefer import GenericAttention, TransformerAttribution
from pellucid.methods.le_grad import LeGrad
from pellucid.methods.lrp import LRP

ATTENTIVE: tuple[Any, ...] = (AttentionRollout(), GenericAttention(), TransformerAttribution(), LeGrad())
RELEVANCE: tuple[Any, ...] = (LRP(composite="attn_lrp"), LRP(composite="cp_lrp"))
SIDE = 32


def torchvision_vit() -> nn.Module:
    models = pytest.importorskip("torchvision").models
    return models.VisionTransformer(SIDE, 8, 3, 2, 16, 32, num_classes=5)


def timm_model(name: str, **how: Any) -> nn.Module:
    return pytest.importorskip("timm").create_model(name, num_classes=5, **how)


def timm_vit(**how: Any) -> nn.Module:
    return timm_model("vit_tiny_patch16_224", img_size=SIDE, patch_size=8, depth=3, embed_dim=16, num_heads=2, **how)


def timm_deit() -> nn.Module:
    size = {"img_size": SIDE, "patch_size": 8, "depth": 3, "embed_dim": 16, "num_heads": 2}
    return timm_model("deit_tiny_distilled_patch16_224", **size)


def timm_registers() -> nn.Module:
    size = {"img_size": SIDE, "patch_size": 8, "depth": 3, "embed_dim": 16, "num_heads": 2}
    return timm_model("vit_small_patch14_reg4_dinov2", **size)


def hugging_face(kind: str, **how: Any) -> nn.Module:
    hub = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = getattr(hub, f"{kind}Config")(**size, image_size=SIDE, patch_size=8, num_labels=5, **how)
    return getattr(hub, f"{kind}ForImageClassification")(config)


VITS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "torchvision": (torchvision_vit, 1),
    "timm": (timm_vit, 1),
    "timm, mean of the patches": (lambda: timm_vit(global_pool="avg"), 1),
    "timm, no class token": (lambda: timm_vit(global_pool="avg", class_token=False), 0),
    "timm, distilled": (timm_deit, 2),
    "timm, registers": (timm_registers, 5),
    "Hugging Face": (lambda: hugging_face("ViT"), 1),
    "Hugging Face, eager": (lambda: hugging_face("ViT", attn_implementation="eager"), 1),
    "Hugging Face, registers": (lambda: hugging_face("Dinov2WithRegisters"), 5),
}
"""How each is made, and how many tokens stand before the patches."""


def swin_of_torchvision() -> nn.Module:
    models = pytest.importorskip("torchvision").models
    return models.SwinTransformer([4, 4], 8, [1, 2], [1, 2], [2, 2], num_classes=5)


def swin_of_hugging_face() -> nn.Module:
    hub = pytest.importorskip("transformers")
    config = hub.SwinConfig(image_size=SIDE, embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=4, num_labels=5)
    return hub.SwinForImageClassification(config)


HIERARCHIES: dict[str, Callable[[], nn.Module]] = {
    "torchvision, Swin": swin_of_torchvision,
    "Hugging Face, Swin": swin_of_hugging_face,
    "timm, PiT": lambda: timm_model("pit_ti_224", img_size=64),
    "timm, CoAtNet": lambda: timm_model("coatnet_pico_rw_224", img_size=64),
}


@pytest.mark.parametrize("name", VITS)
def test_vision_transformers(name: str) -> None:
    make, prefix = VITS[name]
    model = net(make())
    x = pictures(2, SIDE)
    whole = explain(wrap(model), x, [*ATTENTIVE, *RELEVANCE, GradCAM(relu=False), LayerCAM(relu=False)], target=[1, 3])
    for e in whole:
        relevance = e.record.method == "lrp"
        assert e.values.shape == ((2, 3, SIDE, SIDE) if relevance else (2, 4, 4))
        assert not e.warnings, e.warnings
    alone = explain(wrap(model), x[1:], [*ATTENTIVE, *RELEVANCE], target=[1, 3])
    for got, wanted in zip(alone, whole, strict=False):
        torch.testing.assert_close(got.values[0], wanted.values[1], rtol=1e-7, atol=1e-10)
    readers = whole[0].extras["readers"][0]
    kept = {"timm, distilled": [0, 1], "timm, mean of the patches": range(1, 17), "timm, no class token": range(16)}
    kept["Hugging Face, registers"] = [0, *range(5, 21)]  # its head reads the class token beside the patches' mean
    assert readers.nonzero()[:, 0].tolist() == list(kept.get(name, [0]))
    assert len(readers) == 16 + prefix


@pytest.mark.parametrize("name", HIERARCHIES)
def test_hierarchies_are_refused_by_what_follows_attention_and_served_by_the_others(name: str) -> None:
    model = net(HIERARCHIES[name]())
    side = SIDE if "Swin" in name else 64
    x = pictures(1, side)
    for method in ATTENTIVE:
        with pytest.raises(UnsupportedModel):
            explain(model, x, method)
    first, second, cam = explain(model, x, [*RELEVANCE, GradCAM(relu=False)], target=1)
    assert first.values.shape == second.values.shape == (1, 3, side, side)
    assert cam.values.ndim == 3 and not cam.warnings


def test_grad_cam_of_tokens_is_that_of_the_last_norm_that_is_read() -> None:
    model = net(timm_vit())
    x = pictures(2, SIDE)
    kept: list[Tensor] = []
    handle = model.blocks[2].norm1.register_forward_hook(lambda *call: kept.append(call[2]))  # pyright: ignore
    score = model(x)[:, 1].sum()
    handle.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    weight = slope[:, 1:].mean(1, keepdim=True)
    wanted = (weight * kept[0][:, 1:]).sum(-1).relu().view(2, 4, 4)
    got = explain(model, x, GradCAM(), target=1)[0]
    assert got.record.at == "blocks.2.norm1"
    torch.testing.assert_close(got.values, wanted.detach(), rtol=1e-9, atol=1e-12)


def wide(count: int) -> Tensor:
    """Pictures of 8 × 12 pixels, as the small transformers take them."""
    return pictures(count, 12)[..., 4:, :]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_cp_lrp_conserves_where_nothing_but_the_picture_can_take_relevance(spelling: str) -> None:
    """Without biases, class token and places, all relevance arrives at the picture."""
    model = vit(SPELLINGS[spelling], prefix=0, read="mean")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or name in ("place", "extra"):
                parameter.zero_()
    x = wide(3)
    e = explain(model, x, LRP(composite="cp_lrp"), target=2)[0]
    score = torch.tensor(e.target.score, dtype=x.dtype)
    torch.testing.assert_close(e.values.sum((1, 2, 3)), score, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("composite", ["attn_lrp", "cp_lrp", "epsilon_plus_flat"])
def test_relevance_is_the_same_in_every_spelling(composite: str) -> None:
    x = wide(2)
    first, *others = (
        explain(vit(mix, sharp=1.0), x, LRP(composite=composite), target=2)[0].values for mix in SPELLINGS.values()
    )
    for other in others:  # queries are scaled before the product or behind it, with ε on either
        assert float((other - first).norm() / first.norm()) < 1e-4
