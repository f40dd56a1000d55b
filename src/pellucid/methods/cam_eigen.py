"""Class activation maps from the principal component of a layer, its sign made to mean something."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import method, param
from pellucid.ops.layers import CHANNEL, fused, slopes

NEEDS = (Can.GRADIENT, Can.SITES)
CENTRE = "subtract every channel's mean over the places first, as pytorch-grad-cam does and the paper does not"


@method(kind=Kind.CAM, title="Eigen-CAM", cite="muhammad2020eigencam", needs=NEEDS, family="cam")
class EigenCAM:
    """L = A V₁,  A = U Σ Vᵀ with one row per place and one column per channel    [Muhammad & Yeasin 2020]

    A singular vector has no sign of its own. Here it has the one with which Σ_p L_p ‖A_p‖ ≥ 0: the map is high at
    places p where the layer is active. The map does not depend on the target.

    at      the layer, or several; `auto` is the last one with height and width
    relu    set negative values to zero; where activations are not negative there are none without centring
    centre  subtract every channel's mean over the places first
    """

    at: Any = param(default="auto")
    relu: bool = param(default=False)
    centre: bool = param(default=False, says=CENTRE)

    async def explain(self, q: Query) -> Attribution:
        maps: list[Tensor] = []
        for a, g in await slopes(q, self.at):
            cam = leading(a, self.centre, towards=a.norm(dim=CHANNEL))
            maps.append(cam.expand(len(g), *cam.shape))
        return fused(maps, self.at, self.relu)


@method(
    kind=Kind.CAM,
    title="Eigen-Grad-CAM",
    cite="muhammad2020eigencam",
    needs=NEEDS,
    family="cam",
)
class EigenGradCAM:
    """L = M V₁,  M = G ⊙ A = U Σ Vᵀ with one row per place and one column per channel    [after Muhammad & Yeasin 2020]

    The sign is the one with which Σ_p L_p (Σ_k G_pk A_pk) ≥ 0: the map is high where the layer speaks for the
    target, as in HiResCAM.

    at      the layer, or several; `auto` is the last one with height and width
    relu    set negative values to zero
    centre  subtract every channel's mean over the places first
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)
    centre: bool = param(default=False, says=CENTRE)

    async def explain(self, q: Query) -> Attribution:
        parts = [g * a for a, g in await slopes(q, self.at)]
        return fused([leading(m, self.centre, towards=m.sum(CHANNEL)) for m in parts], self.at, self.relu)


def leading(maps: Tensor, centre: bool, towards: Tensor) -> Tensor:
    """Projection of maps [..., channel, height, width] on their first principal component: [..., height, width].

    towards: [..., height, width], whose inner product with the result is not negative.
    """
    table = maps.flatten(-2).transpose(-1, -2)  # [..., place, channel]
    exact = table if table.dtype in (torch.float32, torch.float64) else table.float()
    if centre:
        exact = exact - exact.mean(-2, keepdim=True)
    u, s, _ = torch.linalg.svd(exact, full_matrices=False)
    cam = (u[..., 0] * s[..., :1]).to(maps.dtype).unflatten(-1, maps.shape[-2:])
    agrees = (cam * towards).sum((-2, -1), keepdim=True) >= 0
    return torch.where(agrees, cam, -cam)
