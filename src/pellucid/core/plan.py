"""What would be done, before it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.core.explanation import Passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Work that a call would do. `print(plan)` shows it.

    least and most are equal unless a method adapts to what it finds.
    """

    images: int
    """How many photos, rows or texts."""
    methods: tuple[str, ...]
    least: Passes
    most: Passes
    unshared: Passes
    """The same methods and metrics, one after the other."""
    groups: tuple[str, ...]
    """One line per group of rows that share their passes."""
    peak_bytes: int
    """Estimated activations at once."""
    seconds: tuple[float, float]
    """Estimated time, from one timed row."""
    verification: int
    """Rows run to look at the model and time it."""
    evaluator: str
    decisions: tuple[str, ...]
    what: str = "image"
    """What they are, in a word."""
    metrics: tuple[str, ...] = ()
    """Those that the explanations are measured with, which is part of the work."""

    def __str__(self) -> str:
        def span(low: float, high: float, show: Callable[[float], str] = "{:.0f}".format) -> str:
            return show(low) if low == high else f"{show(low)} to {show(high)}"

        a, b, u = self.least, self.most, self.unshared
        lines = [
            f"plan for {self.images} {self.what}{'' if self.images == 1 else 's'}: {', '.join(self.methods)}",
            *([f"  measured by      {', '.join(self.metrics)}"] if self.metrics else []),
            f"  rounds           {span(a.rounds, b.rounds)}",
            f"  forward rows     {span(a.forward, b.forward)}   (unshared {u.forward})",
            f"  backward rows    {span(a.backward, b.backward)}   (unshared {u.backward})",
            f"  model calls      {span(a.calls, b.calls)}",
            f"  peak memory      about {self.peak_bytes / 2**20:.0f} MiB of activations",
            f"  time             about {span(*self.seconds, _two)} s",
            f"  evaluated        {self.evaluator}",
            "  shared passes",
        ]
        lines += [f"    {line}" for line in self.groups]
        lines += [f"  decided: {line}" for line in self.decisions]
        return "\n".join(lines)


def _two(seconds: float) -> str:
    """Two digits that count, and no powers of ten: 0.013, 1.3, 130."""
    return f"{float(f'{seconds:.2g}'):g}"
