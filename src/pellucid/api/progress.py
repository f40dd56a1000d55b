"""Progress in rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
"""Called with (rows done, rows expected)."""


@dataclass(slots=True, eq=False)
class Meter:
    """Progress in rows over all waves; the images that are still to come are taken to be like those at hand."""

    progress: Progress
    images: int | None
    """How many there are; None where nobody can know."""
    seen: int = 0
    rows: int = 0

    def watch(self, total: int, images: int) -> Callable[[int], None]:
        """For one wave, which will take `total` rows."""
        self.seen += images
        later = 0 if self.images is None else max(0, self.images - self.seen)
        expected = self.rows + total

        def counted(rows: int) -> None:
            self.rows += rows
            self.progress(self.rows, max(expected, self.rows) + round(total / images * later))

        return counted
