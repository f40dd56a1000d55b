"""The linear model of LIME: features chosen, weights fitted, for every target; in the ways of Python and of R."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.ops.glmnet import deviation, glmnet
from pellucid.ops.press import press, refitted
from pellucid.ops.ridge import Fit, fits, ridge
from pellucid.ops.select import chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """How a linear model is fitted to scores.

    strength  of the penalty; 1 is that of Python's and of R's lime
    penalty   `ridge`, on the squares of the weights as they are; `glmnet`, λ = 2 strength / rows on features and scores
              of unit variance
    features  how many may have a weight, chosen for every target; None for all
    select    how they are chosen, see `pellucid.ops.select`
    """

    strength: float
    penalty: str
    features: int | None
    select: str

    def fit(self, z: Tensor, scores: Tensor, near: Tensor, group: Tensor) -> Fit:
        """z: [rows, feature]; scores: [target, rows]; near: weights [rows]; group: rows drawn together, as in `ridge`.

        One factorisation serves all targets where all features have a weight.
        """
        count = z.shape[1] if self.features is None else self.features
        if self.select == "none" or count >= z.shape[1]:
            return self._model(z, scores, near, group)
        kept = [chosen(self.select, z, y, near, count, self.penalty == "glmnet") for y in scores]
        each = [self._model(z[:, k], y[None], near, group) for k, y in zip(kept, scores, strict=True)]
        return fits([among(z.shape[1], k, fit) for k, fit in zip(kept, each, strict=True)])

    def held_out(self, z: Tensor, scores: Tensor, near: Tensor) -> Tensor:
        """The R² of rows that the model was not fitted to, [target]; arguments as in `fit`.

        Each row is left out by itself, in closed form; where features are chosen, a fifth of the rows at a time, and
        they are chosen again.
        """
        z, scores, near = z.double(), scores.double(), near.double()
        if self.features is None or self.select == "none" or self.features >= z.shape[1]:
            return self._without(z, scores, near)
        alone = torch.full((len(z),), -1)

        def without(kept: Tensor) -> Fit:
            return self.fit(z[kept], scores[:, kept], near[kept], alone[kept])

        return refitted(without, z, scores, near)

    def _without(self, z: Tensor, scores: Tensor, near: Tensor) -> Tensor:
        if self.penalty == "ridge":
            return press(z, scores, near, self.strength)
        w = near / near.sum()
        size, height = deviation(z.mT, w), deviation(scores, w)
        strength = 2 * self.strength / len(z)
        return torch.cat(
            [press(z / size, one[None], w, float(strength / s)) for one, s in zip(scores, height, strict=True)]
        )

    def _model(self, z: Tensor, y: Tensor, near: Tensor, group: Tensor) -> Fit:
        if self.penalty == "glmnet":
            return glmnet(z, y, near, 2 * self.strength / len(z), group)
        return ridge(z, y, near, self.strength, group)


def among(features: int, kept: Tensor, fit: Fit) -> Fit:
    """A model of some features, by their numbers, as one of all; the others weigh nothing."""
    coef, error = (one.new_zeros(len(one), features) for one in (fit.coef, fit.std_error))
    coef[:, kept], error[:, kept] = fit.coef, fit.std_error
    return Fit(coef=coef, intercept=fit.intercept, r2=fit.r2, std_error=error)
