"""How much the score depends on whether a region is shown, of whatever form the dependence is."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import DESIGNS
from pellucid.ops.games import Game, Played, Worth

PARTS = 10
"""Parts of the samples that are left out, one at a time, for the standard errors of independent draws."""


@method(
    kind=Kind.SPREAD,
    title="HSIC attribution",
    cite=("novello2022making", "gretton2005measuring"),
    needs=(Can.SCORE,),
    keeps={"implementation_invariance"},
    output="probability",
    family="perturbation",
)
class HSICAttribution:
    """H_i = tr(K_i C L C) / (m − 1)²,  C = 1 − 1/m    [Novello et al. 2022, eq. 6; Gretton et al. 2005, eq. 9]

    over m random coalitions z with scores s:  K_i = 1 where z_i is alike in both and 0 elsewhere,
    L = exp(−(s − s')² / 2 σ²), σ the median of the differences |s − s'|, so that the score's unit does not matter.
    The values have no sign.

    samples  coalitions
    regions  who plays; `auto`: `cells(7, 7)` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: the training mean of pictures, a table's background, a mask
    design   how coalitions are drawn
    """

    samples: int = at_least(4, default=500)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    design: str = one_of(*DESIGNS, default="coin")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill, pictures=("cells(7, 7)", "zero"))
        played = await game.play(q, partial(DESIGNS[self.design], samples=self.samples, seed=self.seed))
        worths = [_dependence(one) for one in played]
        return game.attribution(worths)


def _dependence(played: Played) -> Worth:
    """The values of all targets, and the standard errors of the jackknife over groups of draws."""
    group = played.design.group
    parts = group if int(group.max()) < 2 * PARTS else group % PARTS
    found = [_hsic(played.design.shown.double(), s, parts) for s in played.scores]
    return Worth(torch.stack([one for one, _ in found]), torch.stack([error for _, error in found]))


def _hsic(z: Tensor, s: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """One target: z [samples, players], s [samples]; parts: numbers of what is left out together."""
    apart = (s[:, None] - s).abs()
    sigma = apart[apart > 0].median() if bool((apart > 0).any()) else apart.new_ones(())
    alike = torch.exp(-apart.square() / (2 * sigma**2))
    left = torch.stack([_traces(z[parts != one], alike[parts != one][:, parts != one]) for one in parts.unique()])
    count = len(left)
    error = ((left - left.mean(0)).square().sum(0) * (count - 1) / count).sqrt()
    return _traces(z, alike), error


def _traces(z: Tensor, alike: Tensor) -> Tensor:
    """tr(K_i C L C) / (m − 1)²:  K_i = 1 − (z_i − z_i')², so C K_i C = 2 (C z_i)(C z_i)ᵀ; [players]."""
    z, alike = z - z.mean(0), alike - alike.mean()
    return 2 * ((alike @ z) * z).sum(0) / (len(z) - 1) ** 2
