"""The heatmap pipeline: small pure stages from numbers to colours, joined by `|`.

    Reduce("sum") | Clip(99.5) | Scale(-2.0, 2.0) | Resize((224, 224)) | Colour("PuOr")

A stage never changes the tensor that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.core.errors import ParameterError, nearest
from pellucid.views.palette import palette


def _max_abs(x: Tensor) -> Tensor:
    return x.gather(0, x.abs().argmax(0, keepdim=True))[0]


REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(0),
    "norm": lambda x: x.square().sum(0).sqrt(),
    "max_abs": _max_abs,
    "sum_abs": lambda x: x.abs().sum(0),
    "abs_sum": lambda x: x.sum(0).abs(),
    "rgb": lambda x: x.abs(),
}
"""From [channel, height, width] to [height, width]; `rgb` keeps its three channels.

sum: Σ_c x_c. norm: √Σ_c x_c². max_abs: the x_c of largest magnitude, with its sign. sum_abs: Σ_c |x_c|.
abs_sum: |Σ_c x_c|.
"""


class Stage:
    """One step of a pipeline. `a | b` first does a, then b."""

    __slots__ = ()

    def __call__(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def __or__(self, then: Stage) -> Pipeline:
        return Pipeline((*stages_of(self), *stages_of(then)))


@dataclass(frozen=True, slots=True)
class Pipeline(Stage):
    """Stages one after the other."""

    stages: tuple[Stage, ...]

    def __call__(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


def stages_of(stage: Stage) -> tuple[Stage, ...]:
    """The steps of a pipeline, or the stage alone."""
    return stage.stages if isinstance(stage, Pipeline) else (stage,)


@dataclass(frozen=True, slots=True)
class Reduce(Stage):
    """Channels to one number per place; see `REDUCTIONS`. A map without channels is one with a single channel."""

    how: str = "sum"

    def __post_init__(self) -> None:
        if self.how not in REDUCTIONS:
            close = nearest(self.how, REDUCTIONS)
            raise ParameterError(
                f"there is no channel reduction {self.how!r}",
                f"one of {', '.join(REDUCTIONS)}",
                close and f"perhaps {close}",
            )

    def __call__(self, x: Tensor) -> Tensor:
        x = x if x.ndim == 3 else x[None]
        if self.how == "rgb" and x.shape[0] != 3:
            raise ParameterError(
                f"a map with {x.shape[0]} channels cannot be drawn in red, green and blue", "three channels"
            )
        return REDUCTIONS[self.how](x)


@dataclass(frozen=True, slots=True)
class Clip(Stage):
    """x ↦ min(max(x, −m), m), where m is the value of |x| at a percentile.

    percentile  of the magnitudes, 0 < p ≤ 100; 100 changes nothing. m is the smallest magnitude that at least p % of
                the places do not exceed, so it is a value of the map. Where that is 0 (a map of few spots), nothing
                is clipped: the spots are the map.
    """

    percentile: float = 99.5

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ParameterError(f"a clip percentile of {self.percentile}", "0 < percentile ≤ 100")

    def limit(self, x: Tensor) -> float:
        """The magnitude m at which x is clipped."""
        size = x.abs().flatten()
        place = min(size.numel(), max(1, math.ceil(self.percentile / 100 * size.numel())))
        at = float(size.kthvalue(place).values)
        return at if at > 0 else float(size.max())

    def __call__(self, x: Tensor) -> Tensor:
        m = self.limit(x)
        return x.clamp(-m, m)


@dataclass(frozen=True, slots=True)
class Scale(Stage):
    """x ↦ (x − low) / (high − low), kept in 0..1: the place of a number on its palette."""

    low: float
    high: float

    def __call__(self, x: Tensor) -> Tensor:
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Resize(Stage):
    """A map on another grid, the edges of the two grids lying on each other (`align_corners=False`).

    size  height, width.
    how   `bilinear` or `nearest`, for larger grids; a smaller grid always averages, so that no number is left out.
    """

    size: tuple[int, int]
    how: str = "bilinear"

    def __post_init__(self) -> None:
        if self.how not in ("bilinear", "nearest"):
            raise ParameterError(f"there is no way of resizing {self.how!r}", "bilinear or nearest")

    def __call__(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) == self.size:
            return x
        planes = x.reshape(1, -1, *x.shape[-2:])
        smaller = self.size[0] < x.shape[-2] or self.size[1] < x.shape[-1]
        if self.how == "nearest" and not smaller:
            out = F.interpolate(planes, self.size, mode="nearest-exact")
        else:
            out = F.interpolate(planes, self.size, mode="bilinear", align_corners=False, antialias=smaller)
        return out.reshape(*x.shape[:-2], *self.size)


@dataclass(frozen=True, slots=True)
class Colour(Stage):
    """Numbers in 0..1 to colours, uint8 [height, width, 3]. Three planes become red, green and blue themselves."""

    palette: str

    def __call__(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return (x.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1)
        return palette(self.palette)(x)


@dataclass(frozen=True, slots=True)
class Overlay:
    """A coloured map over a picture: c = (1 − α) p + α m, where α grows with the strength of the number.

    picture    uint8 [height, width, 3].
    alpha      α at full strength, 0..1. At strength 0 the picture is seen alone.
    underlay   `grey` (the picture's luminance, so that all colour is the map's), `pale` (nearer to white, so that light
               colours can be told from none) or `colour`.
    """

    picture: Tensor
    alpha: float = 0.75
    underlay: str = "grey"

    def __call__(self, colours: Tensor, strength: Tensor) -> Tensor:
        """colours uint8 [height, width, 3], strength [height, width] in 0..1; gives uint8 [height, width, 3]."""
        below = self.picture.double()
        below = below if self.underlay == "colour" else _grey(below)
        below = torch.lerp(below, below.new_tensor(PALE), PALENESS) if self.underlay == "pale" else below
        a = (self.alpha * strength.double().clamp(0, 1))[..., None]
        return ((1 - a) * below + a * colours.double()).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, slots=True)
class Revealed:
    """A picture in its colours where a part is, grey and pale where it is not: c = m p + (1 − m) (α w + (1 − α) g).

    picture    p, uint8 [height, width, 3]; g is its luminance, w nearly white.
    alpha      how pale the rest is, 0..1.
    """

    picture: Tensor
    alpha: float = 0.8

    def __call__(self, share: Tensor) -> Tensor:
        """share: m, [height, width] in 0..1; gives uint8 [height, width, 3]."""
        p = self.picture.double()
        pale = self.alpha * p.new_tensor(PALE) + (1 - self.alpha) * _grey(p)
        return torch.lerp(pale, p, share.double().clamp(0, 1)[..., None]).round().clamp(0, 255).to(torch.uint8)


PALE = (246, 247, 249)
"""What hides the rest of a picture of which a part is shown."""
PALENESS = 0.45
"""How near to it a pale picture is."""


def _grey(rgb: Tensor) -> Tensor:
    """Luminance, as three equal channels."""
    return (rgb @ rgb.new_tensor([0.299, 0.587, 0.114]))[..., None].expand_as(rgb)
