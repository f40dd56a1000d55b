"""Class activation maps: the activation A of one layer, weighted by its gradient G = ∂s/∂A.

All answer on the layer's own grid; k is a channel, (i, j) a place. `relu` keeps the part that speaks for the target.
`at` may name several layers: see `pellucid.ops.layers.fused` for what becomes of their maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck, Where, attribution, together
from pellucid.core.errors import UnsupportedModel
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.method import method, param
from pellucid.core.points import At
from pellucid.core.site import as_site
from pellucid.ops.checks import relative_gap, with_places
from pellucid.ops.layers import CHANNEL, PLACES, fused, slopes

NEEDS = (Can.GRADIENT, Can.SITES)
LINEAR = 1e-2


@method(kind=Kind.CAM, title="Grad-CAM", cite="selvaraju2017grad", needs=NEEDS, family="cam")
class GradCAM:
    """L = relu(Σ_k α_k A_k),  α_k = mean_ij G_kij    [Selvaraju et al. 2017, eq. 1–2]

    at      the layer, or several; `auto` is the last one with height and width
    relu    set negative values to zero
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        maps = [(g.mean(PLACES, keepdim=True) * a).sum(CHANNEL) for a, g in await slopes(q, self.at)]
        return fused(maps, self.at, self.relu)


@method(kind=Kind.CAM, title="Grad-CAM++", cite="chattopadhay2018grad", needs=NEEDS, family="cam")
class GradCAMPlusPlus:
    """L = relu(Σ_k w_k A_k),  w_k = Σ_ij α relu(G),  α = G² / (2G² + Σ_ij A · G³)    [Chattopadhay et al. 2018, eq. 19]

    at, relu as in Grad-CAM. The paper's factor exp(s) scales the whole map of an image and is left out.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        maps: list[Tensor] = []
        for a, g in await slopes(q, self.at):
            below = 2 * g**2 + a.sum(PLACES, keepdim=True) * g**3
            alpha = (g**2 / below).where(below != 0, below)
            weight = (alpha * g.relu()).sum(PLACES, keepdim=True)
            maps.append((weight * a).sum(CHANNEL))
        return fused(maps, self.at, self.relu)


@method(kind=Kind.CAM, title="XGrad-CAM", cite="fu2020axiom", needs=NEEDS, family="cam")
class XGradCAM:
    """L = relu(Σ_k w_k A_k),  w_k = Σ_ij A_kij G_kij / Σ_ij A_kij    [Fu et al. 2020, eq. 8]

    at, relu as in Grad-CAM. Channels whose activation sums to zero get no weight.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        maps: list[Tensor] = []
        for a, g in await slopes(q, self.at):
            total = a.sum(PLACES, keepdim=True)
            weight = ((a * g).sum(PLACES, keepdim=True) / total).where(total != 0, total)
            maps.append((weight * a).sum(CHANNEL))
        return fused(maps, self.at, self.relu)


@method(kind=Kind.CAM, title="HiResCAM", cite="draelos2020hirescam", needs=NEEDS, family="cam")
class HiResCAM:
    """L = relu(Σ_k G_k ⊙ A_k)    [Draelos & Carin 2020, eq. 5]

    at, relu as in Grad-CAM.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        return fused([(g * a).sum(CHANNEL) for a, g in await slopes(q, self.at)], self.at, self.relu)


@method(kind=Kind.CAM, title="LayerCAM", cite="jiang2021layercam", needs=NEEDS, family="cam")
class LayerCAM:
    """L = relu(Σ_k relu(G_k) ⊙ A_k)    [Jiang et al. 2021, eq. 4–6]

    at, relu as in Grad-CAM.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        return fused([(g.relu() * a).sum(CHANNEL) for a, g in await slopes(q, self.at)], self.at, self.relu)


@method(kind=Kind.CAM, title="CAM", cite="zhou2016learning", needs=(*NEEDS, Can.EDIT), family="cam")
class CAM:
    """L = Σ_k w_k A_k,  w_k the weight of channel k behind global average pooling    [Zhou et al. 2016, eq. 2]

    There s = Σ_k w_k mean_ij A_kij + b, so that w_k = Σ_ij G_kij with a gradient that is the same at all places. That
    is how the weights are found, and where it is not so the model is refused: it is not built for CAM, or `at` is not
    the layer that is averaged. That nothing else lies behind is checked too: the map's mean must be s(A) − s(A = 0).

    at      the layer whose activation is averaged, one only; `auto` is the last one with height and width
    relu    set negative values to zero; the paper does not
    """

    at: Any = param(default="auto")
    relu: bool = param(default=False)

    async def explain(self, q: Query) -> Attribution:
        (act, grad), top = await together(q.site(self.at), q.score())
        act = with_places(act, self.at)
        uneven = (grad - grad.mean(PLACES, keepdim=True)).abs().amax((CHANNEL, *PLACES))
        if bool((uneven > torch.finfo(grad.dtype).eps ** 0.5 * grad.abs().amax((CHANNEL, *PLACES))).any()):
            raise UnsupportedModel(
                f"the gradient at layer {self.at} is not the same at all places",
                "global average pooling and one linear layer behind the map",
                "name the layer that is averaged: at='...'; or use Grad-CAM, which needs no such model",
            )
        cam = (grad.sum(PLACES, keepdim=True) * act).sum(CHANNEL)
        bottom = await q.score(At(torch.zeros_like(act)), where=Where(into=as_site(self.at)))
        linear = _linear(relative_gap(cam.mean(PLACES, keepdim=True), top - bottom))
        return attribution(cam.relu() if self.relu else cam, dims=(HEIGHT, WIDTH), at=self.at, checks=[linear])


def _linear(gap: Tensor) -> RowCheck:
    says = (
        "part of the score that the map's mean misses: what lies behind the layer is not pooling and one linear layer"
    )
    return RowCheck(name="linear_head", value=gap, passed=gap <= LINEAR, limit=LINEAR, says=says)
