"""Reference inputs and noise levels, said in pixel units (0 black, 1 white) and meant in the units of the rows.

`black` 0 · `white` 1 · `gray` 0.5 · a number: that grey level · `zero`: zero in the units of the rows, the training
mean where the model normalises · `mean`: the mean colour of the picture · `blur`: the picture under a Gaussian blur
of a tenth of its size · `noise`: uniform noise (seed 0) · a colour, one number for every channel · a tensor in pixel
units, [channel, height, width] or [batch, channel, height, width] or anything that broadcasts · another picture (a
photo or its file), seen as the model sees photos · a function of the pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pellucid import images
from pellucid.core.ask import BaselineSpec, Pixels
from pellucid.core.errors import ParameterError, nearest
from pellucid.core.points import generator

LEVELS = {"black": 0.0, "white": 1.0, "gray": 0.5}
NAMES = (*LEVELS, "zero", "mean", "blur", "noise")


class References:
    """The reference inputs of one batch, each made once."""

    def __init__(self, x: Tensor, pixels: Pixels) -> None:
        self.x, self.pixels = x, pixels
        self._made: dict[Any, tuple[Any, Tensor]] = {}

    def baseline(self, spec: BaselineSpec) -> Tensor:
        """[batch, ...] in the units of x. Raises ParameterError for an unknown name or a shape that cannot fit."""
        key = spec if isinstance(spec, (str, float, int)) else id(spec)
        if key not in self._made:
            made = reference(spec, self.x, self.pixels)
            if not bool(made.isfinite().all()):
                raise ParameterError("a baseline with NaN or infinity", "finite numbers, in pixel units")
            self._made[key] = (spec, made.expand_as(self.x))
        return self._made[key][1]

    def std(self, spread: float) -> Tensor:
        """Standard deviation of noise that is `spread` of every row's range; [batch, ...] broadcastable."""
        key = ("std", spread)
        if key not in self._made:
            self._made[key] = (spread, spread_to_std(spread, self.x, self.pixels))
        return self._made[key][1]


def reference(spec: BaselineSpec, x: Tensor, pixels: Pixels) -> Tensor:
    """One reference input for rows x [batch, ...]; see the module's text for the names."""
    if is_picture(spec):
        return _other(spec, x, pixels)
    if isinstance(spec, np.ndarray):
        spec = torch.from_numpy(spec)
    if isinstance(spec, str) and spec not in NAMES:
        near = nearest(spec, NAMES)
        raise ParameterError(
            f"baseline {spec!r}",
            f"one of {', '.join(NAMES)}, a number, a tensor, a picture",
            f"perhaps {near}" if near else "",
        )
    if isinstance(spec, str) and spec == "zero":
        return torch.zeros_like(x[:1])
    if isinstance(spec, str) and spec in LEVELS:
        return pixels.to_rows(torch.full_like(x[:1], LEVELS[spec]))
    if isinstance(spec, (int, float)):
        return pixels.to_rows(torch.full_like(x[:1], float(spec)))
    if isinstance(spec, Tensor):
        return pixels.to_rows(_fitting(spec.to(x), x))
    if not isinstance(spec, str) and not callable(spec):
        raise ParameterError(
            f"a {type(spec).__name__} as a baseline",
            f"one of {', '.join(NAMES)}, a number, a tensor, a picture, a function",
        )
    shown = pixels.to_pixels(x)
    if callable(spec):
        made: Any = spec(shown)
        return pixels.to_rows(_fitting(made.to(x), x))
    if spec == "mean":
        axes = tuple(range(2, x.ndim)) or (1,)
        return pixels.to_rows(shown.mean(axes, keepdim=True).expand_as(x))
    if spec == "blur":
        return pixels.to_rows(blurred(shown))
    noise = torch.rand(x.shape[1:], generator=generator(0, "baseline"), dtype=x.dtype)
    return pixels.to_rows(noise.to(x.device)[None])


def is_picture(spec: Any) -> bool:
    """Whether a reference is another picture: a photo, one of Pillow's, an array with channels last, or a file."""
    if isinstance(spec, str):
        return spec not in NAMES and Path(spec).suffix != "" and Path(spec).is_file()
    if isinstance(spec, np.ndarray):
        return spec.ndim == 3 and spec.shape[-1] in (3, 4) and spec.shape[0] not in (1, 3)
    return isinstance(spec, (images.Photo, Image.Image, Path))


def _other(spec: Any, x: Tensor, pixels: Pixels) -> Tensor:
    """Another picture as the model sees photos."""
    rows: Any = getattr(pixels, "rows", None)
    if x.ndim != 4 or rows is None:
        raise ParameterError(f"a picture as a baseline of rows of shape {tuple(x.shape[1:])}", "rows that are pictures")
    made: Tensor = rows([images.read(spec)], x.dtype)
    if made.shape[1:] != x.shape[1:]:
        raise ParameterError(
            f"a picture that the model sees as {tuple(made.shape[1:])} as a baseline",
            f"{tuple(x.shape[1:])}, as what is explained",
            "bring it to that size",
        )
    return made.to(x.device)


def _fitting(given: Tensor, x: Tensor) -> Tensor:
    if given.shape == x.shape[1:2] and x.ndim == 4:  # a colour
        given = given[:, None, None]
    row = given if given.ndim == x.ndim else given[None]
    try:
        shape = torch.broadcast_shapes(row.shape, x.shape)
    except RuntimeError:
        shape = None
    if shape != x.shape:
        several = given.ndim == x.ndim and len(given) > 1
        raise ParameterError(
            f"a baseline of shape {tuple(given.shape)}",
            f"{tuple(x.shape[1:])} or {tuple(x.shape)}, in pixel units",
            "one for every image serves only where all images run at once, and not inside another method: "
            "give one for all, or a function of the pixels"
            if several
            else "",
        )
    return row.expand(max(len(row), 1), *x.shape[1:])


def blurred(pictures: Tensor, share: float = 0.1) -> Tensor:
    """Pictures [batch, channel, height, width] under a Gaussian blur; σ = share × the shorter side."""
    if pictures.ndim != 4:
        raise ParameterError(f"blur of rows with shape {tuple(pictures.shape[1:])}", "rows with height and width")
    sigma = max(share * min(pictures.shape[-2:]), 1e-3)
    for axis in (-2, -1):
        reach = min(int(3 * sigma) + 1, pictures.shape[axis] - 1)
        at = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
        kernel = torch.exp(-(at**2) / (2 * sigma**2))
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        weight = (kernel / kernel.sum()).view(shape).expand(pictures.shape[1], 1, *shape[2:])
        pad = (0, 0, reach, reach) if axis == -2 else (reach, reach, 0, 0)
        pictures = F.conv2d(F.pad(pictures, pad, mode="reflect"), weight, groups=pictures.shape[1])
    return pictures


def spread_to_std(spread: float, x: Tensor, pixels: Pixels) -> Tensor:
    """σ = spread × (max − min) of every row in pixel units, brought to the units of x channel by channel.

    Smilkov et al. 2017 (SmoothGrad), who recommend 0.1 to 0.2.
    """
    shown = pixels.to_pixels(x)
    flat = shown.flatten(1)
    span = (flat.amax(1) - flat.amin(1)).view(-1, *(1,) * (x.ndim - 1))
    zero, one = torch.zeros_like(x[:1]), torch.ones_like(x[:1])
    return spread * span * (pixels.to_rows(one) - pixels.to_rows(zero))
