"""Progress of rows: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import Any, TextIO

import click

LOG_EVERY = 5.0
"""Seconds between lines off a terminal."""
DRAW_EVERY = 0.1
"""Seconds between two states of a bar."""
WIDEST = 78
KNOWN = "  {desc} |{bar}| {n_fmt} of {total_fmt} rows{postfix}"
OPEN = "  {n_fmt} rows, and more as they are needed"
"""A bar's line, and that of work whose end nobody knows."""


@dataclass(slots=True)
class Pace:
    """How far it is, how fast it went, and whether an end is known.

    first  rows and time at the first call after rows were done: what came before is the model's preparation, and no
           measure of a row
    open   whether more was done after all that was expected had been: how many more, nobody knows
    """

    done: int = 0
    total: int = 0
    now: float = 0.0
    first: tuple[int, float] | None = None
    open: bool = False

    def see(self, done: int, total: int, now: float) -> None:
        """The next state; where less is done than before, something else has begun."""
        if done < self.done:
            self.first, self.open = None, False
        elif 0 < self.total <= self.done < done:
            self.open = True
        if done and self.first is None:
            self.first = done, now
        self.done, self.total, self.now = done, total, now

    @property
    def left(self) -> float | None:
        """Seconds until the end; None as long as nobody can know."""
        if self.first is None or self.open or self.done <= self.first[0]:
            return None
        return (self.now - self.first[1]) / (self.done - self.first[0]) * (self.total - self.done)


class Bar:
    """tqdm's bar, begun anew when something else begins, and gone in the end."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal, self.pace = terminal, Pace()
        self.bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        self.pace.see(done, total, time.monotonic())
        if self.bar is None or done < self.bar.n:
            self.close()
            self.bar = _tqdm(self.terminal, total)
        bar, left = self.bar, self.pace.left
        bar.total, bar.bar_format = total, OPEN if self.pace.open else KNOWN
        bar.set_description_str(f"{int(100 * done / max(total, 1)):3d} %", refresh=False)  # 100 % is the end alone
        bar.set_postfix_str("" if left is None else f"{bar.format_interval(round(left))} left", refresh=False)
        bar.update(done - bar.n)
        if done >= total and not self.pace.open:
            bar.refresh()

    def close(self) -> None:
        """Leave an empty line behind, for what is written next."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _tqdm(terminal: TextIO, total: int) -> Any:
    from tqdm import tqdm

    columns = min(WIDEST, shutil.get_terminal_size().columns - 1)
    return tqdm(
        total=total,
        desc="  0 %",
        file=terminal,
        leave=False,
        ncols=columns,
        mininterval=DRAW_EVERY,
        miniters=1,
        bar_format=KNOWN,
    )


class Lines:
    """Plain lines on stderr, for logs."""

    def __init__(self) -> None:
        self.pace, self.said = Pace(), time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        self.pace.see(done, total, now := time.monotonic())
        left = self.pace.left
        if now - self.said < LOG_EVERY or not (self.pace.open or (left is not None and done < total)):
            return
        self.said = now
        about = "and more as they are needed" if left is None else f"about {left:.0f} s left"
        click.echo(f"{done} rows, {about}" if left is None else f"{done} of {total} rows, {about}", err=True)

    def close(self) -> None:
        """Nothing to tidy."""


def meter() -> Bar | Lines:
    """The one that suits where stderr goes."""
    return Bar(sys.stderr) if sys.stderr.isatty() else Lines()
