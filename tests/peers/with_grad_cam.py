"""The class activation maps of pytorch-grad-cam, as it computes them before it rescales and enlarges them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tests.peers.models import BUNDLED, Case
from tests.peers.with_captum import Compared, make_at
from torch import Tensor

from pellucid import registry
from pellucid.core.target import Score, Top

CAMS = {
    "Grad-CAM": ("grad_cam", "GradCAM"),
    "Grad-CAM++": ("grad_cam_plus_plus", "GradCAMPlusPlus"),
    "XGrad-CAM": ("x_grad_cam", "XGradCAM"),
    "HiResCAM": ("hi_res_cam", "HiResCAM"),
    "LayerCAM": ("layer_cam", "LayerCAM"),
}


LOUDER = 1e8
"""A factor of the score beside which the peer's ε in Grad-CAM++ does not count."""


def signed(name: str, c: Case, score: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """What `get_cam_image` returns for a score of one row's outputs, by default the logit; [batch, height, width]."""
    import pytorch_grad_cam

    kept: list[Any] = []
    wanted = score or (lambda output: output[c.target])
    with getattr(pytorch_grad_cam, name)(c.theirs, [c.layer], reshape_transform=c.grid) as cam:
        inner = cam.get_cam_image
        cam.get_cam_image = lambda *arguments: kept.append(inner(*arguments)) or kept[-1]
        cam(c.x.clone(), [wanted] * len(c.x))
    c.theirs.zero_grad(set_to_none=True)
    return torch.as_tensor(kept[0])


def raw(name: str, c: Case, factor: float = 1.0) -> Tensor:
    """The map of factor × logit, cut at zero as the library does next."""
    return signed(name, c, lambda output: factor * output[c.target]).clamp_min(0)


def _compared(ours: str, theirs: str) -> Compared:
    return Compared(ours=make_at(ours), theirs=lambda c: raw(theirs, c))


def louder(c: Case) -> Score:
    """The score times a large factor, for our side."""
    return Score(lambda outputs: LOUDER * outputs[:, c.target], "louder")


# -- maps of many passes: at layers with few channels, in double precision throughout --------------------------------

NARROW = {
    BUNDLED: "_blocks.0._swish",
    "vgg11": "features.1",
    "resnet18": "layer1",
    "densenet121": "features.relu0",
    "vit_tiny_patch16": "blocks.11.norm1",
    "vit_b_16 (narrow)": "encoder.layers.encoder_layer_2.ln_1",
}
"""Layers with few channels; those of the convolutional models end in a rectifier."""
NORMED = {BUNDLED: "_blocks.0._bn2", "vgg11": "features.0", "resnet18": "bn1"}
"""Layers whose activation has both signs."""


class Double:
    """A library, with double precision where the peer asks for single."""

    def __init__(self, library: Any, **instead: Any) -> None:
        self.library, self.instead = library, instead

    def __getattr__(self, name: str) -> Any:
        return self.instead[name] if name in self.instead else getattr(self.library, name)


@contextmanager
def in_double(centres: bool) -> Generator[None]:
    """The peer's Score-CAM and Ablation-CAM keep scores as they are; masks enlarged by the centres of pixels."""
    from pytorch_grad_cam import ablation_cam, score_cam

    def enlarged(size: Any) -> Any:
        return torch.nn.Upsample(size=size, mode="bilinear", align_corners=not centres)

    def kept(scores: Any) -> Tensor:
        return torch.tensor(scores, dtype=torch.float64)

    layers = Double(torch.nn, UpsamplingBilinear2d=enlarged)
    with (
        patch.object(score_cam, "torch", Double(torch, Tensor=kept, nn=layers)),
        patch.object(ablation_cam, "np", Double(np, float32=np.float64)),
        patch.object(score_cam, "tqdm", SimpleNamespace(tqdm=lambda it: it)),
        patch.object(ablation_cam, "tqdm", SimpleNamespace(tqdm=lambda it: it)),
    ):
        yield


def moved(c: Case, layers: dict[str, str]) -> Case:
    """The case at another layer."""
    return replace(c, site=layers.get(c.name, c.site))


def many_passes(
    ours: str, theirs: str, models: tuple[str, ...], layers: dict[str, str] = NARROW, centres: bool = True
) -> Compared:
    """Compared at layers with few channels, on some models only: the peer takes its time."""

    def peer(c: Case) -> Tensor:
        with in_double(centres):
            return raw(theirs, moved(c, layers))

    return Compared(ours=lambda c: registry.make(ours, {"at": layers.get(c.name, c.site)}), theirs=peer, models=models)


# -- maps whose sign the peer leaves open ------------------------------------------------------------------------------


def inside(c: Case) -> tuple[Tensor, Tensor]:
    """Activation and gradient of the layer, [batch, channel, height, width], by hand."""
    kept: list[Tensor] = []
    hook = c.theirs.get_submodule(c.site).register_forward_hook(lambda m, i, o: kept.append(o.clone()) or kept[-1])
    score = c.theirs(c.x.clone().requires_grad_())[:, c.target].sum()
    hook.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    return c.at_grid(kept[0].detach()), c.at_grid(slope)


def oriented(name: str, towards: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case], Tensor]:
    """The peer's component, turned to where it agrees with `towards`."""

    def run(c: Case) -> Tensor:
        cam, way = signed(name, c), towards(*inside(c))
        return cam * (cam * way).sum((1, 2), keepdim=True).sign()

    return run


# -- what tells classes apart ------------------------------------------------------------------------------------------


def similar(c: Case) -> Tensor:
    """All classes of every row, the one with the highest score first."""
    with torch.no_grad():
        return c.module(c.x).argsort(1, descending=True)


def finer(c: Case, weighted: bool) -> Tensor:
    """Finer-CAM of the top class at full strength; the peer weighs the others by their probabilities."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    def mean(order: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda out: out[order[0]] - out[order[1:4]].mean()

    kept: list[Any] = []
    orders = similar(c)
    targets: list[Any] = [FinerWeightedTarget(int(o[0]), o[1:4].tolist(), 1.0) if weighted else mean(o) for o in orders]
    with pytorch_grad_cam.FinerCAM(c.theirs, [c.layer], reshape_transform=c.grid) as cam:
        inner = cam.base_cam.get_cam_image
        cam.base_cam.get_cam_image = lambda *arguments: kept.append(inner(*arguments)) or kept[-1]
        cam(c.x.clone(), targets)
    c.theirs.zero_grad(set_to_none=True)
    return torch.as_tensor(kept[0]).clamp_min(0)


def _finer(weighted: bool) -> Compared:
    made = make_at("finer_cam", strength=1.0)
    return Compared(ours=made, theirs=lambda c: finer(c, weighted), target=lambda c: Top(1))


COMPARED: dict[str, Compared] = {
    **{title: _compared(*pair) for title, pair in CAMS.items()},
    "Grad-CAM++ of 10⁸ × logit": Compared(
        ours=make_at("grad_cam_plus_plus"), theirs=lambda c: raw("GradCAMPlusPlus", c, LOUDER), target=louder
    ),
    "Shapley-CAM": _compared("shapley_cam", "ShapleyCAM"),
    "Eigen-CAM, centred": Compared(
        ours=make_at("eigen_cam", centre=True), theirs=oriented("EigenCAM", lambda a, g: a.norm(dim=1))
    ),
    "Eigen-Grad-CAM, centred": Compared(
        ours=make_at("eigen_grad_cam", centre=True, relu=False),
        theirs=oriented("EigenGradCAM", lambda a, g: (a * g).sum(1)),
    ),
    "Finer-CAM": _finer(True),
    "Finer-CAM, others weighted equally": _finer(False),
    "Score-CAM": many_passes("score_cam", "ScoreCAM", ("resnet18", "vit_b_16 (narrow)"), centres=False),
    "Score-CAM, enlarged by centres": many_passes("score_cam", "ScoreCAM", (BUNDLED, "resnet18", "vit_b_16 (narrow)")),
    "Ablation-CAM": many_passes("ablation_cam", "AblationCAM", (BUNDLED, "vgg11", "densenet121")),
    "Ablation-CAM of both signs": many_passes("ablation_cam", "AblationCAM", (BUNDLED, "resnet18"), NORMED),
}
