"""Shapley values of regions from orders in which each arrives early, late and in between equally often."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.arrivals import added, arriving, stratified
from pellucid.ops.designs import Design
from pellucid.ops.enough import Until, Worth, reached
from pellucid.ops.games import Game, Played, efficiency


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
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out
    tolerance    None, or the largest standard error, relative to the largest value; orders are added until then
    until_top    None, or k; orders are added until the k players that count most, either way, are told from all others
    max_samples  … or until there are this many
    """

    samples: int = at_least(4, default=32)
    strata: int = at_least(2, default=4)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    tolerance: float | None = at_least(0.0, default=None, above=True)
    until_top: int | None = at_least(1, default=None)
    max_samples: int = at_least(4, default=4000)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game, until = Game.of(q, self.regions, self.fill), Until.of(self)
        played = await game.enough(q, self._draw, lambda drawn: drawn, self._mean, until)
        worths = [self._mean(one) for one in played]
        differences = [one.scores[:, -1] - one.scores[:, 0] for one in played]
        return game.attribution(worths, [efficiency(worths, differences), *reached(worths, until)], played=played)

    def _draw(self, players: int, samples: int, seed: int) -> Design:
        many = Until.of(self).whole(samples, min(self.strata, players))
        return arriving(stratified(players, many, seed, self.strata))

    def _mean(self, played: Played) -> Worth:
        return added(played, min(self.strata, played.design.shown.shape[1]))
