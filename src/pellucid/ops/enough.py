"""When samples are enough: the errors are small, or it is known who counts most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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


class Adaptive(Protocol):
    """A method that may add samples."""

    @property
    def samples(self) -> int: ...
    @property
    def max_samples(self) -> int: ...
    @property
    def tolerance(self) -> float | None: ...
    @property
    def until_top(self) -> int | None: ...
    @property
    def seed(self) -> int: ...


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

    @staticmethod
    def of(method: Adaptive) -> Until:
        """As a method's parameters say."""
        return Until(
            samples=method.samples,
            most=method.max_samples,
            tolerance=method.tolerance,
            seed=method.seed,
            top=method.until_top,
        )

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


def taken(samples: Sequence[int], targets: int) -> dict[str, Tensor]:
    """extras["samples"] of methods that adapt: how many every row took, [target, batch]."""
    return {"samples": torch.tensor([list(samples)] * targets)} if any(samples) else {}


def reached(worths: Sequence[Worth], until: Until) -> list[RowCheck]:
    """Whether what was asked for was reached. Of two rules the first that is met ends it: the other is no verdict."""
    small = None if until.tolerance is None else precision(worths, until.tolerance)
    known = None if until.top is None else strongest(worths, until.top)
    checks = [check for check in (small, known) if check is not None]
    met = any(bool(check.passed.all()) for check in checks)
    return [_moot(check) if met and not bool(check.passed.all()) else check for check in checks]


def _moot(check: RowCheck) -> RowCheck:
    return replace(check, passed=torch.ones_like(check.passed), judged=False)


def precision(worths: Sequence[Worth], tolerance: float) -> RowCheck:
    """Whether the error asked for was reached."""
    value = noise(worths)
    return RowCheck(
        name="precision",
        value=value,
        passed=value <= tolerance,
        limit=tolerance,
        says="largest standard error, relative to the largest value; more samples lower it",
    )


def strongest(worths: Sequence[Worth], top: int) -> RowCheck:
    """Whether it is known who counts most."""
    value = torch.stack([separation(one, top) for one in worths], 1)
    return RowCheck(
        name="top",
        value=value,
        passed=value >= 0,
        limit=0.0,
        says=f"by how much the {top} largest values are above all others, less 1.96 standard errors, relative to the "
        "largest; below zero it is not known which are the largest",
    )
