"""Bringing maps to another size."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "nearest"]


def resize(maps: Tensor, size: tuple[int, int], how: Interpolation = "bilinear") -> Tensor:
    """Maps [..., height, width] at another size; bilinear with pixel centres aligned (align_corners=False)."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    big = (
        F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
        if how == "bilinear"
        else F.interpolate(flat, size=size, mode="nearest-exact")
    )
    return big.reshape(*maps.shape[:-2], *size)
