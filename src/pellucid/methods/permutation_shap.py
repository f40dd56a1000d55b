"""Shapley values of regions from players that arrive in random orders."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.arrivals import added, arriving
from pellucid.ops.designs import Design, orders
from pellucid.ops.games import Game, Played, Worth, efficiency


@method(
    kind=Kind.CONTRIBUTION,
    title="Permutation SHAP",
    cite=("castro2009polynomial", "mitchell2022sampling"),
    needs=(Can.SCORE,),
    keeps={"dummy", "linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class PermutationSHAP:
    """φ_i = mean over orders π of v(those before i, and i) − v(those before i)    [Castro et al. 2009, eq. 3]

    Every order adds up to v(N) − v(∅), so efficiency is exact. One order costs a row for every player.

    samples     orders
    antithetic  every order is followed by its reverse; halves the independent draws, and cancels what is even in the
                game [Mitchell et al. 2022, §4.1]
    regions     who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill        what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask
    """

    samples: int = at_least(4, default=20)
    antithetic: bool = param(default=True)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, self._design)
        worths = [self._mean(one) for one in played]
        differences = [one.scores[:, -1] - one.scores[:, 0] for one in played]
        return game.attribution(worths, [efficiency(worths, differences)])

    def _places(self, players: int) -> Tensor:
        return orders(players, self.samples, self.seed, self.antithetic)

    def _design(self, players: int) -> Design:
        return arriving(self._places(players))

    def _mean(self, played: Played) -> Worth:
        return added(played, self._places(played.design.shown.shape[1]), 2 if self.antithetic else 1)
