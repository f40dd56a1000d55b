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
from pellucid.ops.layers import chosen, fused, strongest, weighted


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

    at        the layer; `auto` is the last one with height and width
    channels  how many, those that vary most over the places; None takes all, as the paper does. Which they were is in
              the result's `extras["channels"]`
    relu      set negative values to zero
    """

    at: Any = param(default="auto")
    channels: int | None = at_least(1, default=None)
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        (act, _), score = await together(q.site(self.at), q.score())
        which = strongest(with_places(act, self.at), self.channels)
        off = Edit(as_site(self.at), ("channels off", tuple(map(tuple, which.tolist()))), without(which))
        left: Tensor = await q.score(Same(q.x, which.shape[1]), Stack(), Where(edit=off))
        whole = score[..., None]
        weight = (whole - left.movedim(1, 2)) / whole.abs()
        cam = weighted(weight.where(whole != 0, 0), chosen(act, which))
        return fused([cam], self.at, self.relu, {"channels": which.expand(len(score), *which.shape)})


def without(which: Tensor) -> Any:
    """The change of an activation that sets channel which[b, k] of the row with numbers b and k to zero."""

    def change(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
        out = act.clone()
        out[torch.arange(len(out), device=out.device), which[b, k]] = 0
        return out

    return change
