"""Grad-CAM with the second-order term of a Shapley value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, Where, together
from pellucid.core.explanation import Kind
from pellucid.core.fold import Weighted
from pellucid.core.method import method, param
from pellucid.core.points import Along
from pellucid.core.site import as_site
from pellucid.ops.layers import CHANNEL, PLACES, each, fused, slopes


@method(
    kind=Kind.CAM,
    title="Shapley-CAM",
    cite="cai2025shapley",
    needs=(Can.GRADIENT, Can.SITES, Can.EDIT),
    family="cam",
)
class ShapleyCAM:
    """L = relu(Σ_k w_k A_k),  w_k = mean_ij (G − ½ H·A)_kij,  H = ∂²s/∂A²    [Cai 2025]

    The product with the Hessian is a central difference of gradients along the activation itself,
    H·A ≈ (G(A + hA) − G(A − hA)) / 2h with h = ∛ε for the machine's ε, so that it costs two rows behind the layer and
    no second derivative; the error is of the order of h². Where s is piecewise linear behind the layer, H = 0 and the
    map is Grad-CAM's. The paper also changes the number explained; that is the call's `output`.

    at, relu as in Grad-CAM
    """

    at: Any = param(default="auto")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        found, layers = await slopes(q, self.at), each(self.at)
        curved: tuple[Tensor, ...] = await together(
            *(along(q, layer, act) for layer, (act, _) in zip(layers, found, strict=True))
        )
        maps = [
            ((g - hessian / 2).mean(PLACES, keepdim=True) * a).sum(CHANNEL)
            for (a, g), hessian in zip(found, curved, strict=True)
        ]
        return fused(maps, self.at, self.relu)


def along(q: Query, layer: Any, act: Tensor) -> Any:
    """The question for H·A at a layer: [target, batch, channel, height, width]."""
    h = torch.finfo(act.dtype).eps ** (1 / 3)
    ends = Along(act * (1 - h), act * (1 + h), (0.0, 1.0))
    return q.grad(ends, Weighted((-0.5 / h, 0.5 / h)), where=Where(into=as_site(layer)))
