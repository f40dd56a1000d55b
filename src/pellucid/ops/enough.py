"""When samples are enough: the errors are small, or it is known who counts most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.core.ask import RowCheck
from pellucid.ops.ridge import Fit

SURE = 1.96
"""Standard errors by which a difference has to be above zero: those of a 95 % interval."""
GROW = 3
"""Times as many samples as there are, that are added at once to tell players apart whose values are nearly the same."""
GROUPS = 8
"""Draws, each of several orders, from which their spread can be told."""
ROUNDS = 4
"""Rounds after the first where errors are to be small; the second takes what is needed, the others what it missed."""
LOOKS = 12
"""The same where players are to be told apart: how far they are is known only when they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What the players of one picture are worth to every target, float64 [target, players]."""

    values: Tensor
    std_error: Tensor | None = None

    @staticmethod
    def of(fit: Fit) -> Worth:
        """Coefficients as worths."""
        return Worth(fit.coef, fit.std_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Samples are added until the first of two: errors are small, or the strongest players are known.

    samples    of the first round
    most       of all rounds together
    tolerance  largest standard error of a row, as part of its largest value; None for whatever it is
    top        how many players, the largest in magnitude, are to be told from all others; None for nobody
    seed       of the first round
    """

    samples: int
    most: int
    tolerance: float | None
    seed: int
    top: int | None = None

    def whole(self, samples: int, together: int) -> int:
        """As many samples as make whole draws of `together`, and enough of them where samples may be added."""
        return -(-max(samples, GROUPS * together) // together) * together if self.rounds else samples

    @property
    def rounds(self) -> int:
        """How often more is taken, at most."""
        return 0 if self.tolerance is None and self.top is None else ROUNDS if self.top is None else LOOKS

    def more(self, total: int, worths: Sequence[Worth]) -> int:
        """How many more, as far as the errors at hand can tell, which fall with the root of the samples."""
        times: list[float] = []
        if self.tolerance is not None:
            times.append((noise(worths) / self.tolerance).square().max().clamp_max(1e9).item() - 1)
        if self.top is not None:
            times.append(min(GROW, max(_times(one, self.top) for one in worths) - 1))
        if not times or min(times) <= 0:
            return 0
        return max(0, min(math.ceil(1.1 * min(times) * total), self.most - total))


def noise(worths: Sequence[Worth]) -> Tensor:
    """The largest standard error over the largest value, [target, batch]; 0 where values are known exactly."""
    zero = torch.zeros((), dtype=torch.float64)
    errors = [_errors(one).amax(1) for one in worths]
    sizes = [one.values.abs().amax(1) for one in worths]
    return torch.stack([torch.where(e == 0, zero, e / s) for e, s in zip(errors, sizes, strict=True)], 1)


def separation(one: Worth, top: int) -> Tensor:
    """How clearly the `top` strongest players are above all others, [target]: known to be where it is not below zero.

    min over i of the strongest and j of the others of |φ_i| − |φ_j| − z √(σ_i² + σ_j²), as part of the largest |φ|. All
    pairs are looked at, so that the errors of many players do not add up to a false order.
    """
    gap, width = _pairs(one, top)
    least = (gap - width).flatten(1).amin(1) if gap.numel() else gap.new_zeros(len(gap))
    largest = one.values.abs().amax(1)
    return torch.where(largest > 0, least / largest, least)


def _times(one: Worth, top: int) -> float:
    """How many times the samples have to be for the players to part, if the values stay; 1 where they do now."""
    gap, width = _pairs(one, top)
    if not gap.numel():
        return 1.0
    return float(torch.where(width > gap, (width / gap.clamp_min(1e-9 * width)).square(), 1.0).max())


def _pairs(one: Worth, top: int) -> tuple[Tensor, Tensor]:
    """By how much each of the strongest is above each of the others, and z standard errors of that, [target, …, …]."""
    size, error = one.values.abs(), SURE * _errors(one)
    order = size.argsort(dim=1, descending=True, stable=True)
    (s, e), (t, f) = ((size.gather(1, i), error.gather(1, i)) for i in (order[:, :top], order[:, top:]))
    return s[:, :, None] - t[:, None, :], torch.hypot(e[:, :, None], f[:, None, :])


def _errors(one: Worth) -> Tensor:
    return torch.zeros_like(one.values) if one.std_error is None else one.std_error


def reached(worths: Sequence[Worth], until: Until) -> list[RowCheck]:
    """Whether what was asked for was reached."""
    checks: list[RowCheck] = []
    if until.tolerance is not None:
        value = noise(worths)
        says = "largest standard error, relative to the largest value; more samples lower it"
        checks.append(_check("precision", value, value <= until.tolerance, until.tolerance, says))
    if until.top is not None:
        value = torch.stack([separation(one, until.top) for one in worths], 1)
        says = (
            f"by how much the {until.top} largest values are above all others, less 1.96 standard errors, relative to "
            "the largest; below zero it is not known which are the largest"
        )
        checks.append(_check("top", value, value >= 0, 0.0, says))
    stopped = any(bool(check.passed.all()) for check in checks)  # of two rules either will do: the other is no warning
    moot = [stopped and not bool(check.passed.all()) for check in checks]
    return [
        replace(check, passed=torch.ones_like(check.passed), judged=False) if known else check
        for check, known in zip(checks, moot, strict=True)
    ]


def _check(name: str, value: Tensor, passed: Tensor, limit: float, says: str) -> RowCheck:
    return RowCheck(name=name, value=value, passed=passed, limit=limit, says=says)
