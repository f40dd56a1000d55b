"""Progress of rows: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import TextIO

import click

from pellucid.cli.text import bar

LOG_EVERY = 5.0
"""Seconds between lines off a terminal."""
DRAW_EVERY = 0.1
"""Seconds between two states of a bar."""
WIDEST = 78


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
    """One line of a terminal that is drawn over and over, and in the end is gone."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal
        self.pace, self.drawn, self.at = Pace(), "", float("-inf")

    def __call__(self, done: int, total: int) -> None:
        self.pace.see(done, total, now := time.monotonic())
        if now - self.at >= DRAW_EVERY or (done >= total and not self.pace.open):
            self.at = now
            self._draw(line(self.pace, min(WIDEST, shutil.get_terminal_size().columns - 1)))

    def close(self) -> None:
        """Leave an empty line behind, for what is written next."""
        if self.drawn:
            self._draw("")
            click.echo("\r", nl=False, file=self.terminal)

    def _draw(self, text: str) -> None:
        click.echo("\r" + text.ljust(len(self.drawn)), nl=False, file=self.terminal)
        self.drawn = text


def line(pace: Pace, room: int) -> str:
    """A bar with its numbers in `room` columns; of the numbers alone, what fits into less."""
    if pace.open:
        return f"  {pace.done} rows, and more as they are needed"[:room]
    part = pace.done / max(pace.total, 1)
    left = "" if pace.left is None else f", {clock(pace.left)} left"
    total = str(pace.total)
    before, after = f"{int(100 * part):5d} %", f"{pace.done:>{len(total)}} of {total} rows{left}"
    wide = room - len(before) - len(after.ljust(2 * len(total) + len(" of  rows, 00:00 left"))) - 4
    middle = f" |{bar(part, wide).ljust(wide)}| " if wide >= 4 else "  "
    return (before + middle + after)[:room]


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


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
