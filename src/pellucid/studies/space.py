"""Where a row of a table may go: ranges, whole numbers, categories, columns that must stay; and how far that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """The rows that a row may become.

    x      the row, float64 [columns]
    low    least value of every column; equal to `high` where the column must stay
    high   largest value
    scale  what counts as a distance of one, such as a standard deviation
    whole  columns of whole numbers
    coded  columns of categories, whose values have no order; they are whole too
    """

    x: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    whole: Tensor
    coded: Tensor

    @property
    def free(self) -> Tensor:
        """Columns that may change, bool [columns]."""
        return self.high > self.low

    def without(self, columns: Tensor) -> Space:
        """The same with more columns that must stay, bool [columns]."""
        stay = columns | ~self.free
        return replace(self, low=torch.where(stay, self.x, self.low), high=torch.where(stay, self.x, self.high))

    def snap(self, rows: Tensor) -> Tensor:
        """The nearest allowed rows, [rows, columns]."""
        inside = rows.clamp(self.low, self.high)
        near = torch.where(self.whole & self.free, inside.round().clamp(self.low.ceil(), self.high.floor()), inside)
        stays = ~self.free | (rows == self.x)  # what has not moved need not become whole
        return torch.where(stays, self.x, near)

    def changed(self, rows: Tensor) -> Tensor:
        """Which columns differ from x, bool [rows, columns]."""
        return self.free & (rows != self.x)

    def distance(self, rows: Tensor) -> Tensor:
        """Σ_j |z_j − x_j| / scale_j, a category that differs counting one; float64 [rows]."""
        far = torch.where(self.coded, 1.0, (rows - self.x).abs() / self.scale)
        return torch.where(self.changed(rows), far, 0.0).sum(1)


def nearest_of_line(space: Space, at: Tensor, margin: float, slope: Tensor, wanted: float) -> Tensor:
    """argmin_z Σ |z_j − x_j| / scale_j  such that  margin + slope · (z − at) ≥ wanted, within the ranges.

    Columns with the most slope per scale go first, each as far as needed or allowed: that is the exact solution of
    this linear program. Where it has none, all go as far as they may. Categories stay as they are at `at`.

    at: [columns], where the margin and its slope [columns] were taken.
    """
    moves = space.free & ~space.coded
    x = torch.where(moves, space.x, at)
    need = wanted - margin - float((slope * (x - at))[moves].sum())
    z, enough = x.clone(), 1e-12 * abs(need)
    gain = torch.where(moves, slope.abs() * space.scale, 0.0)
    for j in gain.argsort(descending=True, stable=True).tolist():
        if need <= enough or gain[j] == 0:
            break
        end = space.high[j] if slope[j] > 0 else space.low[j]
        step = min(float((end - x[j]).abs()), need / float(slope[j].abs()))
        z[j] = x[j] + step * slope[j].sign()
        need -= step * float(slope[j].abs())
    return z
