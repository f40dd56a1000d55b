"""The cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.regions.spelled import Spelled, counts


@dataclass(frozen=True, slots=True)
class Cells(Spelled):
    """A grid of rows × columns rectangles, as equal as whole pixels allow, numbered line by line.

    columns  None for as many as rows
    """

    rows: int = 7
    columns: int | None = None

    def __post_init__(self) -> None:
        counts(rows=self.rows, columns=self.rows if self.columns is None else self.columns)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Raises ParameterError for more rows or columns than pixels."""
        height, width = pixels.shape[-2:]
        rows, columns = self.rows, self.rows if self.columns is None else self.columns
        if rows > height or columns > width:
            raise ParameterError(f"{rows} × {columns} cells of {height} × {width} pixels", "no more cells than pixels")
        down, across = torch.arange(height) * rows // height, torch.arange(width) * columns // width
        return (down[:, None] * columns + across).expand(len(pixels), height, width)
