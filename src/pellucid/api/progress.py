"""Progress in rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
"""Called with (rows done, rows expected): first with none done. Where a method goes on as it needs, more are expected
when it does so, and until then it may look as if all were done.
"""


@dataclass(slots=True, eq=False)
class Meter:
    """Progress in rows over all waves; the images that are still to come are taken to be like those at hand."""

    progress: Progress
    images: int | None
    """How many there are; None where nobody can know."""
    seen: int = 0
    rows: int = 0

    def watch(self, total: int, images: int) -> Callable[[int, int], None]:
        """For one wave, which will take `total` rows, or more where a round turns out to ask for more."""
        self.seen += images
        later = round(total / images * (0 if self.images is None else max(0, self.images - self.seen)))
        expected = self.rows + total
        if not self.rows:
            self.progress(0, expected + later)

        def counted(rows: int, coming: int) -> None:
            nonlocal expected
            self.rows += rows
            expected = max(expected, self.rows + coming)
            self.progress(self.rows, expected + later)

        return counted
