"""The class activation maps of pytorch-grad-cam, as it computes them before it rescales and enlarges them."""

from __future__ import annotations

from typing import Any

import torch
from tests.peers.models import Case
from tests.peers.with_captum import Compared, make_at
from torch import Tensor

from pellucid.core.target import Score

CAMS = {
    "Grad-CAM": ("grad_cam", "GradCAM"),
    "Grad-CAM++": ("grad_cam_plus_plus", "GradCAMPlusPlus"),
    "XGrad-CAM": ("x_grad_cam", "XGradCAM"),
    "HiResCAM": ("hi_res_cam", "HiResCAM"),
    "LayerCAM": ("layer_cam", "LayerCAM"),
}


LOUDER = 1e8
"""A factor of the score beside which the peer's ε in Grad-CAM++ does not count."""


def raw(name: str, c: Case, factor: float = 1.0) -> Tensor:
    """What `get_cam_image` returns for factor × logit, cut at zero as the library does next; [batch, height, width]."""
    import pytorch_grad_cam

    kept: list[Any] = []
    with getattr(pytorch_grad_cam, name)(c.theirs, [c.layer], reshape_transform=c.grid) as cam:
        inner = cam.get_cam_image
        cam.get_cam_image = lambda *arguments: kept.append(inner(*arguments)) or kept[-1]
        cam(c.x.clone(), [lambda output: factor * output[c.target]] * len(c.x))
    c.theirs.zero_grad(set_to_none=True)
    return torch.from_numpy(kept[0]).clamp_min(0)


def _compared(ours: str, theirs: str) -> Compared:
    return Compared(ours=make_at(ours), theirs=lambda c: raw(theirs, c))


def louder(c: Case) -> Score:
    """The score times a large factor, for our side."""
    return Score(lambda outputs: LOUDER * outputs[:, c.target], "louder")


COMPARED: dict[str, Compared] = {
    **{title: _compared(*pair) for title, pair in CAMS.items()},
    "Grad-CAM++ of 10⁸ × logit": Compared(
        ours=make_at("grad_cam_plus_plus"), theirs=lambda c: raw("GradCAMPlusPlus", c, LOUDER), target=louder
    ),
}
