"""How much of the score's variance is due to a region, alone or with others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import HEIGHT, Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import Design, uniform
from pellucid.ops.games import Game, Played, Worth


@method(
    kind=Kind.SPREAD,
    title="Sobol attribution",
    cite=("fel2021look", "jansen1999analysis"),
    needs=(Can.SCORE,),
    keeps={"dummy", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class SobolAttribution:
    """T_i = E[(s(A) − s(A with i from B))²] / 2 V,  V the variance of s    [Fel et al. 2021, eq. 7; Jansen 1999]

    A and B are independent points of the cube: how far every region is faded in from the fill. Columns and words, and
    tokens that are taken out, are there or not. T_i is the part of the variance that would remain were only region i
    unknown: its own and all that it has a part in. It has no sign.

    samples  pairs (A, B); every pair costs a row for every region and two more. The standard error is that between at
             least eight scrambles; of fewer than 128 pairs it may be too small
    order    `total`, or `first`: S_i = 1 − E[(s(B) − s(A with i from B))²] / 2 V, what region i does alone
    regions  who plays; `auto`: `cells(8, 8)` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: the training mean of pictures, a table's background, a mask
    """

    samples: int = at_least(4, default=32)
    order: str = one_of("total", "first", default="total")
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill, pictures=("cells(8, 8)", "zero"))
        blends = HEIGHT in game.board.dims and game.board.stream is None
        played = await game.play(q, self._design if blends else self._there)
        worths = [self._indices(one) for one in played]
        return game.attribution(worths)

    def _design(self, players: int) -> Design:
        drawn = uniform(2 * players, self.samples, self.seed)
        a, b = drawn.shown.split(players, 1)
        mixed = torch.where(torch.eye(players).bool(), b[:, None], a[:, None])  # [samples, players, players]
        shown = torch.cat([a[:, None], b[:, None], mixed], 1)
        group = drawn.group.repeat_interleave(players + 2)
        return Design(shown=shown.flatten(0, 1), weight=torch.ones(len(group)).double(), group=group)

    def _there(self, players: int) -> Design:
        """The same for words and columns, of which nothing lies between there and not there: coins."""
        design = self._design(players)
        return replace(design, shown=design.shown < 0.5)

    def _indices(self, played: Played) -> Worth:
        """The indices, and the standard errors of the jackknife over independent scrambles."""
        players = played.design.shown.shape[1]
        s = played.scores.view(len(played.scores), -1, players + 2)
        group = played.design.group.view(-1, players + 2)[:, 0]
        drawn = group.unique()
        left = torch.stack([self._of(s[:, group != one]) for one in drawn])
        spread = (left - left.mean(0)).square().sum(0) * (len(drawn) - 1) / len(drawn)
        return Worth(self._of(s), spread.sqrt())

    def _of(self, s: Tensor) -> Tensor:
        """Indices [target, players] from the scores of A, B and the mixtures, [target, samples, 2 + players]."""
        variance = s[..., :2].flatten(1).var(1, correction=0)[:, None]
        from_ = s[..., :1] if self.order == "total" else s[..., 1:2]
        part = (s[..., 2:] - from_).square().mean(1) / (2 * variance)
        part = torch.where(variance > 0, part, 0.0)
        return part if self.order == "total" else torch.where(variance > 0, 1 - part, 0.0)
