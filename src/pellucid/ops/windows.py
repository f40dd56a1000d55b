"""Windows that slide over a picture, as parts that are hidden together."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError

Pair = int | tuple[int, int]


def pair(value: Pair, name: str) -> tuple[int, int]:
    """(height, width) from one number or two. Raises ParameterError for anything else or below 1."""
    two = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(two) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in two):
        raise ParameterError(f"{name}={value!r}", "one whole number, or (height, width), each 1 or more")
    return two[0], two[1]


def starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin: every `stride`, and flush with the end, so that everything is covered."""
    return sorted({*range(0, size - window + 1, stride), size - window})


def windows(size: tuple[int, int], window: Pair, stride: Pair) -> tuple[Tensor, Tensor]:
    """Sliding windows over [height, width]: hidden, bool [windows, parts], and parts, int64 [height, width].

    The parts are the smallest rectangles that no window's edge crosses. Raises ParameterError when a window is larger
    than the picture, or when strides larger than windows would leave places uncovered.
    """
    window, stride = pair(window, "window"), pair(stride, "stride")
    if window[0] > size[0] or window[1] > size[1]:
        raise ParameterError(f"window={window} on a view of {size}", "a window that fits into the model's view")
    if stride[0] > window[0] or stride[1] > window[1]:
        raise ParameterError(f"stride={stride} with window={window}", "a stride no larger than the window")
    covers, labels = zip(*(_line(n, w, s) for n, w, s in zip(size, window, stride, strict=True)), strict=True)
    rows, columns = covers
    hidden = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)
    parts = labels[0][:, None] * columns.shape[1] + labels[1][None, :]
    return hidden, parts


def _line(size: int, window: int, stride: int) -> tuple[Tensor, Tensor]:
    """One axis: which windows cover which interval, and the interval of every place."""
    begin = starts(size, window, stride)
    edges = sorted({0, size, *begin, *(b + window for b in begin)})
    at = torch.arange(size)
    label = torch.bucketize(at, torch.tensor(edges[1:]), right=True)
    first = torch.tensor(edges[:-1])
    cover = torch.stack([(first >= b) & (first < b + window) for b in begin])
    return cover, label
