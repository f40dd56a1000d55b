"""Places of the input: pixels, tokens or columns, whose channels are hidden together; maps are brought to them."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.errors import InputError
from pellucid.core.explanation import CHANNEL, HEIGHT, WIDTH, Kind
from pellucid.core.metric import Map
from pellucid.ops.resize import resize
from pellucid.regions.cells import Cells
from pellucid.regions.choice import cut

REDUCTIONS = ("auto", "sum", "abs")
"""Channels to one number per place: their sum, or that of their magnitudes."""


def shape(x: Tensor) -> tuple[int, ...]:
    """The places of one row: (height, width) of pictures, (tokens,) of vectors of tokens, (columns,) of tables."""
    return tuple(x.shape[2:]) if x.ndim == 4 else tuple(x.shape[1:2])


def spread(mask: Tensor, x: Tensor) -> Tensor:
    """[..., batch, *places] to [..., batch, ...] as rows like x have them: over the channels of every place."""
    if x.ndim == 4:
        return mask.unsqueeze(-3)
    return mask.unsqueeze(-1) if x.ndim == 3 else mask


def per_place(e: Map, x: Tensor, reduce: str = "auto") -> Tensor:
    """A map as one number per place of the input, float64 [batch, *places].

    reduce  `sum` of the channels, `abs` for the sum of their magnitudes, `auto` for magnitudes where the map is a
            sensitivity, whose sign does not say for or against, and else the sum
    Maps of layers are brought to the input's size as they are drawn, bilinearly. Raises InputError for maps without
    places of the input.
    """
    values = e.values
    magnitudes = reduce == "abs" or (reduce == "auto" and e.kind is Kind.SENSITIVITY)
    values = values.abs() if magnitudes else values
    if CHANNEL in e.dims:
        values = values.sum(e.dims.index(CHANNEL))
    dims, size = tuple(d for d in e.dims[1:] if d != CHANNEL), shape(x)
    if dims == (HEIGHT, WIDTH) and len(size) == 2:
        return resize(values, (size[0], size[1]))
    if tuple(values.shape[1:]) != size:
        named = " × ".join(f"{d} {n}" for d, n in zip(e.dims[1:], e.values.shape[1:], strict=True))
        raise InputError(f"a map of {named} for inputs of {size} places", "a map of the input's places")
    return values


def amounts(e: Map, x: Tensor, reduce: str = "auto") -> Tensor:
    """As `per_place`, but so that sums over places mean something: a region's worth is shared out over its places."""
    values = per_place(e, x, reduce)
    players, regions = e.whence.extras.get("players"), e.whence.extras.get("regions")
    if players is None or regions is None or regions.shape != values.shape or (regions < 0).any():
        return values
    labels = regions.cpu().flatten(1)
    size = sums(torch.ones_like(labels, dtype=torch.float64), labels).gather(1, labels)
    return values / size.view(values.shape)


def partition(q: Query, regions: Any) -> Tensor | None:
    """The number of every place's part, int64 [batch, *places] on the CPU; None where every place is its own.

    regions  `pixels`; `grid` for cells of at most 16 × 16; or whatever `pellucid.regions` takes. Rows that are no
             pictures have parts of their own: each token, each column.
    """
    if regions == "pixels" or q.x.ndim != 4:
        return None
    if regions == "grid":
        height, width = q.x.shape[-2:]
        return Cells(min(16, height), min(16, width))(q.x)
    return cut(regions, q.pixels().detach()).cpu()


@runtime_checkable
class Knows(Protocol):
    """A front that knows what its rows usually are: a table."""

    @property
    def typical(self) -> Tensor:
        """One row, [column]."""
        ...


def filled(q: Query, fill: Any, usual: str) -> Tensor:
    """What hidden places show, [batch, ...].

    `auto` is the usual one for pictures, a table's typical row for its rows, and zeros for all others.
    """
    if not (isinstance(fill, str) and fill == "auto"):
        return q.baseline(fill)
    if q.x.ndim == 2 and isinstance(q.front, Knows):
        return q.front.typical.to(q.x).expand_as(q.x)
    return q.baseline(usual if q.x.ndim == 4 else "zero")


def labels_of(x: Tensor, parts: Tensor | None) -> Tensor:
    """The number of every place's part, [batch, places], also where every place is its own."""
    if parts is not None:
        return parts.flatten(1)
    count = 1
    for side in shape(x):
        count *= side
    return torch.arange(count).expand(len(x), count)


def sums(values: Tensor, labels: Tensor) -> Tensor:
    """Sums of values [batch, places] over parts [batch, places]: [batch, parts]; zero where a row has no such part."""
    most = int(labels.max()) + 1
    return values.new_zeros(len(values), most).scatter_add_(1, labels, values)
