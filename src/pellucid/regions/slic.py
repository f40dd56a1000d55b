"""Superpixels of about equal size, by clustering colour and place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.regions.given import numbered
from pellucid.regions.spelled import Spelled, counts, more_than


@dataclass(frozen=True, slots=True)
class Slic(Spelled):
    """k-means of colour and place, each centre looking no further than about one step    [Achanta et al. 2012]

    D² = (d_colour / weight)² + (d_place / step)²,  step = √(height · width / n);  colours in CIELAB, 8 bits. A pixel
    belongs to one of the nine centres that began around it. Pieces that came loose and pieces smaller than a quarter
    of the mean are joined to the neighbour with the longest border.

    n           about how many superpixels (`n_superpixels` of R's lime)
    weight      how much place counts against colour: higher gives more compact superpixels
    iterations  of the clustering (`n_iter`)
    """

    n: int = 50
    weight: float = 20.0
    iterations: int = 10

    def __post_init__(self) -> None:
        counts(n=self.n, iterations=self.iterations)
        more_than(0, weight=self.weight)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Raises ParameterError for more superpixels than pixels."""
        height, width = pixels.shape[-2:]
        if self.n > height * width:
            raise ParameterError(f"{self.n} superpixels on a view of {height} × {width}", "no more than pixels")
        return numbered(torch.stack([self._one(one) for one in pixels.detach().double().cpu()]))

    def _one(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        step = (height * width / self.n) ** 0.5
        rows, columns = max(1, round(height / step)), max(1, round(width / step))
        y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
        seen = torch.stack([*(lab(picture) / self.weight), y / step, x / step]).flatten(1)  # [feature, pixel]
        cell = (y.long() * rows // height * columns + x.long() * columns // width).flatten()
        near = _around(rows, columns)[:, cell]  # [9, pixel]
        labels = cell
        for _ in range(self.iterations):
            centre = _means(seen, labels, rows * columns)
            apart = torch.stack([(seen - centre[:, one]).square().sum(0) for one in near])
            labels = near.gather(0, apart.argmin(0, keepdim=True))[0]
        return joined(labels.view(height, width), height * width / (rows * columns) / 4)


def _around(rows: int, columns: int) -> Tensor:
    """The nine cells around every cell, itself in the middle, at the border some of them twice; [9, cells]."""
    move = torch.tensor([0, -1, 1])[:, None]
    down = (torch.arange(rows) + move).clamp(0, rows - 1)  # [3, rows]
    across = (torch.arange(columns) + move).clamp(0, columns - 1)
    return (down[:, None, :, None] * columns + across[None, :, None, :]).flatten(2).flatten(0, 1)


def _means(seen: Tensor, labels: Tensor, count: int) -> Tensor:
    """Mean of the features of every cluster; far away for one without pixels. [feature, cluster]"""
    size = torch.bincount(labels, minlength=count).double()
    total = torch.stack([torch.bincount(labels, one, count) for one in seen])
    return (total / size).nan_to_num(nan=1e9)


def joined(labels: Tensor, least: float) -> Tensor:
    """Every connected piece (by four neighbours) a region of its own; pieces up to `least` pixels join a neighbour.

    labels: [height, width]. The neighbour is the one with the longest common border, of equals the first in the
    picture.
    """
    number = torch.arange(labels.numel()).view(labels.shape)
    a = torch.cat([number[:, :-1].flatten(), number[:-1].flatten()])
    b = torch.cat([number[:, 1:].flatten(), number[1:].flatten()])
    same = labels.flatten()[a] == labels.flatten()[b]
    piece = _connected(labels.numel(), a[same], b[same])
    while True:
        first, piece = torch.unique(piece, return_inverse=True)
        count, size = len(first), torch.bincount(piece)
        small = (size <= least).nonzero().flatten()
        if count == 1 or not len(small):
            return piece.view(labels.shape)
        p, q = torch.cat([piece[a], piece[b]]), torch.cat([piece[b], piece[a]])
        piece = _connected(count, small, beside(p, q, count)[small])[piece]


def beside(p: Tensor, q: Tensor, count: int) -> Tensor:
    """For every one of `count` pieces the one that it is beside most often, of equals the first.  p, q: sides."""
    pair, border = torch.unique(
        (p * count + q)[p != q], return_counts=True
    )  # in noise, most of count² are never beside
    order = border.argsort(descending=True, stable=True)
    order = order[(pair[order] // count).argsort(stable=True)]
    owner = pair[order] // count
    return (pair % count)[order[torch.cat([owner.new_ones(1).bool(), owner.diff() > 0])]]


def _connected(count: int, a: Tensor, b: Tensor) -> Tensor:
    """The smallest number that every one of `count` things is connected with, along the pairs (a, b)."""
    root = torch.arange(count)
    while True:
        low = root[a].minimum(root[b])
        new = root.scatter_reduce(0, root[a], low, "amin").scatter_reduce(0, root[b], low, "amin")
        new = new[new]
        if torch.equal(new, root):
            return root
        root = new


def lab(picture: Tensor) -> Tensor:
    """sRGB in 0 … 1 as CIELAB (D65) with L stretched to 0 … 255; other channel counts as they are, times 255."""
    if len(picture) != 3:
        return picture * 255
    light = torch.where(picture <= 0.04045, picture / 12.92, ((picture.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    to_xyz = picture.new_tensor(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    white = picture.new_tensor([0.95047, 1.0, 1.08883])
    xyz = torch.einsum("ij,jhw->ihw", to_xyz, light) / white[:, None, None]
    f = torch.where(xyz > 0.008856, xyz.clamp_min(0) ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([(116 * f[1] - 16) * 2.55, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
