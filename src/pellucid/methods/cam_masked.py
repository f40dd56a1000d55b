"""Class activation maps weighted by what the model says of the picture seen through each channel. No gradient is used.

One row of the model for every channel, image and draw: `channels` bounds their number. The pictures are built a few at
a time, so memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, together
from pellucid.core.errors import InputError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, param
from pellucid.ops.layers import chosen, fused, numbers, slopes, strongest, weighted
from pellucid.ops.shown import Shown

NEEDS = (Can.GRADIENT, Can.SITES)


@method(kind=Kind.CAM, title="Score-CAM", cite="wang2020score", needs=NEEDS, family="cam")
class ScoreCAM:
    """L = relu(Σ_k w_k A_k),  w = softmax_k(s(x ⊙ u(A_k)) − s(fill))    [Wang et al. 2020, algorithm 1]

    u enlarges the activation to the picture (bilinear, centres of pixels aligned) and then stretches it to [0, 1].
    The increase of confidence is taken on the number explained, by default the logit, as in the paper's algorithm;
    s(fill) is the same for all channels and cancels in the softmax, so it is never computed.

    at        the layer, or several; `auto` is the last one with height and width
    channels  how many, those that vary most over the places; None takes all, as the paper does. Which they were is in
              the result's `extras["channels"]`, of several layers in `extras["channels <layer>"]`
    fill      what the mask hides; `zero` is x ⊙ m in the units of the model's input, as in the paper
    relu      set negative values to zero
    """

    at: Any = param(default="auto")
    channels: int | None = at_least(1, default=None)
    fill: Any = param(default="zero")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        return await _explained(q, self, (1.0,))


@method(kind=Kind.CAM, title="SS-CAM", cite="wang2020sscam", needs=NEEDS, family="cam")
class SSCAM:
    """L = relu(Σ_k w_k A_k),  w = softmax_k(E[s(x ⊙ (u(A_k) + ε))]),  ε ~ N(0, σ²)    [Wang et al. 2020, SS-CAM type 1]

    Score-CAM with noise on the masks.

    samples   draws, the same for all channels; the paper takes 10 to 35
    std       σ, in units of the mask, which runs from 0 to 1; the paper takes 2, which buries the mask in noise
    channels  as in Score-CAM, but 64 by default: the cost is channels × samples
    at, fill, relu, seed as in Score-CAM and SmoothGrad
    """

    at: Any = param(default="auto")
    samples: int = at_least(1, default=10)
    std: float = at_least(0.0, default=2.0)
    channels: int | None = at_least(1, default=64)
    fill: Any = param(default="zero")
    relu: bool = param(default=True)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        return await _explained(q, self, (1.0,) * self.samples, self.std, self.seed)


@method(kind=Kind.CAM, title="IS-CAM", cite="naidu2020iscam", needs=NEEDS, family="cam")
class ISCAM:
    """L = relu(Σ_k w_k A_k),  w = softmax_k((1/N) Σ_j s(x ⊙ (j/N) u(A_k))),  j = 1 … N    [after Naidu et al. 2020]

    Score-CAM with the score integrated while the masked picture grows out of `fill`.

    steps     N
    channels  as in Score-CAM, but 64 by default: the cost is channels × steps
    at, fill, relu as in Score-CAM
    """

    at: Any = param(default="auto")
    steps: int = at_least(1, default=10)
    channels: int | None = at_least(1, default=64)
    fill: Any = param(default="zero")
    relu: bool = param(default=True)

    async def explain(self, q: Query) -> Attribution:
        return await _explained(q, self, tuple((j + 1) / self.steps for j in range(self.steps)))


async def _explained(
    q: Query, made: ScoreCAM | SSCAM | ISCAM, scales: tuple[float, ...], std: float = 0.0, seed: int = 0
) -> Attribution:
    if q.x.ndim != 4:
        raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
    found = await slopes(q, made.at)
    which = [strongest(act, made.channels) for act, _ in found]
    acts = [chosen(act, k) for (act, _), k in zip(found, which, strict=True)]
    fill = q.baseline(made.fill)
    scores: Sequence[Tensor] = await together(
        *(q.score(Shown(q.x, act, fill, scales, std, seed), Stack()) for act in acts)
    )
    means = [score.unflatten(1, (-1, len(scales))).mean(2).movedim(1, 2) for score in scores]  # [target, batch, n]
    maps = [weighted(mean.softmax(-1), act) for mean, act in zip(means, acts, strict=True)]
    return fused(maps, made.at, made.relu, numbers(q, which, made.at, len(found[0][1])))
