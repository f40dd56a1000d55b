"""Segments of a picture: groups of neighbouring pixels of like colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]
Numbers = NDArray[np.int64]


def felzenszwalb(picture: Pixels, scales: Sequence[float], least: int = 1) -> Numbers:
    """Graph-based segmentation, once per scale: [scale, height, width], every pixel with the number of its segment.

    Pixels are joined along the edges to their eight neighbours, the edges with the smallest difference w of colours
    first: two segments become one if w ≤ min over both of (Int + scale / size), Int the largest w inside
    [Felzenszwalb & Huttenlocher 2004, eq. 1-5]. Edges of equal w are taken in the order right, down, down right, up
    right, each line by line, so that the result is the same everywhere.

    picture  [height, width, channel], smoothed; differences are Euclidean, in the units of scale / size
    scales   preferences for large segments
    least    smaller segments are joined to the neighbour that is most alike
    """
    height, width = picture.shape[:2]
    w, a, b = _edges(picture)
    labels = [_grown(w, a, b, height * width, scale, least) for scale in scales]
    return np.stack(labels).reshape(len(labels), height, width)


def _edges(picture: Pixels) -> tuple[Pixels, Numbers, Numbers]:
    """Difference and both pixels of every pair of neighbours, the most alike first."""
    number = np.arange(picture.shape[0] * picture.shape[1]).reshape(picture.shape[:2])
    every = slice(None)
    pairs = (
        ((every, slice(-1)), (every, slice(1, None))),
        ((slice(-1), every), (slice(1, None), every)),
        ((slice(-1), slice(-1)), (slice(1, None), slice(1, None))),
        ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))),
    )
    w = np.concatenate([np.linalg.norm(picture[p] - picture[q], axis=-1).ravel() for p, q in pairs])
    a = np.concatenate([number[p].ravel() for p, _ in pairs])
    b = np.concatenate([number[q].ravel() for _, q in pairs])
    order = np.argsort(w, kind="stable")
    return w[order], a[order], b[order]


def _grown(w: Pixels, a: Numbers, b: Numbers, count: int, scale: float, least: int) -> Numbers:
    """The segment of every pixel, numbered in the order of their first pixels."""
    parent, size, bound = list(range(count)), [1] * count, [float(scale)] * count

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    def join(i: int, j: int, cost: float) -> None:
        i, j = (i, j) if size[i] >= size[j] else (j, i)
        parent[j] = i
        size[i] += size[j]
        bound[i] = cost + scale / size[i]

    for cost, i, j in zip(w.tolist(), a.tolist(), b.tolist(), strict=True):
        i, j = root(i), root(j)
        if i != j and cost <= bound[i] and cost <= bound[j]:
            join(i, j, cost)
    roots = np.fromiter(map(root, range(count)), np.int64, count)
    between = roots[a] != roots[b]
    for i, j in zip(a[between].tolist(), b[between].tolist(), strict=True):
        i, j = root(i), root(j)
        if i != j and (size[i] < least or size[j] < least):
            join(i, j, 0.0)
    roots = np.fromiter(map(root, range(count)), np.int64, count)
    _, first, label = np.unique(roots, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label]
