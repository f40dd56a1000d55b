"""Integrated gradients gathered in the segments of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.ask import Attribution, Query, attribution, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.fold import Weighted
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.points import Along, At
from pellucid.ops.checks import completeness
from pellucid.ops.diffusion import diffused
from pellucid.ops.quadrature import RULES
from pellucid.ops.segments import felzenszwalb

SIDE = 224
"""The lengths and areas of the paper are pixels of pictures of this size; for others they are scaled."""
SMOOTH, LEAST, SLIVER = 0.8, 150, 50
"""Blur before the segmentation, smallest segment, smallest addition to the map: the values of the authors."""


@method(
    kind=Kind.CONTRIBUTION,
    title="XRAI",
    cite=("kapishnikov2019xrai", "felzenszwalb2004efficient"),
    keeps={"completeness", "implementation_invariance"},
    family="path",
)
class XRAI:
    """a_p = mean of A over R(p) not yet taken, R(p) the segment that takes pixel p    [Kapishnikov et al. 2019, alg. 1]

    A is the integrated gradient of a pixel, averaged over baselines and summed over channels. The picture is segmented
    at several scales; then, again and again, the segment is taken whose pixels not yet taken have the largest mean of
    A. extras["region"] is the turn in which a pixel was taken, from 0. The values keep the sum of A.

    Segmentation works on the picture in colours stretched to −1 … 1, no larger than 224 pixels, smoothed; additions
    smaller than 50 pixels wait for the end, where what is left is taken as one.

    steps      points on each line; the error that remains is in checks["completeness"]
    baselines  inputs that carry no evidence, in pixel units
    rule       how the integrals are approximated
    scales     preferences for large segments, one segmentation each
    dilation   how far every segment reaches over its edges, in pixels of a picture of 224 pixels
    channels   `sum` keeps the sum of the values; `max` is what the authors' program does
    """

    steps: int = at_least(1, default=32)
    baselines: Any = param(default=("black", "white"))
    rule: str = one_of("gauss_legendre", "midpoint", "trapezoid", "left", "right", default="gauss_legendre")
    scales: Any = param(default=(50, 100, 150, 250, 500, 1200))
    dilation: float = at_least(0.0, default=5.0)
    channels: str = one_of("sum", "max", default="sum")

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        scales = _numbers(self.scales)
        starts = [q.baseline(b) for b in _many(self.baselines)]
        t, w = RULES[self.rule](self.steps)
        got = await together(
            *(q.grad(Along(b, q.x, t), Weighted(w)) for b in starts), q.score(), *(q.score(At(b)) for b in starts)
        )
        n = len(starts)
        gathered = torch.stack([(q.x - b) * slope for b, slope in zip(starts, got[:n], strict=True)]).mean(0)
        per_pixel = gathered.sum(2) if self.channels == "sum" else gathered.amax(2)
        values, region = torch.empty_like(per_pixel), torch.empty_like(per_pixel, dtype=torch.int64)
        for row, picture in enumerate(q.pixels()):
            parts = _parts(picture, scales, self.dilation)
            for target in range(len(values)):
                taken = _taken(per_pixel[target, row], *parts)
                values[target, row], region[target, row] = taken
        checks = [completeness(gathered, got[n] - torch.stack(got[n + 1 :]).mean(0))]
        return attribution(values, dims=(HEIGHT, WIDTH), checks=checks, extras={"region": region})


def _parts(picture: Tensor, scales: Sequence[float], dilation: float) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The segments of a picture in pixel units, bool [segments, cells], and the cell of every pixel, [height, width].

    picture: [channel, height, width]. A cell is a pixel of the picture as it was segmented.
    """
    height, width = picture.shape[-2:]
    small = picture.detach().double().cpu()
    if max(height, width) > SIDE:
        size = [max(1, round(n * SIDE / max(height, width))) for n in (height, width)]
        small = F.interpolate(small[None], size=size, mode="bilinear", antialias=True)[0]
    h, w = small.shape[-2:]
    part = h * w / SIDE**2
    low, high = small.aminmax()
    stretched = (small - low) * (2 / (high - low) if high > low else 0.0)
    smooth = diffused(stretched, SMOOTH).permute(1, 2, 0).numpy()
    labels = felzenszwalb(smooth, [scale * part / 255 for scale in scales], max(1, round(LEAST * part)))
    masks = np.concatenate([label == np.arange(label.max() + 1)[:, None, None] for label in labels])
    grown = _dilated(masks, dilation * part**0.5)
    cell = np.arange(h * w).reshape(h, w)[np.ix_(np.arange(height) * h // height, np.arange(width) * w // width)]
    return grown.reshape(len(grown), -1), cell


def _dilated(masks: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Every place within `radius` of a mask's; [segments, height, width]."""
    reach = int(radius)
    at = torch.arange(-reach, reach + 1)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).float()
    touched = F.conv2d(torch.from_numpy(masks).float()[:, None], disk[None, None], padding=reach)
    return (touched[:, 0] > 0.5).numpy()


def _taken(per_pixel: Tensor, masks: NDArray[np.bool_], cell: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The mean of A over what was taken with every pixel, and in which turn that was; both [height, width]."""
    a = per_pixel.detach().double().cpu().numpy()
    cells = masks.shape[1]
    mass, area = np.bincount(cell.ravel(), a.ravel(), cells), np.bincount(cell.ravel(), minlength=cells)
    sliver, tie = max(1.0, SLIVER * cell.size / SIDE**2), 1e-9 * np.abs(a).max()
    values, region, left = np.zeros(cells), np.zeros(cells, np.int64), np.ones(cells, bool)
    sums, areas = masks @ mass, masks @ area.astype(float)
    count = 0
    while left.any():
        means = np.divide(sums, areas, out=np.full(len(masks), -np.inf), where=areas >= sliver)
        best = int(np.argmax(means >= means.max() - tie))  # the first of equals
        new = (masks[best] & left) if areas[best] >= sliver else left.copy()
        values[new], region[new] = mass[new].sum() / area[new].sum(), count
        left &= ~new
        sums -= masks[:, new] @ mass[new]
        areas -= masks[:, new] @ area[new]
        count += 1
    return torch.from_numpy(values[cell]).to(per_pixel), torch.from_numpy(region[cell]).to(per_pixel.device)


def _many(specs: Any) -> tuple[Any, ...]:
    many = tuple(specs) if isinstance(specs, (tuple, list)) else (specs,)
    if not many:
        raise ParameterError("no baselines", "at least one start of a path", "baselines=('black', 'white')")
    return many


def _numbers(scales: Any) -> tuple[float, ...]:
    many = tuple(scales) if isinstance(scales, (tuple, list)) else (scales,)
    if not many or not all(isinstance(k, (int, float)) and 0 < k < float("inf") for k in many):
        raise ParameterError(f"xrai.scales = {scales!r}", "one or more numbers above 0", "scales=(50, 250, 1200)")
    return many
