"""What is lost when one region is taken away."""

from __future__ import annotations

from typing import Any

import torch

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import method, param
from pellucid.ops.designs import Design
from pellucid.ops.games import Game, Worth


@method(
    kind=Kind.CONTRIBUTION,
    cite="zeiler2014visualizing",
    needs=(Can.SCORE,),
    keeps={"dummy", "linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class FeatureAblation:
    """a_i = v(N) − v(N ∖ i)

    Every region is hidden once, alone: one row each. What several regions only do together, or each can do instead of
    another, is not seen.

    regions  who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out
    """

    regions: Any = param(default="auto")
    fill: Any = param(default="auto")

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, _left_out)
        return game.attribution([Worth(one.scores[:, :1] - one.scores[:, 1:]) for one in played])


def _left_out(players: int) -> Design:
    one = torch.ones(players, dtype=torch.float64)
    return Design(shown=~torch.eye(players).bool(), weight=one, group=-one.long()).beside(shown=True)
