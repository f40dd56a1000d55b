"""Regions at the resolution of a drawing: enlarged with smooth borders, outlined, filled."""

from __future__ import annotations

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.errors import ParameterError

Rgb = tuple[int, int, int]
_GREY = "#bebebe"
"""What R calls grey."""


def colour(name: str) -> Rgb:
    """Red, green and blue of a CSS name or `#rrggbb`; `grey` is the light one of R. Raises ParameterError."""
    try:
        red, green, blue = ImageColor.getrgb(_GREY if name in ("grey", "gray") else name)[:3]
    except (ValueError, AttributeError, TypeError) as error:
        raise ParameterError(f"colour {name!r}", "a name such as 'blue', or '#rrggbb'") from error
    return red, green, blue


def enlarged(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """A label map on a finer grid, int64 [height, width]; every place takes the region that weighs most around it.

    labels: int64 [height, width], from 0. On a grid that is not finer, places are picked.
    """
    if size[0] <= labels.shape[0] or size[1] <= labels.shape[1]:
        return F.interpolate(labels[None, None].double(), size, mode="nearest-exact")[0, 0].long()
    best, found = torch.zeros(size), torch.zeros(size, dtype=torch.int64)
    for number in torch.unique(labels).tolist():
        share = F.interpolate((labels == number).float()[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        more = share > best
        best, found = torch.where(more, share, best), torch.where(more, number, found)
    return found


def borders(labels: Tensor, thick: int = 1) -> Tensor:
    """bool [height, width]: where a place and one up to `thick` places to its right or below are of other regions."""
    out = torch.zeros(labels.shape, dtype=torch.bool)
    out[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    out[:-1] |= labels[1:] != labels[:-1]
    if thick == 1:
        return out
    padded = F.pad(out[None, None].float(), (thick // 2, (thick - 1) // 2, thick // 2, (thick - 1) // 2))
    return F.max_pool2d(padded, thick, 1)[0, 0].bool()


def filled(rgb: Tensor, where: Tensor, colour: Rgb, alpha: float) -> Tensor:
    """A picture uint8 [height, width, 3] with a colour of opacity alpha over some places, bool [height, width]."""
    below = rgb.double()
    over = below + alpha * (torch.tensor(colour, dtype=torch.float64) - below)
    return torch.where(where[..., None], over, below).round().clamp(0, 255).to(torch.uint8)
