"""A linear model of the score around the picture, in the presence of its regions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.designs import BY_COUNT, DESIGNS, Design
from pellucid.ops.enough import Until, Worth, reached
from pellucid.ops.games import Game, Played, fidelity, held_out
from pellucid.ops.press import once
from pellucid.ops.ridge import Fit
from pellucid.ops.select import WAYS
from pellucid.ops.surrogates import Surrogate

DRAWN = {**DESIGNS, **BY_COUNT}


@method(
    kind=Kind.CONTRIBUTION,
    cite=("ribeiro2016should", "achanta2012slic", "allen1974relationship"),
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class LIME:
    """min over (c, β) of Σ_z π(z) (s(z) − c − z·β)² + ridge |β|²    [Ribeiro et al. 2016, eq. 1-2]

    z says which regions are shown; π(z) = √exp(−D² / width²), D = 1 − √(share of the regions that are shown), the
    cosine distance from the whole picture. Every region shows its β. extras: players (β), intercept, prediction (that
    of the linear model for the whole picture), regions. checks["r2"] is the weighted R² of the linear model, and
    checks["held_out"] that of coalitions each predicted from all others, by the hat matrix [Allen 1974].

    That is the `lime` of Python, with design="coin". The one of R, for pictures, is design="coin", kernel="cosine",
    penalty="glmnet": π(z) = 1 − D, and λ = 2 ridge / (samples + 1) on features and scores of unit variance; see
    `pellucid.ops.glmnet`. For texts Python's is regions="vocabulary", design="by_hidden" (its width 25 is that of
    distances in per cent), and R's is regions="vocabulary", design="by_shown", kernel="cosine", penalty="glmnet".

    samples   pictures with hidden regions; the whole picture comes on top
    regions   who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill      what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
              `drop`: nothing, the tokens of a vision transformer are taken out
    kernel    how a sample's weight comes from its distance: `exponential`, as in Python's lime, or `cosine`, as in R's
    width     of the exponential kernel; smaller stays nearer to the whole picture
    ridge     strength of the penalty; 1 is that of Python's and of R's lime
    penalty   what it is a penalty on: `ridge`, the squares of the weights as they are, or `glmnet`, see above
    features  how many regions may have a weight, chosen for every target; None for all
    select    how they are chosen: `auto` selects forward up to six, beyond takes the highest weights
    p_remove  chance that a region is hidden
    tolerance    None, or the largest standard error, relative to the largest value; samples are added until then
    until_top    None, or k; samples are added until the k players that count most, either way, are told from all others
    max_samples  … or until there are this many
    design    how coalitions are drawn; `coin` is that of other programs for pictures, `by_hidden` that of Python's lime
              for texts, `by_shown` that of R's. `paired`, `sobol` and `hadamard` need fewer samples than coins where
              regions work together, on photos about half (`hadamard`), and up to twice as many where each only
              saturates; `auto` is `hadamard`, and `coin` where more or less than half of the regions are to be hidden
    """

    samples: int = at_least(4, default=1000)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    kernel: str = one_of("exponential", "cosine", default="exponential")
    width: float = at_least(0.0, default=0.25, above=True)
    ridge: float = at_least(0.0, default=1.0)
    penalty: str = one_of("ridge", "glmnet", default="ridge")
    features: int | None = at_least(1, default=None)
    select: str = one_of(*WAYS, default="auto")
    p_remove: float = at_least(0.0, default=0.5, above=True, most=1.0)
    design: str = one_of("auto", *DRAWN, default="auto")
    tolerance: float | None = at_least(0.0, default=None, above=True)
    until_top: int | None = at_least(1, default=None)
    max_samples: int = at_least(4, default=64_000)
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        if self.p_remove == 1:
            raise ParameterError("lime.p_remove = 1", "a chance below 1, so that something is shown")
        game = Game.of(q, self.regions, self.fill)
        until = Until.of(self)
        played = await game.enough(q, self._draw, self._first, self._worth, until)
        fits = [self._fit(one) for one in played]
        worths = [Worth.of(fit) for fit in fits]
        inner = torch.stack([fit.intercept for fit in fits], 1).to(q.x)
        local = torch.stack([(fit.intercept + fit.coef.sum(1)) for fit in fits], 1).to(q.x)
        checks = [
            fidelity([fit.r2 for fit in fits]),
            held_out([self._unseen(one) for one in played]),
            *reached(worths, until),
        ]
        return game.attribution(worths, checks, {"intercept": inner, "prediction": local}, played)

    def _draw(self, players: int, samples: int, seed: int) -> Design:
        auto = "hadamard" if self.p_remove == 0.5 else "coin"
        return DRAWN[auto if self.design == "auto" else self.design](players, samples, seed, 1 - self.p_remove)

    def _first(self, drawn: Design) -> Design:
        """The whole row, and what was drawn."""
        return drawn.beside(shown=True)

    def _worth(self, played: Played) -> Worth:
        return Worth.of(self._fit(played))

    def _fit(self, played: Played) -> Fit:
        design, z = played.design, played.design.shown.double()
        return self._surrogate.fit(z, played.scores, self._near(design), design.group)

    def _unseen(self, played: Played) -> Tensor:
        design, scores = once(played.design, played.scores)
        return self._surrogate.held_out(design.shown.double(), scores, self._near(design))

    @property
    def _surrogate(self) -> Surrogate:
        return Surrogate(strength=self.ridge, penalty=self.penalty, features=self.features, select=self.select)

    def _near(self, design: Design) -> Tensor:
        z = design.shown.double()
        return design.weight * (kernel(z, self.width) if self.kernel == "exponential" else similarity(z))


def similarity(z: Tensor) -> Tensor:
    """1 − D, the cosine similarity of coalitions [rows, players] and all; 0 for that of nobody; [rows]."""
    return z.mean(1).sqrt()


def kernel(z: Tensor, width: float) -> Tensor:
    """√exp(−D² / width²), D the cosine distance between coalitions [rows, players] and all; [rows]."""
    return torch.exp(-(1 - similarity(z)).square() / width**2).sqrt()
