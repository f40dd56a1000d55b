"""Shapley values of regions from players that arrive in random orders."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.arrivals import added, arriving
from pellucid.ops.designs import Design, orders
from pellucid.ops.enough import Until, Worth, reached
from pellucid.ops.games import Game, Played, efficiency


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
    fill        what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
                `drop`: nothing, the tokens of a vision transformer are taken out
    tolerance   None, or the largest standard error, relative to the largest value; orders are added until then
    until_top   None, or k; orders are added until the k players that count most, either way, are told from all others
    max_samples … or until there are this many
    """

    samples: int = at_least(4, default=20)
    antithetic: bool = param(default=True)
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

    @property
    def _together(self) -> int:
        return 2 if self.antithetic else 1

    def _draw(self, players: int, samples: int, seed: int) -> Design:
        return arriving(orders(players, Until.of(self).whole(samples, self._together), seed, self.antithetic))

    def _mean(self, played: Played) -> Worth:
        return added(played, self._together)
