"""Shapley values of regions from orders in which each arrives early, late and in between equally often."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.arrivals import added, arriving, stratified
from pellucid.ops.games import Game, Played, Worth, efficiency


@method(
    kind=Kind.CONTRIBUTION,
    title="Stratified sampling of Shapley values",
    cite=("castro2017improving", "vancampen2018new"),
    needs=(Can.SCORE,),
    keeps={"dummy", "linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class StratifiedShapley:
    """φ_i = mean over strata h of the mean over orders π with i arriving in h of v(before i, and i) − v(before i)

    What a region adds depends on how many are there already, so the number of those is stratified [Castro et al.
    2017], here in whole orders, as in structured sampling [van Campen et al. 2018]: in every `strata` orders each
    player arrives once in each part of the way from none to all. Every order adds up to v(N) − v(∅), so efficiency is
    exact. One order costs a row for every player. The standard error is that between sets of `strata` orders.

    samples  orders; fewer than two sets of `strata` have no standard error
    strata   parts of the way; an even number mixes the players best
    regions  who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask
    """

    samples: int = at_least(4, default=32)
    strata: int = at_least(2, default=4)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, lambda n: arriving(self._order(n)))
        worths = [self._mean(one) for one in played]
        differences = [one.scores[:, -1] - one.scores[:, 0] for one in played]
        return game.attribution(worths, [efficiency(worths, differences)])

    def _mean(self, played: Played) -> Worth:
        players = played.design.shown.shape[1]
        return added(played, self._order(players), min(self.strata, players))

    def _order(self, players: int) -> Tensor:
        return stratified(players, self.samples, self.seed, self.strata)
