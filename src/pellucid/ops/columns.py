"""How the columns of a table are drawn, binned and compared: rows around one row, and how near they are to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.points import Points

Array = np.ndarray[Any, Any]
GRID = 512
"""Points of a kernel density, as many as R's `density` takes."""
CODED = ("categorical", "boolean")
DRAWS = ("normal", "uniform", "density", "around")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Law:
    """How one column varies: cells, one of which is drawn by its share, and within it a value.

    cells  float64 [5, cells]: shares of the cells up to each, the last being 1; where each begins and ends; mean and
           deviation of the normal law within it. Where the deviation is infinite, values are equally likely
    edges  where bins meet, (a, b] being one; none where the column is not binned
    """

    cells: Array
    edges: Array

    @staticmethod
    def of(parts: Sequence[tuple[float, float, float, float, float]], edges: Array | None = None) -> Law:
        """parts: (weight, low, high, mean, deviation) of every cell."""
        table = np.array(parts, dtype=np.float64).T
        share = table[0].cumsum() / table[0].sum()
        share[share >= share[-1]] = 1.0
        return Law(cells=np.stack([share, *table[1:]]), edges=np.zeros(0) if edges is None else edges)


def category_law(codes: Array) -> Law:
    """Every code as often as it is there; codes: [rows]."""
    names, count = np.unique(codes, return_counts=True)
    return Law.of([(float(n), c, c, c, np.inf) for c, n in zip(names.tolist(), count.tolist(), strict=True)])


def binned_law(values: Array, bins: int, quantiles: bool, draw: str) -> Law:
    """A bin by how many values it has, then a value in it: `uniform`, or `normal`, with the bin's mean and deviation.

    values: float64 [rows]; NaN, what is missing, is a bin of its own.
    """
    there = values[~np.isnan(values)]
    borders = cuts(there, bins, quantiles)
    edges = borders[1:-1]
    at = np.searchsorted(edges, there)
    parts = [
        _bin(there[at == i], low, high, draw)
        for i, (low, high) in enumerate(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True))
    ]
    gone = len(values) - len(there)
    return Law.of([*parts, (gone, np.nan, np.nan, np.nan, np.inf)] if gone else parts, edges)


def _bin(values: Array, low: float, high: float, draw: str) -> tuple[float, float, float, float, float]:
    if draw == "uniform" or not len(values):
        return (len(values), low, high, low, np.inf)
    mean, std = float(values.mean()), float(values.std())
    return (len(values), low, high, mean, std) if std > 0 else (len(values), mean, mean, mean, np.inf)


def cuts(values: Array, bins: int, quantiles: bool = True) -> Array:
    """Where bins begin and end, [bins + 1], in order; values: [rows], none of them missing.

    Quantiles that coincide are one, so that there may be fewer bins; where less than two would be left, and where no
    quantiles are asked for, bins are of equal width.
    """
    if quantiles:
        found = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
        if len(found) >= 3:
            return found
    return np.linspace(values.min(), values.max(), bins + 1)


def whole_law(values: Array, draw: str) -> Law:
    """Values that are not binned: `normal` with the mean and deviation of the column; `around`, the same around a row,
    which is added later; `density`, by a kernel density.

    values: float64 [rows]; those missing are left out.
    """
    there = values[~np.isnan(values)]
    if draw == "density":
        grid, height = density(there)
        half = (grid[1] - grid[0]) / 2
        return Law.of([(y, x - half, x + half, x, np.inf) for x, y in zip(grid.tolist(), height.tolist(), strict=True)])
    mean = 0.0 if draw == "around" else float(there.mean())
    return Law.of([(1.0, -np.inf, np.inf, mean, float(there.std()))])


def density(values: Array) -> tuple[Array, Array]:
    """A Gaussian kernel density on a grid of 512 points, which begins and ends three bandwidths outside the values.

    The bandwidth is Silverman's, 0.9 min(s, IQR / 1.34) n^(−1/5) [Silverman 1986, eq. 3.31], as R's `density` takes it.
    """
    deviation = float(values.std(ddof=1))
    quarter = float(np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.34)
    width = 0.9 * (min(deviation, quarter) or deviation) * len(values) ** -0.2
    grid = np.linspace(values.min() - 3 * width, values.max() + 3 * width, GRID)
    height = np.zeros(GRID)
    for start in range(0, len(values), 4096):
        height += np.exp(-0.5 * ((grid[:, None] - values[start : start + 4096]) / width) ** 2).sum(1)
    return grid, height / (len(values) * width * np.sqrt(2 * np.pi))


# -- all columns -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """How all columns vary, and what is compared of them.

    cells   float64 [5, column, cells], as in `Law`
    edges   float64 [column, edges], infinite where a column has fewer
    coded   bool [column]: values are numbers of categories
    logical bool [column]: values are yes and no
    binned  bool [column]: values are compared by their bins
    kept    bool [column]: values stay as they are: columns that do not vary, and dates
    whole   bool [column]: whole numbers
    moved   bool [column]: what is drawn is a step from the row
    mean, std  float64 [column], of the numbers in the table
    """

    cells: Tensor
    edges: Tensor
    coded: Tensor
    logical: Tensor
    binned: Tensor
    kept: Tensor
    whole: Tensor
    moved: Tensor
    mean: Tensor
    std: Tensor

    @staticmethod
    def of(table: Tensor, types: Sequence[str], bins: int | None, quantiles: bool, draw: str) -> Columns:
        """table: float64 [rows, column]; types: of every column, as `pellucid.Table` has them."""
        values = table.double().cpu().numpy()
        laws = [_law(values[:, i], kind, bins, quantiles, draw) for i, kind in enumerate(types)]
        coded = torch.tensor([kind in CODED for kind in types])
        kept = torch.tensor([law is None for law in laws])
        numbers = ~coded & ~kept
        mean = torch.from_numpy(np.nan_to_num(_of_those_there(values, np.mean)))
        std = torch.from_numpy(_of_those_there(values, np.std))
        return Columns(
            cells=_beside([np.ones((5, 1)) if law is None else law.cells for law in laws]),
            edges=_beside([np.zeros((1, 0)) if law is None else law.edges[None] for law in laws], np.inf)[0],
            coded=coded,
            logical=torch.tensor([kind == "boolean" for kind in types]),
            binned=numbers if bins is not None else torch.zeros_like(numbers),
            kept=kept,
            whole=torch.tensor([kind == "integer" for kind in types]),
            moved=numbers & (draw == "around"),
            mean=mean,
            std=torch.where(std > 0, std, 1.0),
        )

    def bin_of(self, values: Tensor) -> Tensor:
        """The number of every value's bin, int64 [rows, column]; −1 where it is missing."""
        return torch.where(values.isnan(), -1, below(self.edges, values, torch.gt))

    def borders(self, x: Tensor) -> Tensor:
        """Where the bin of every value of a row x [column] begins and ends, [column, 2]; NaN where it is not binned."""
        around = torch.nn.functional.pad(self.edges, (1, 1), value=torch.inf)
        around[:, 0] = -torch.inf
        at = self.bin_of(x[None])[0]
        found = torch.stack([around.gather(1, (at + i).clamp_min(0)[:, None])[:, 0] for i in (0, 1)], 1)
        return torch.where((self.binned & (at >= 0))[:, None], found, torch.nan)

    def presence(self, values: Tensor, x: Tensor) -> Tensor:
        """What the linear model sees of rows [rows, column]: 1 where the bin or category is that of x [column], else 0.

        Of numbers that are not binned it is their distance from the mean in deviations.
        """
        same = torch.where(self.binned, self.bin_of(values) == self.bin_of(x[None]), values == x).double()
        same = torch.where(self.kept, 1.0, same)
        return torch.where(self.coded | self.binned | self.kept, same, (values - self.mean) / self.std)

    def gower(self, values: Tensor, x: Tensor) -> Tensor:
        """The distance between rows [rows, column] and x [column], 0 … 1    [Gower 1971]

        The mean over columns of: numbers, |v − x| / range, the range being that of the rows and x; categories, whether
        they differ. A number without a range does not count, nor do yes and no where both say no. What is missing in
        one row only is as far as can be.
        """
        every = torch.cat([values, x[None]])
        low = torch.where(every.isnan(), torch.inf, every).amin(0)
        high = torch.where(every.isnan(), -torch.inf, every).amax(0)
        span = high - low
        differ = (values != x) & ~(values.isnan() & x.isnan())
        far = torch.where(values.isnan() | x.isnan(), differ.double(), (values - x).abs() / span)
        far = torch.where(self.coded, differ.double(), far)
        counts = torch.where(self.coded, True, span > 0) & ~(self.logical & (values == 0) & (x == 0))
        return torch.where(counts, far, 0.0).sum(1) / counts.sum(1).clamp_min(1)


def _law(values: Array, kind: str, bins: int | None, quantiles: bool, draw: str) -> Law | None:
    """How a column is drawn; None for what stays as it is."""
    if kind == "date":
        return None
    there = values[~np.isnan(values)]
    if not len(there) or there.min() == there.max():
        return None
    if kind in CODED:
        return category_law(values)
    return whole_law(values, draw) if bins is None else binned_law(values, bins, quantiles, draw)


def _of_those_there(values: Array, of: Any) -> Array:
    """A number of every column, of the values that are not missing; 0 where all are."""
    columns = [column[~np.isnan(column)] for column in values.T]
    return np.array([of(column) if len(column) else 0.0 for column in columns])


def _beside(parts: Sequence[Array], fill: float = 1.0) -> Tensor:
    """Arrays [k, cells] as one tensor [k, column, cells], those with fewer cells filled up."""
    most = max(part.shape[1] for part in parts)
    full = [np.pad(part, ((0, 0), (0, most - part.shape[1])), constant_values=fill) for part in parts]
    return torch.from_numpy(np.stack(full, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn(Points):
    """Rows whose columns are drawn by their laws.

    x: [batch, column]; drawn: what every column shows, float64 [draws, column], the same for all rows of the batch.
    kept, whole, moved: as in `Columns`.
    """

    own = True
    x: Tensor
    drawn: Tensor
    kept: Tensor
    whole: Tensor
    moved: Tensor

    @staticmethod
    def of(columns: Columns, x: Tensor, u: Tensor) -> Drawn:
        """u: numbers in 0 … 1, float64 [draws, column]; every column shows its quantile there."""
        return Drawn(x, quantiles(columns.cells, u), columns.kept, columns.whole, columns.moved)

    @property
    def count(self) -> int:
        return len(self.drawn)

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x = self.x[b0:b1].double().cpu()
        drawn = self.drawn[k0:k1, None]
        drawn = torch.where(self.moved, x + drawn, drawn)
        drawn = torch.where(self.whole, drawn.round(), drawn)
        return torch.where(self.kept, x, drawn).flatten(0, 1).to(self.x)


def quantiles(cells: Tensor, u: Tensor) -> Tensor:
    """The value below which a share u of every column lies, [draws, column]; u: [draws, column]; cells as in `Law`."""
    share, low, high, mean, std = cells
    level = u.clamp(2.0**-54, 1 - 2.0**-53)
    at = below(share, level, torch.ge).clamp_max(share.shape[1] - 1).mT
    before = torch.nn.functional.pad(share, (1, 0))[:, :-1]
    part = (level.mT - before.gather(1, at)) / (share - before).gather(1, at)
    flat = std.isinf()
    if bool(flat.all()):
        return (low.gather(1, at) + part * (high - low).gather(1, at)).mT
    under, over = torch.special.ndtr((low - mean) / std), torch.special.ndtr((high - mean) / std)
    a, b, m, s = (one.gather(1, at) for one in (low, high, mean, std))
    bell = m + s * torch.special.ndtri(under.gather(1, at) + part * (over - under).gather(1, at))
    bell = torch.minimum(torch.maximum(bell, a), b)
    return (torch.where(s.isinf(), a + part * (b - a), bell) if bool(flat.any()) else bell).mT


FEW = 16
"""Borders up to which counting those below a value is faster than a search."""


def below(borders: Tensor, values: Tensor, counts: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """How many borders of its column are below every value, int64 [rows, column].

    borders: [column, borders], in order; values: [rows, column]; counts: `torch.gt` or `torch.ge`, whether a value at
    a border is above it.
    """
    if borders.shape[1] > FEW:
        return torch.searchsorted(borders, values.mT.contiguous(), right=counts is torch.ge).mT
    found = torch.zeros(values.shape, dtype=torch.int64)
    for border in borders.mT:
        found += counts(values, border)
    return found
