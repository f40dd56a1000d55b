"""Grad-CAM++ with the derivatives averaged over noisy copies of the picture."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query, together
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.core.points import Around
from pellucid.ops.checks import with_places
from pellucid.ops.layers import CHANNEL, PLACES, each, fused
from pellucid.ops.powers import Powers


@method(
    kind=Kind.CAM,
    title="Smooth Grad-CAM++",
    cite="omeiza2019smooth",
    needs=(Can.GRADIENT, Can.SITES),
    family="cam",
)
class SmoothGradCAMPlusPlus:
    """L = relu(Σ_k w_k A_k),  w_k = Σ_ij α relu(E[G]),  α = E[G²] / (2 E[G²] + Σ_ij A · E[G³])    [Omeiza et al. 2019]

    G is the gradient at x + ε, ε ~ N(0, σ²); all three means are over the same draws. A is the activation at the
    clean x. The powers of G stand for the higher derivatives of exp(s), as in Grad-CAM++.

    samples  draws; those of SmoothGrad with the same samples, spread and seed, so that passes are shared
    spread   σ as a fraction of the picture's range, in pixels
    at, relu, seed as in Grad-CAM and SmoothGrad
    """

    at: Any = param(default="auto")
    samples: int = at_least(1, default=32)
    spread: float = at_least(0.0, default=0.15)
    relu: bool = param(default=True)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        noisy, layers = Around(q.x, q.std(self.spread), self.samples, self.seed), each(self.at)
        clean = [q.site(layer) for layer in layers]
        rough = [q.site(layer, noisy, Powers()) for layer in layers]
        answers = await together(*clean, *rough)
        maps: list[Any] = []
        for layer, (act, _), (_, means) in zip(layers, answers, answers[len(layers) :], strict=False):
            act = with_places(act, layer)
            first, second, third = means.unbind(2)
            below = 2 * second + act.sum(PLACES, keepdim=True) * third
            alpha = (second / below).where(below != 0, below)
            weight = (alpha * first.relu()).sum(PLACES, keepdim=True)
            maps.append((weight * act).sum(CHANNEL))
        return fused(maps, self.at, self.relu)
