"""Interleaved timing: every repetition runs all candidates, one after the other, so that noise hits them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of every repetition, per candidate."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, ours: str, theirs: str) -> float:
        """Median over the repetitions of ours / theirs in the same repetition."""
        pairs = zip(self.seconds[ours], self.seconds[theirs], strict=True)
        return statistics.median(a / b for a, b in pairs)


def interleaved(candidates: Mapping[str, Work], *, repeat: int, warm_up: int = 1) -> Timing:
    """Run every candidate `repeat` times in turn, after `warm_up` rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(warm_up + repeat):
        for name, work in candidates.items():
            start = time.perf_counter()
            work()
            if round_number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return Timing({name: tuple(values) for name, values in seconds.items()})
