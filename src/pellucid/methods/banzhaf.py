"""Banzhaf values of regions."""

from __future__ import annotations

from functools import partial
from typing import Any

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import DESIGNS, MOST, Design, everything
from pellucid.ops.games import Game, Worth, fidelity
from pellucid.ops.ridge import ridge


@method(
    kind=Kind.CONTRIBUTION,
    title="Banzhaf values",
    cite=("banzhaf1965weighted", "hammer1992approximations"),
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class Banzhaf:
    """β_i = E_S[v(S ∪ i) − v(S ∖ i)],  all coalitions S alike    [Banzhaf 1965]

    They are the coefficients of the linear function that is nearest to v over all coalitions [Hammer & Holzman 1992],
    so they are fitted by least squares, which needs far fewer samples than averages. Where all 2ⁿ coalitions fit into
    the samples, the values are exact. They do not add up to v(N) − v(∅). checks["r2"] is the part of the game that is
    linear.

    samples  coalitions; that of all comes on top, as in LIME, so that the two share their rows
    regions  who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask
    design   how coalitions are drawn, as in LIME
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    design: str = one_of(*DESIGNS, default="coin")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, self._design)
        fits = [ridge(p.design.shown, p.scores, p.design.weight, group=p.design.group) for p in played]
        worths = [Worth(fit.coef, fit.std_error) for fit in fits]
        return game.attribution(worths, [fidelity([fit.r2 for fit in fits])])

    def _design(self, players: int) -> Design:
        if players <= MOST and 2**players <= self.samples:
            return everything(players)
        draw = partial(DESIGNS[self.design], samples=self.samples, seed=self.seed)
        return draw(players).beside(shown=True, weight=0.0)
