"""The mean of random masks, weighted with what the model says of the picture seen through them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.games import fidelity, held_out
from pellucid.ops.patches import Patches
from pellucid.ops.press import press
from pellucid.ops.ridge import ridge

AT_ONCE = 1 << 22
"""Numbers of masks held at once while they are averaged."""


@method(
    kind=Kind.CONTRIBUTION,
    title="RISE",
    cite="petsiuk2018rise",
    needs=(Can.SCORE,),
    keeps={"linear", "implementation_invariance"},
    output="probability",
    family="perturbation",
)
class RISE:
    """a_p = Σ_k s(x ⊙ m_k) m_k(p) / (N p)    [Petsiuk et al. 2018, eq. 6]

    The masks m_k are grids of coins that show with chance p, enlarged bilinearly and shifted, every one by itself. The
    mean of the scores is taken away from a_p: it is the same for all places, and what remains has a sign, above zero
    where showing a place raises the score; extras["mean"] holds it.

    samples    masks, N
    grid       coins along each side of the picture
    share      p
    fill       what masked places show; `zero` is x ⊙ m in the units of the model's input, as in the paper
    estimator  `mean` as in the paper; `regression` fits the scores by how much of every cell of the grid was shown,
               which needs far fewer masks; its values are those of cells, and checks["r2"] says how good the fit is
    """

    samples: int = at_least(2, default=4000)
    grid: int = at_least(1, default=7)
    share: float = at_least(0.0, default=0.5, above=True, most=1.0)
    fill: Any = param(default="zero")
    estimator: str = one_of("mean", "regression", default="mean")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        if self.share == 1 or self.grid > min(q.x.shape[-2:]):
            raise ParameterError(
                f"rise.share = {self.share}, rise.grid = {self.grid} on {tuple(q.x.shape[-2:])}",
                "a share below 1, and no more coins than pixels along each side",
            )
        masks = Patches.drawn(q.x, q.baseline(self.fill), self.samples, self.grid, self.share, self.seed)
        scores: Tensor = (await q.score(masks, Stack())).detach().movedim(1, 2)  # [target, batch, samples]
        mean = scores.double().mean(2).to(scores)
        if self.estimator == "regression":
            return _regressed(masks, scores, mean)
        values, error = _averaged(masks, scores, self.share)
        return attribution(
            values,
            dims=(HEIGHT, WIDTH),
            std_error=error,
            extras={"mean": mean},
        )


def _averaged(masks: Patches, scores: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """mean_k (s_k − s̄) m_k / p and its standard error, [target, batch, height, width] each; masks a few at a time.

    As the s_k − s̄ add up to zero, it is the mean of (s_k − s̄) (m_k − p) / p too, and spreads as these do: the part of
    the mask that all have in common has no error.
    """
    off = scores.double() - scores.double().mean(2, keepdim=True)
    height, width = masks.x.shape[-2:]
    step, samples = max(1, AT_ONCE // (height * width)), masks.count
    first = off.new_zeros(*off.shape[:2], height * width)
    second = torch.zeros_like(first)
    for k in range(0, samples, step):
        m = masks.masks(k, min(k + step, samples)).flatten(1).to(first)
        first += off[..., k : k + step] @ m
        second += off[..., k : k + step].square() @ (m - share).square()
    mean = first / samples
    error = ((second / samples - mean.square()).clamp_min(0) / (samples - 1)).sqrt()
    shape = (*off.shape[:2], height, width)
    return (mean / share).view(shape).to(scores), (error / share).view(shape).to(scores)


def _regressed(masks: Patches, scores: Tensor, mean: Tensor) -> Attribution:
    """s ≈ c + Σ_cell β_cell · (share of the cell that mask k shows); every place shows the β of its cell."""
    grid, (height, width) = masks.coins.shape[-1], masks.x.shape[-2:]
    step = max(1, AT_ONCE // (height * width))
    parts = [masks.masks(k, min(k + step, masks.count)) for k in range(0, masks.count, step)]
    shown = torch.cat([F.adaptive_avg_pool2d(m[:, None], grid).flatten(1) for m in parts]).double().cpu()
    alone = torch.arange(masks.count)
    one = torch.ones(masks.count, dtype=torch.float64)
    fits = [ridge(shown, s.double().cpu(), one, group=alone) for s in scores.unbind(1)]
    down, across = torch.arange(height) * grid // height, torch.arange(width) * grid // width
    place = (down[:, None] * grid + across).to(scores.device)
    values = torch.stack([fit.coef for fit in fits], 1).to(scores)[..., place]
    error = torch.stack([fit.std_error for fit in fits], 1).to(scores)[..., place]
    return attribution(
        values,
        dims=(HEIGHT, WIDTH),
        std_error=error,
        checks=[
            fidelity([fit.r2 for fit in fits]),
            held_out([press(shown, s.double().cpu(), one) for s in scores.unbind(1)]),
        ],
        extras={"mean": mean},
    )
