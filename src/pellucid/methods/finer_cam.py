"""What tells a class from those that look like it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, together
from pellucid.core.errors import TargetError
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.core.target import Pick
from pellucid.ops.checks import with_places
from pellucid.ops.layers import CHANNEL, PLACES, each, fused


@method(
    kind=Kind.CAM,
    title="Finer-CAM",
    cite="zhang2025finer",
    needs=(Can.GRADIENT, Can.SITES),
    family="cam",
)
class FinerCAM:
    """L = relu(Σ_k α_k A_k),  α_k = mean_ij ∂(s_c − γ mean_d s_d)/∂A_kij    [Zhang et al. 2025]

    Grad-CAM of the class's lead over the n classes d most similar to it: the neighbours of c when the image's classes
    are sorted by score, for the top class those that follow. Ranks, and not differences of scores, give the same
    classes for logits and for probabilities.

    others    n; fewer where the model has fewer classes
    strength  γ: 0 is Grad-CAM, 1 compares on equal terms
    at, relu as in Grad-CAM
    Raises TargetError for targets that are no single class.
    """

    at: Any = param(default="auto")
    others: int = at_least(1, default=3)
    strength: float = at_least(0.0, default=0.6)
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        outputs: Tensor = (await q.outputs())[0]
        many = min(self.others, outputs.shape[1] - 1)
        if many == 0:
            raise TargetError("a model with a single output", "other classes to compare with", "Grad-CAM needs none")
        similar = [Neighbour(r, outputs) for r in range(many)]
        maps: list[Tensor] = []
        for layer in each(self.at):
            (act, mine), *theirs = await together(q.site(layer), *(q.site(layer, of=one) for one in similar))
            act = with_places(act, layer)
            lead = mine - self.strength / many * sum(grad for _, grad in theirs)
            maps.append((lead.mean(PLACES, keepdim=True) * act).sum(CHANNEL))
        return fused(maps, self.at, self.relu)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """Makes of a class the one whose rank in an image is next to it, next but one ...

    rank     0 for the nearest; of two that are as near, the one with the higher score comes first
    outputs  raw outputs of the clean rows, [batch, outputs]
    """

    rank: int
    outputs: Tensor

    def __call__(self, pick: Pick) -> Pick:
        if pick.index is None or pick.minus is not None:
            raise TargetError(f"Finer-CAM of {pick.target!r}", "a single class", "name a class, or leave it out")
        order = self.outputs.argsort(dim=1, descending=True, stable=True)
        ranks = order.argsort(dim=1)
        far = (ranks - ranks.gather(1, pick.index[:, None])).abs()
        nearest = (2 * far * len(far[0]) + ranks).argsort(dim=1, stable=True)  # the class itself comes first
        return replace(pick, index=nearest[:, 1 + self.rank])
