"""Shapley values of regions by weighted least squares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.designs import Design, shapley_kernel
from pellucid.ops.games import Game, Played, Worth, efficiency
from pellucid.ops.ridge import ridge


@method(
    kind=Kind.CONTRIBUTION,
    title="Kernel SHAP",
    cite="lundberg2017unified",
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class KernelSHAP:
    """min over φ of Σ_S k(S) (v(∅) + Σ_{i∈S} φ_i − v(S))²,  Σ_i φ_i = v(N) − v(∅)    [Lundberg & Lee 2017, theorem 2]

    k(S) = (n − 1) / (C(n, |S|) |S| (n − |S|)); coalitions are drawn with chances ∝ k, each with its complement, and
    count alike. The sum is kept by writing φ = (v(N) − v(∅)) / n + ψ with Σ ψ = 0, so efficiency is exact whatever the
    number of samples. Nothing is made sparse. Where all 2ⁿ − 2 coalitions fit into the samples, all are used and the
    Shapley values are exact.

    samples  coalitions, an even number; none and all come on top
    regions  which pixels are one player; see `pellucid.regions`
    fill     what players that are away show, in pixel units
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="slic")
    fill: Any = param(default="region_mean")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, self._design)
        worths = [_solved(one) for one in played]
        differences = [one.scores[:, 1] - one.scores[:, 0] for one in played]
        return game.attribution(worths, [efficiency(worths, differences)])

    def _design(self, players: int) -> Design:
        return shapley_kernel(players, self.samples, self.seed).beside(shown=True).beside(shown=False)


def _solved(played: Played) -> Worth:
    """The values of a design whose first two coalitions are none and all."""
    design, v = played.design, played.scores
    z: Tensor = design.shown[2:].double()
    share, whole = z.mean(1), v[:, 1] - v[:, 0]
    if z.shape[1] == 1:
        return Worth(whole[:, None], torch.zeros_like(whole)[:, None])
    rest = v[:, 2:] - v[:, :1] - whole[:, None] * share
    fit = ridge(z - share[:, None], rest, design.weight[2:], group=design.group[2:], intercept=False)
    return Worth(fit.coef + whole[:, None] / z.shape[1], fit.std_error)
