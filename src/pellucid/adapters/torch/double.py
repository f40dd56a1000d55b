"""A model with all its numbers in double precision: whether it runs, and is the same model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.prepare import TOLERANCE, disagreement
from pellucid.core.ask import DOUBLE, Lane


def as_asked(x: Tensor, lane: Lane) -> Tensor:
    """Rows in the precision of the lane; token ids stay what they are."""
    return x.double() if lane.where.variant == DOUBLE and x.is_floating_point() else x


def undoubled(net: nn.Module, again: Callable[[], nn.Module], forward: Callable[..., Tensor], x: Tensor) -> str:
    """Why a model cannot be asked in double precision; "" where it can.

    net: the model as it is; again: makes its double; forward(net, x): scores of the rows x.
    """
    try:
        double = again()
        with torch.inference_mode():
            one, two = forward(net, x.clone()), forward(double, x.double() if x.is_floating_point() else x.clone())
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises, it cannot be asked; the reason is recorded
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}"
    if two.dtype is not torch.float64:
        return f"its scores stay {two.dtype}"
    gap = disagreement(two, one.double())
    return f"another answer, by {gap:.2g}" if gap > TOLERANCE.get(x.dtype, 1e-4) else ""
