"""Shapley values of regions by weighted least squares."""

from __future__ import annotations

from typing import Any

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import Design
from pellucid.ops.enough import Until, Worth, reached
from pellucid.ops.games import Game, Played, additivity, efficiency
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import shapley_fit, shapley_held_out
from pellucid.ops.smooth import MOST, smooth_shapley


@method(
    kind=Kind.CONTRIBUTION,
    title="Kernel SHAP",
    cite=("lundberg2017unified", "musco2025provably", "rasmussen2002bayesian"),
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class KernelSHAP:
    """min over φ of Σ_S k(S) (v(∅) + Σ_{i∈S} φ_i − v(S))²,  Σ_i φ_i = v(N) − v(∅)    [Lundberg & Lee 2017, theorem 2]

    k(S) = (n − 1) / (C(n, |S|) |S| (n − |S|)). Coalitions are drawn, each with its complement. The sum is kept by
    writing φ = (v(N) − v(∅)) / n + ψ with Σ ψ = 0, so efficiency is exact whatever the number of samples. Nothing is
    made sparse. Where all 2ⁿ − 2 coalitions fit into the samples, all are used and the Shapley values are exact.
    checks["held_out"], of least squares, tells how well sums of the values predict coalitions that they were not fitted
    to; it is no verdict, for a game need not add up.

    samples  coalitions, an even number; none and all come on top
    regions  who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill     what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
             `drop`: nothing, the tokens of a vision transformer are taken out
    design   `leverage` draws every size equally often without replacement [Musco & Witter 2025, §3]; `kernel` draws
             with chances ∝ k, and all count alike; `border` takes all coalitions of the smallest and largest sizes as
             far as the samples go, and draws from the others, as the `shap` package does; `auto` is `leverage`, and
             `kernel` where there may be several rounds
    estimator    `least_squares`, or `process`: the expected Shapley values of a Gaussian process through the scores, by
                 which coalitions tell of others that differ in few players [Rasmussen & Ghahramani 2002]. On photos it
                 has less of an error; where the game is linear, least squares are exact and it is not
    tolerance    None, or the largest standard error, relative to the largest value; samples are added until then
    until_top    None, or k; samples are added until the k players that count most, either way, are told from all others
    max_samples  … or until there are this many
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    design: str = one_of("auto", *KERNELS, default="auto")
    estimator: str = one_of("least_squares", "process", default="least_squares")
    tolerance: float | None = at_least(0.0, default=None, above=True)
    until_top: int | None = at_least(1, default=None)
    max_samples: int = at_least(4, default=64_000)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        until = Until.of(self)
        self._check(until)
        game = Game.of(q, self.regions, self.fill)
        played = await game.enough(q, self._draw, self._first, self._worth, until)
        worths = [self._worth(one) for one in played]
        differences = [one.scores[:, 1] - one.scores[:, 0] for one in played]
        adds = additivity(list(map(shapley_held_out, played))) if self.estimator == "least_squares" else None
        return game.attribution(worths, [efficiency(worths, differences), adds, *reached(worths, until)], played=played)

    def _check(self, until: Until) -> None:
        if until.rounds and self.design not in ("auto", "kernel"):
            name = "until_top" if self.tolerance is None else "tolerance"
            raise ParameterError(f"kernel_shap.{name} with design={self.design!r}", "design='kernel'")
        name, most = ("max_samples", self.max_samples) if until.rounds else ("samples", self.samples)
        if self.estimator == "process" and most > MOST:
            raise ParameterError(
                f"kernel_shap.{name} = {most} with estimator='process'", f"at most {MOST}", "estimator='least_squares'"
            )

    def _draw(self, players: int, samples: int, seed: int) -> Design:
        auto = "kernel" if Until.of(self).rounds else "leverage"
        return KERNELS[auto if self.design == "auto" else self.design](players, samples, seed)

    def _first(self, drawn: Design) -> Design:
        """None and all, and what was drawn."""
        return drawn.beside(shown=True).beside(shown=False)

    def _worth(self, played: Played) -> Worth:
        enumerated = bool((played.design.group < 0).all())
        if self.estimator == "least_squares" or enumerated:
            return Worth.of(shapley_fit(played))
        return smooth_shapley(played.design.shown, played.scores)
