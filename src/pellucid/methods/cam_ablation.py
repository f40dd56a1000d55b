"""Class activation maps weighted by how much the score falls without each channel. No gradient is used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Edit, Query, Where, together
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, param
from pellucid.core.points import Same
from pellucid.core.site import as_site
from pellucid.ops.checks import with_places
from pellucid.ops.layers import chosen, each, fused, numbers, strongest, weighted


@method(
    kind=Kind.CAM,
    title="Ablation-CAM",
    cite="desai2020ablation",
    needs=(Can.GRADIENT, Can.SITES, Can.EDIT),
    family="cam",
)
class AblationCAM:
    """L = relu(Σ_k w_k A_k),  w_k = (s − s_k) / |s|,  s_k the score with A_k = 0    [Desai & Ramaswamy 2020]

    The paper divides by s; of a negative score that would turn the map around, so its size is taken. Only what lies
    behind the layer runs again for every channel.

    at        the layer, or several; `auto` is the last one with height and width
    channels  how many, those that vary most over the places; None takes all, as the paper does. Which they were is in
              the result's `extras["channels"]`, of several layers in `extras["channels <layer>"]`
    relu      set negative values to zero
    """

    at: Any = param(default="auto")
    channels: int | None = at_least(1, default=None)
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        layers = each(self.at)
        score, *found = await together(q.score(), *(q.site(layer) for layer in layers))
        acts = [with_places(act, layer) for (act, _), layer in zip(found, layers, strict=True)]
        which = [strongest(act, self.channels) for act in acts]
        asks = [
            q.score(Same(q.x, k.shape[1]), Stack(), Where(edit=off(layer, k)))
            for layer, k in zip(layers, which, strict=True)
        ]
        whole, maps = score[..., None], list[Tensor]()
        for left, act, k in zip(await together(*asks), acts, which, strict=True):
            weight = (whole - left.movedim(1, 2)) / whole.abs()
            maps.append(weighted(weight.where(whole != 0, 0), chosen(act, k)))
        return fused(maps, self.at, self.relu, numbers(q, which, self.at, len(score)))


def off(layer: Any, which: Tensor) -> Edit:
    """The activation of a layer with one channel after the other at zero."""
    return Edit(as_site(layer), ("channels off", tuple(map(tuple, which.tolist()))), without(which))


def without(which: Tensor) -> Any:
    """The change of an activation that sets channel which[b, k] of the row with numbers b and k to zero."""

    def change(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
        out = act.clone()
        out[torch.arange(len(out), device=out.device), which[b, k]] = 0
        return out

    return change
