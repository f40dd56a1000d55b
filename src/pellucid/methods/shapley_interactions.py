"""What pairs of regions do together, beside what each does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import Design, everything
from pellucid.ops.games import Game, Worth, efficiency, fidelity, held_out
from pellucid.ops.ridge import Fit
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import interactions, pairs, shapley, shapley_fit, shapley_held_out, shared_pairs

MOST = 16
"""Players whose coalitions are all evaluated; 65,536."""


@method(
    kind=Kind.CONTRIBUTION,
    title="Shapley interactions of pairs",
    cite=("tsai2023faith", "grabisch1999axiomatic", "bordt2023from"),
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class ShapleyInteractions:
    """v(S) ≈ v(∅) + Σ_{i∈S} e_i + Σ_{ij⊆S} e_ij,  exact for S = N

    A pair's e_ij is positive where two regions do more together than the sum of what they do, and negative where one
    can stand for the other. extras["interactions"], [player, player], holds e_ij, and e_i in its diagonal; they add up
    to v(N) − v(∅). The map shows the total of every region, e_i + ½ Σ_j e_ij, which is its Shapley value (up to the
    error of sampling), or its own part, e_i.

    samples  coalitions; none and all come on top. All, where they fit
    index    `faith`: the e that fit best by the Shapley kernel [Faith-Shap; Tsai et al. 2023, eq. 16], sampled as in
             Kernel SHAP, with standard errors, and checks["r2"] for the part of the game that singles and pairs
             explain; `k_sii`: e_ij is the mean joint effect over all coalitions of others [Grabisch & Roubens 1999,
             eq. 2], e_i = φ_i − ½ Σ_j e_ij [Bordt & von Luxburg 2023], from all coalitions, of at most 16 players
    design   how coalitions are drawn, as in Kernel SHAP
    show     `total` or `own`
    regions  who plays; `auto`: sixteen superpixels of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out

    Raises ParameterError for samples that do not determine all pairs, and for too many players.
    """

    samples: int = at_least(16, default=2000)
    index: str = one_of("faith", "k_sii", default="faith")
    design: str = one_of(*KERNELS, default="leverage")
    show: str = one_of("total", "own", default="total")
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill, pictures=("slic(n=16)", "region_mean"))
        faith = self.index == "faith"
        if not faith and max(game.players) > MOST:
            raise ParameterError(
                f"index='k_sii' for {max(game.players)} players", f"at most {MOST}", "fewer regions, or index='faith'"
            )
        played = await game.play(q, self._design if faith else everything)
        fits = [shapley_fit(one, shared_pairs if self.show == "total" else pairs) for one in played] if faith else []
        effects = [self._of(fit) for fit in fits] or [self._enumerated(one.scores) for one in played]
        whole = [one.scores[:, 1 if faith else -1] - one.scores[:, 0] for one in played]
        every = [Worth(torch.cat([one.own, one.pairs], 1)) for one in effects]
        checks = [efficiency(every, whole)]
        if faith:
            checks += [fidelity([fit.r2 for fit in fits]), held_out([shapley_held_out(one, pairs) for one in played])]
        extras = {"interactions": game.squares([_square(one.pairs, one.own) for one in effects])}
        if faith:
            extras["interactions_std_error"] = game.squares([_square(one.error) for one in effects])
        return game.attribution([one.shown for one in effects], checks, extras)

    def _design(self, players: int) -> Design:
        drawn = KERNELS[self.design](players, self.samples, self.seed)
        two = players * (players - 1) // 2
        joint = shared_pairs(drawn.shown.double())[:, players:]
        if len(joint) < 2 * two or int(torch.linalg.matrix_rank(joint)) < two:
            raise ParameterError(
                f"{self.samples} samples for the {two} pairs of {players} players",
                f"at least {2 * two} different ones; {4 * two} serve better",
                "more samples, or fewer regions",
            )
        return drawn.beside(shown=True).beside(shown=False)

    def _of(self, fit: Fit) -> _Effects:
        players = (math.isqrt(8 * fit.coef.shape[1] + 1) - 1) // 2
        first, two = fit.coef.split([players, fit.coef.shape[1] - players], 1)
        error, two_error = fit.std_error.split([players, two.shape[1]], 1)
        own = first - _square(two).sum(2) / 2 if self.show == "total" else first
        return _Effects(Worth(first, error), own, two, two_error)

    def _enumerated(self, v: Tensor) -> _Effects:
        phi, two = shapley(v), interactions(v)
        own = phi - _square(two).sum(2) / 2
        return _Effects(Worth(phi if self.show == "total" else own), own, two, torch.zeros_like(two))


@dataclass(frozen=True, slots=True, eq=False)
class _Effects:
    """What one row's players and pairs do, [target, player] and [target, pair]."""

    shown: Worth
    own: Tensor
    pairs: Tensor
    error: Tensor


def _square(two: Tensor, own: Tensor | None = None) -> Tensor:
    """Numbers of pairs, [target, pair], as symmetric matrices [target, player, player]."""
    players = (math.isqrt(8 * two.shape[1] + 1) + 1) // 2 if own is None else own.shape[1]
    i, j = torch.triu_indices(players, players, 1)
    made = two.new_zeros(len(two), players, players)
    made[:, i, j] = made[:, j, i] = two
    return made if own is None else made + torch.diag_embed(own)
