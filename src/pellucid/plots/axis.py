"""A horizontal axis: round numbers, hairlines, and where a number lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pellucid.views.cell import LINE, QUIET, SMALL
from pellucid.views.figure import Box, Mark, Text
from pellucid.views.letters import width
from pellucid.views.words import number

ZERO = "#8a949e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Numbers low … high over the pixels left … left + long."""

    low: float
    high: float
    left: float
    long: float

    def __call__(self, value: float) -> float:
        """Where a number lies."""
        return self.left + (value - self.low) / (self.high - self.low) * self.long

    @property
    def ticks(self) -> list[float]:
        """Round numbers between the ends: a step of 1, 2, 2.5 or 5 times a power of ten."""
        wanted = (self.high - self.low) / max(2, self.long / 60)
        power = 10.0 ** math.floor(math.log10(wanted))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= wanted * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def marks(self, top: float, end: float, zero: bool = True, free: Sequence[float] = ()) -> list[Mark]:
        """Hairlines from top to end with numbers below them; a darker one at zero.

        free: where something else stands below the axis; numbers that would touch it are left out.
        """
        marks: list[Mark] = []
        for tick in self.ticks:
            dark = zero and abs(tick) < 1e-12
            marks.append(Box(x=self(tick) - 0.5, y=top, width=1, height=end - top, colour=ZERO if dark else LINE))
            said = number(round(tick, 12))
            if all(abs(self(tick) - self(value)) > width(said, SMALL) / 2 + 5 for value in free):
                marks.append(Text(x=self(tick), y=end + 15, text=said, size=SMALL, colour=QUIET, anchor="m"))
        return marks


def axis_of(values: Iterable[float], left: float, long: float, zero: bool = True) -> Axis:
    """An axis on which all values have a little room, and zero lies if asked."""
    every = [v for v in values if math.isfinite(v)] + ([0.0] if zero else [])
    low, high = min(every, default=0.0), max(every, default=0.0)
    span = (high - low) or abs(high) or 1.0
    pad = 0.06 * span
    return Axis(
        low=low - (0 if zero and low == 0 else pad),
        high=high + (0 if zero and high == 0 else pad) if high > low else low + span,
        left=left,
        long=long,
    )
