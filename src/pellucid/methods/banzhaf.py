"""Banzhaf values of regions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import DESIGNS, MOST, Design, everything
from pellucid.ops.enough import Until, Worth, reached
from pellucid.ops.games import Game, Played, fidelity, held_out
from pellucid.ops.press import once, press
from pellucid.ops.ridge import Fit, ridge


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
    linear, and checks["held_out"] that of coalitions each predicted from all others.

    samples  coalitions; that of all comes on top, as in LIME, so that the two share their rows
    regions  who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out
    design   how coalitions are drawn, as in LIME
    tolerance    None, or the largest standard error, relative to the largest value; samples are added until then
    until_top    None, or k; samples are added until the k players that count most, either way, are told from all others
    max_samples  … or until there are this many
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    design: str = one_of(*DESIGNS, default="hadamard")
    tolerance: float | None = at_least(0.0, default=None, above=True)
    until_top: int | None = at_least(1, default=None)
    max_samples: int = at_least(4, default=64_000)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        until = Until.of(self)
        played = await game.enough(q, self._draw, self._first, _worth, until)
        fits = [_fit(one) for one in played]
        worths = [Worth.of(fit) for fit in fits]
        return game.attribution(
            worths,
            [fidelity([fit.r2 for fit in fits]), held_out([_unseen(one) for one in played]), *reached(worths, until)],
            played=played,
        )

    def _draw(self, players: int, samples: int, seed: int) -> Design:
        whole = players <= MOST and 2**players <= self.samples
        return everything(players) if whole else DESIGNS[self.design](players, samples, seed)

    def _first(self, drawn: Design) -> Design:
        """What was drawn, after the coalition of all, which does not count."""
        return drawn if int(drawn.group[0]) < 0 else drawn.beside(shown=True, weight=0.0)


def _fit(played: Played) -> Fit:
    design = played.design
    return ridge(design.shown, played.scores, design.weight, group=design.group)


def _unseen(played: Played) -> Tensor:
    design, scores = once(played.design, played.scores)
    return press(design.shown, scores, design.weight)


def _worth(played: Played) -> Worth:
    return Worth.of(_fit(played))
