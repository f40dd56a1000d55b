"""How checks fail, and how numbers are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.errors import PellucidError

EXACT = {torch.float64: 1e-9, torch.float32: 1e-2}
"""Largest relative difference of two maps, by precision; in single precision rounding flips kinks."""


class NotConforming(PellucidError, AssertionError):
    """A method does not do what it promises."""


class NotApplicable(PellucidError):
    """A check says nothing about this method on this model."""


def ensure(holds: bool, got: str, wanted: str = "") -> None:
    """Raise NotConforming unless it holds."""
    if not holds:
        raise NotConforming(got, wanted)


def ensure_close(got: Tensor, wanted: Tensor, what: str, limit: float | None = None) -> None:
    """|got − wanted| ≤ limit · |wanted| in the Euclidean norm, on equal shapes; both finite."""
    ensure(got.shape == wanted.shape, f"{what}: shape {tuple(got.shape)}", f"{tuple(wanted.shape)}")
    ensure(bool(torch.isfinite(got).all()), f"{what}: values that are not finite")
    limit = EXACT.get(got.dtype, 1e-2) if limit is None else limit
    size = float(wanted.double().norm())
    gap = float((got.double() - wanted.double()).norm())
    ensure(gap <= limit * max(size, 1e-12), f"{what}: differs by {gap:.3g} of {size:.3g}", f"at most {limit:g} of it")


def ensure_equal(got: Tensor, wanted: Tensor, what: str) -> None:
    """The same bits."""
    ensure(got.shape == wanted.shape and bool(torch.equal(got, wanted)), f"{what}: not the same bits")
