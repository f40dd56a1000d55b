"""Rows that are no pictures: what a model's preprocessing is asked for, where there are no pixels."""

from __future__ import annotations

from torch import Tensor


class NoPixels:
    """Rows have no unit but their own."""

    __slots__ = ()

    @property
    def linked(self) -> bool:
        """Whether rows are affine in pixels."""
        return False

    @property
    def size(self) -> None:
        """Height and width of a row."""
        return

    def to_rows(self, pixels: Tensor) -> Tensor:
        return pixels

    def to_pixels(self, rows: Tensor) -> Tensor:
        return rows
