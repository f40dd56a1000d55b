"""Integrated gradients that move only where the score moves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, attribution, together
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack, Tally
from pellucid.core.method import at_least, method, param
from pellucid.core.points import Along
from pellucid.ops.checks import completeness


@method(
    kind=Kind.CONTRIBUTION,
    title="IDGI",
    cite="yang2023idgi",
    keeps={"completeness", "dummy", "symmetry", "implementation_invariance"},
    family="path",
)
class IDGI:
    """a_i = Σ_k g_ki² / Σ_j g_kj² · (s(x_{k+1}) − s(x_k)),  g_k = ∂s/∂x (x_k)    [Yang et al. 2023, algorithm 1]

    "Important direction gradient integration": of every step x_k → x_{k+1} on the straight line only the part along the
    gradient changes the score to first order, so the change itself is handed out along that direction. The sum is
    s(x) − s(b) whatever the number of steps; a step whose gradient vanishes everywhere has nobody to hand its change
    to, which checks["completeness"] then shows.

    steps     steps on the line
    baseline  an input that carries no evidence, in pixel units
    """

    steps: int = at_least(1, default=32)
    baseline: Any = param(default="black")

    async def explain(self, q: Query) -> Attribution:
        t = tuple(k / self.steps for k in range(self.steps))
        points, steps = Along(q.baseline(self.baseline), q.x, t), _Steps()
        # The scores are asked first: of every block of points they arrive before the gradients that need them.
        scores, (earlier, share), top = await together(
            q.score(points, _Scores(steps)),
            q.grad(points, _Gradients(steps)),
            q.score(),
        )
        values = earlier + share * _over(top - scores[:, -1], share)
        return attribution(values, checks=[completeness(values, top - scores[:, 0])])


class _Steps:
    """What is known of the line so far: the scores up to the latest point."""

    scores: Tally


class _Scores:
    """The fold of the scores: all of them, [target, points, batch], for the gradients to see."""

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps

    def tally(self, count: int, batch: int) -> Tally:
        self.steps.scores = Stack().tally(count, batch)
        return self.steps.scores


class _Gradients:
    """The fold of the gradients: Σ_{k < n − 1} h_k (s_{k+1} − s_k), and h_{n − 1}, with h = g² / Σ g²."""

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps

    def tally(self, count: int, batch: int) -> Tally:
        return _Handed(self.steps, batch)


class _Handed(Tally):
    def __init__(self, steps: _Steps, batch: int) -> None:
        self.steps, self.batch = steps, batch
        self.total: Tensor | None = None
        self.last: Tensor

    def add(self, values: Tensor, k0: int, b0: int, b1: int) -> None:
        h = _shares(values)  # [target, points, rows, ...]
        if self.total is None:
            shape = (h.shape[0], self.batch, *h.shape[3:])
            self.total, self.last = h.new_zeros(shape), h.new_zeros(shape)
        k1 = k0 + h.shape[1]
        known: Tensor = self.steps.scores.result()[:, max(k0 - 1, 0) : k1, b0:b1]
        rise = known.diff(dim=1)
        h_before = torch.cat([self.last[:, None, b0:b1], h], 1)[:, 0 if k0 else 1 : -1]
        self.total[:, b0:b1] += (h_before * _over(rise, h_before)).sum(1)
        self.last[:, b0:b1] = h[:, -1]

    def result(self) -> tuple[Tensor, Tensor]:
        if self.total is None:
            raise RuntimeError("a fold without any answer")
        return self.total, self.last


def _shares(g: Tensor) -> Tensor:
    """g² / Σ g², over everything behind [target, points, rows]; zero where all of g is."""
    scaled = g / _over(g.abs().flatten(3).amax(3).clamp_min(torch.finfo(g.dtype).tiny), g)  # squares do not underflow
    square = scaled**2
    return square / _over(square.flatten(3).sum(3).clamp_min(torch.finfo(g.dtype).tiny), g)


def _over(numbers: Tensor, values: Tensor) -> Tensor:
    """Numbers per row, broadcast over what is behind the rows."""
    return numbers.view(*numbers.shape, *(1,) * (values.ndim - numbers.ndim))
