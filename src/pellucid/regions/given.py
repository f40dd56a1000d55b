"""Regions that somebody drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.regions.spelled import Spelled


@dataclass(frozen=True, slots=True, eq=False)
class Labels(Spelled):
    """A label map that came from elsewhere: any whole numbers, with gaps, from any start.

    labels  [height, width] for all pictures or [batch, height, width], at the size of the model's view; a tensor, or
            anything that numpy makes an array of. Pixels with equal numbers are one region; regions keep the order of
            their numbers.
    """

    labels: Any

    @property
    def __name__(self) -> str:
        return f"labels{tuple(_tensor(self.labels).shape)}"

    def __call__(self, pixels: Tensor) -> Tensor:
        """Raises ParameterError for another size than that of the pictures, and for numbers that are not whole."""
        labels, size = _tensor(self.labels), tuple(pixels.shape[-2:])
        several = labels.ndim == 3
        if labels.ndim not in (2, 3) or tuple(labels.shape[-2:]) != size or (several and len(labels) != len(pixels)):
            raise ParameterError(
                f"a label map of shape {tuple(labels.shape)} for {len(pixels)} pictures of {size}",
                f"{size}, or {(len(pixels), *size)}: one number for every pixel of the model's view",
                "one for every picture serves only where all run at once, and not inside another method"
                if several
                else "",
            )
        return numbered(labels.expand(len(pixels), *size))


def numbered(labels: Tensor) -> Tensor:
    """Every picture's labels as 0 … n − 1 in the order of their numbers; [batch, height, width]."""
    return torch.stack([torch.unique(one, return_inverse=True)[1] for one in labels.cpu().long()])


def _tensor(labels: Any) -> Tensor:
    try:
        made = labels if isinstance(labels, Tensor) else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"a {type(labels).__name__} as a label map", "a tensor or an array") from error
    if made.is_complex() or (made.is_floating_point() and not bool((made == made.round()).all())):
        raise ParameterError(f"a label map of {made.dtype} with broken numbers", "whole numbers")
    return made.detach()
