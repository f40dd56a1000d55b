"""Shapley values of regions from all coalitions."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import method, param
from pellucid.ops.designs import everything
from pellucid.ops.games import Game, Worth, efficiency
from pellucid.ops.shapley_fit import shapley

MOST = 16
"""Players; 65,536 coalitions."""


@method(
    kind=Kind.CONTRIBUTION,
    title="Exact Shapley values",
    cite="shapley1953value",
    needs=(Can.SCORE,),
    keeps={"dummy", "linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class ExactShapley:
    """φ_i = Σ_{S∌i} |S|! (n − |S| − 1)! / n! · (v(S ∪ i) − v(S))    [Shapley 1953, eq. 13]

    All 2ⁿ coalitions are evaluated, so there is no error but rounding.

    regions  who plays, at most 16; `auto`: `cells(3, 3)` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out
    """

    regions: Any = param(default="auto")
    fill: Any = param(default="auto")

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill, pictures=("cells(3, 3)", "region_mean"))
        if max(game.players) > MOST:
            raise ParameterError(
                f"exact Shapley values of {max(game.players)} regions",
                f"at most {MOST}",
                "fewer regions, as regions='cells(4, 4)', or KernelSHAP",
            )
        played = await game.play(q, everything)
        worths = [Worth(shapley(one.scores)) for one in played]
        return game.attribution(worths, [efficiency(worths, [v.scores[:, -1] - v.scores[:, 0] for v in played])])
