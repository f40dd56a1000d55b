"""A linear model of the score around the picture, in the presence of its regions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import DESIGNS
from pellucid.ops.games import Game, Played, Worth, fidelity
from pellucid.ops.ridge import Fit, ridge
from pellucid.ops.select import WAYS, chosen


@method(
    kind=Kind.CONTRIBUTION,
    cite=("ribeiro2016should", "achanta2012slic"),
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class LIME:
    """min over (c, β) of Σ_z π(z) (s(z) − c − z·β)² + ridge |β|²    [Ribeiro et al. 2016, eq. 1-2]

    z says which regions are shown; π(z) = √exp(−D² / width²), D = 1 − √(share of the regions that are shown), the
    cosine distance from the whole picture. Every region shows its β. extras: players (β), intercept, prediction (that
    of the linear model for the whole picture), regions. checks["r2"] is the weighted R² of the linear model.

    samples   pictures with hidden regions; the whole picture comes on top
    regions   which pixels are hidden together; see `pellucid.regions`
    fill      what a hidden region shows: `region_mean` is its mean colour
    width     of the kernel; smaller stays nearer to the whole picture
    ridge     penalty
    features  how many regions may have a weight, chosen for every target; None for all
    select    how they are chosen: `auto` goes forward up to six, beyond takes the highest weights
    p_remove  chance that a region is hidden
    design    how coalitions are drawn; `coin` is that of other programs. The others need fewer samples where regions
              work together, and up to twice as many where each only saturates
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="slic")
    fill: Any = param(default="region_mean")
    width: float = at_least(0.0, default=0.25, above=True)
    ridge: float = at_least(0.0, default=1.0)
    features: int | None = at_least(1, default=None)
    select: str = one_of(*WAYS, default="auto")
    p_remove: float = at_least(0.0, default=0.5, above=True, most=1.0)
    design: str = one_of(*DESIGNS, default="coin")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        if self.p_remove == 1:
            raise ParameterError("lime.p_remove = 1", "a chance below 1, so that something is shown")
        game = Game.of(q, self.regions, self.fill)
        draw = partial(DESIGNS[self.design], samples=self.samples, seed=self.seed, share=1 - self.p_remove)
        played = await game.play(q, lambda n: draw(n).beside(shown=True))
        fits = [self._fit(one) for one in played]
        worths = [Worth(fit.coef, fit.std_error) for fit in fits]
        inner = torch.stack([fit.intercept for fit in fits], 1).to(q.x)
        local = torch.stack([(fit.intercept + fit.coef.sum(1)) for fit in fits], 1).to(q.x)
        checks = [fidelity([fit.r2 for fit in fits])]
        return game.attribution(worths, checks, {"intercept": inner, "prediction": local})

    def _fit(self, played: Played) -> Fit:
        design, z = played.design, played.design.shown.double()
        near = design.weight * kernel(z, self.width)
        count = z.shape[1] if self.features is None else self.features
        if self.select == "none" or count >= z.shape[1]:
            return ridge(z, played.scores, near, self.ridge, design.group)
        return _sparse(
            [_on(chosen(self.select, z, y, near, count), z, y, near, self.ridge, design.group) for y in played.scores]
        )


def kernel(z: Tensor, width: float) -> Tensor:
    """√exp(−D² / width²), D the cosine distance between coalitions [rows, players] and all; [rows].."""
    distance = 1 - z.mean(1).sqrt()
    return torch.exp(-distance.square() / width**2).sqrt()


def _on(kept: Tensor, z: Tensor, y: Tensor, near: Tensor, strength: float, group: Tensor) -> Fit:
    """The model of one target with the kept features only; the others weigh nothing."""
    fit = ridge(z[:, kept], y[None], near, strength, group)
    coef, error = z.new_zeros(1, z.shape[1]), z.new_zeros(1, z.shape[1])
    coef[:, kept], error[:, kept] = fit.coef, fit.std_error
    return Fit(coef=coef, intercept=fit.intercept, r2=fit.r2, std_error=error)


def _sparse(fits: list[Fit]) -> Fit:
    names = ("coef", "intercept", "r2", "std_error")
    return Fit(**{name: torch.cat([getattr(fit, name) for fit in fits]) for name in names})
