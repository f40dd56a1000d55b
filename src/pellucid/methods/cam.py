"""Class activation maps: the activation A of one layer, weighted by its gradient G = ∂s/∂A.

All answer on the layer's own grid; k is a channel, (i, j) a place. `relu` keeps the part that speaks for the target.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.method import method, param
from pellucid.ops.checks import with_places

CHANNEL, PLACES = -3, (-2, -1)
NEEDS = (Can.GRADIENT, Can.SITES)


@method(kind=Kind.CAM, title="Grad-CAM", cite="selvaraju2017grad", needs=NEEDS, family="cam")
class GradCAM:
    """L = relu(Σ_k α_k A_k),  α_k = mean_ij G_kij    [Selvaraju et al. 2017, eq. 1–2]

    at      the layer; `auto` is the last one with height and width
    relu    set negative values to zero
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        act, grad = await _maps(q, self.at)
        alpha = grad.mean(PLACES, keepdim=True)
        return _map((alpha * act).sum(CHANNEL), self)


@method(kind=Kind.CAM, title="Grad-CAM++", cite="chattopadhay2018grad", needs=NEEDS, family="cam")
class GradCAMPlusPlus:
    """L = relu(Σ_k w_k A_k),  w_k = Σ_ij α relu(G),  α = G² / (2G² + Σ_ij A · G³)    [Chattopadhay et al. 2018, eq. 19]

    at, relu as in Grad-CAM. The paper's factor exp(s) scales the whole map of an image and is left out.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        act, grad = await _maps(q, self.at)
        below = 2 * grad**2 + act.sum(PLACES, keepdim=True) * grad**3
        alpha = (grad**2 / below).where(below != 0, below)
        weight = (alpha * grad.relu()).sum(PLACES, keepdim=True)
        return _map((weight * act).sum(CHANNEL), self)


@method(kind=Kind.CAM, title="XGrad-CAM", cite="fu2020axiom", needs=NEEDS, family="cam")
class XGradCAM:
    """L = relu(Σ_k w_k A_k),  w_k = Σ_ij A_kij G_kij / Σ_ij A_kij    [Fu et al. 2020, eq. 8]

    at, relu as in Grad-CAM. Channels whose activation sums to zero get no weight.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        act, grad = await _maps(q, self.at)
        total = act.sum(PLACES, keepdim=True)
        weight = ((act * grad).sum(PLACES, keepdim=True) / total).where(total != 0, total)
        return _map((weight * act).sum(CHANNEL), self)


@method(kind=Kind.CAM, title="HiResCAM", cite="draelos2020hirescam", needs=NEEDS, family="cam")
class HiResCAM:
    """L = relu(Σ_k G_k ⊙ A_k)    [Draelos & Carin 2020, eq. 5]

    at, relu as in Grad-CAM.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        act, grad = await _maps(q, self.at)
        return _map((grad * act).sum(CHANNEL), self)


@method(kind=Kind.CAM, title="LayerCAM", cite="jiang2021layercam", needs=NEEDS, family="cam")
class LayerCAM:
    """L = relu(Σ_k relu(G_k) ⊙ A_k)    [Jiang et al. 2021, eq. 4–6]

    at, relu as in Grad-CAM.
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        act, grad = await _maps(q, self.at)
        return _map((grad.relu() * act).sum(CHANNEL), self)


async def _maps(q: Query, at: Any) -> tuple[Tensor, Tensor]:
    act, grad = await q.site(at)
    return with_places(act, at), grad


def _map(cam: Tensor, made_by: Any) -> Attribution:
    return attribution(cam.relu() if made_by.relu else cam, dims=(HEIGHT, WIDTH), at=made_by.at)
