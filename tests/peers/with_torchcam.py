"""The class activation maps of torchcam, which it gives as they are when asked not to stretch them."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch.nn.functional as F
from tests.peers.models import BUNDLED, CONVOLUTIONAL, Case
from tests.peers.with_captum import Compared, make_at
from tests.peers.with_grad_cam import CAMS, NARROW, moved, similar
from torch import Tensor

from pellucid import registry
from pellucid.core.target import Top

SMALL = "vit_b_16 (narrow)"
MODELS = (*CONVOLUTIONAL, SMALL)
THEIRS = {"Grad-CAM": "GradCAM", "Grad-CAM++": "GradCAMpp", "XGrad-CAM": "XGradCAM", "LayerCAM": "LayerCAM"}
STEPS = 3


def methods() -> Any:
    import torchcam.methods

    return torchcam.methods


def told(name: str, c: Case, classes: list[int] | None = None, **how: Any) -> Tensor:
    """The map of the case's class, or of one class for every row; [batch, height, width]."""
    kept = {} if c.grid is None else {"reshape_transform": c.grid}
    with getattr(methods(), name)(c.theirs, c.site, **kept, **how) as extractor:
        scores = c.theirs(c.x.clone().requires_grad_())
        (cam,) = extractor(classes or c.target, scores, normalized=False)
    c.theirs.zero_grad(set_to_none=True)
    return cam.detach()


def stretched(cams: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarged, and then brought to 0 … 1, as in the paper."""
    large = F.interpolate(cams, size, mode="bilinear", align_corners=False)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low).clamp_min(1e-300)


def enlarged_first(c: Case) -> Tensor:
    """Score-CAM whose masks are stretched after they are enlarged; torchcam does it before."""
    size = (c.x.shape[2], c.x.shape[3])
    with patch.object(methods().ScoreCAM, "_normalize", staticmethod(lambda cams, dims: stretched(cams, size))):
        return told("ScoreCAM", moved(c, NARROW), batch_size=64)


def le_grad(c: Case) -> Tensor:
    """Of all blocks, read by the class token as the model reads it; its own reading is the mean of all tokens."""
    net: Any = c.theirs
    blocks = [f"encoder.layers.{name}" for name, _ in net.encoder.layers.named_children()]
    with methods().LeGrad(net, blocks, score_projection=lambda z: net.heads(net.encoder.ln(z)[:, 0])) as extractor:
        net(c.x.clone().requires_grad_())
        (cam,) = extractor(c.target, normalized=False)
    return cam.detach()


def _masked(ours: str, theirs: str, mine: dict[str, Any], **how: Any) -> Compared:
    return Compared(
        ours=lambda c: registry.make(ours, {"at": NARROW[c.name], **mine}),
        theirs=lambda c: told(theirs, moved(c, NARROW), batch_size=64, **how),
        models=("resnet18",),
    )


COMPARED: dict[str, Compared] = {
    **{
        title: Compared(
            ours=make_at(CAMS[title][0]), theirs=lambda c, name=name: told(name, c).clamp_min(0), models=MODELS
        )
        for title, name in THEIRS.items()
    },
    "CAM": Compared(
        ours=make_at("cam", relu=False), theirs=lambda c: told("CAM", c, fc_layer="fc"), models=("resnet18",)
    ),
    "Finer-CAM, others weighted equally": Compared(
        ours=make_at("finer_cam", strength=1.0),
        theirs=lambda c: told("FinerCAM", c, similar(c)[:, 0].tolist(), gamma=1.0),
        models=MODELS,
        target=lambda c: Top(1),
    ),
    "Score-CAM": _masked("score_cam", "ScoreCAM", {}),
    "Score-CAM, enlarged by centres": Compared(
        ours=lambda c: registry.make("score_cam", {"at": NARROW[c.name]}),
        theirs=enlarged_first,
        models=(BUNDLED, "resnet18", SMALL),
    ),
    "IS-CAM": _masked("is_cam", "ISCAM", {"steps": STEPS}, num_samples=STEPS),
    "LeGrad": Compared(ours=lambda c: registry.make("le_grad"), theirs=le_grad, models=(SMALL,)),
}
