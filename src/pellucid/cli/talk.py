"""What a command says, and where: results on stdout; notes, progress and errors on stderr."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

LOG_EVERY = 5.0
"""Seconds between progress lines off a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """How much is said, and in which form."""

    quiet: bool = False
    verbose: int = 0
    as_json: bool = False
    progress: bool = True

    def say(self, text: str = "") -> None:
        """For people: on stdout, unless there is a JSON document instead or nothing was wanted."""
        if not self.quiet and not self.as_json:
            click.echo(text)

    def note(self, text: str) -> None:
        """Beside the matter: on stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """What must not be missed: on stderr, whatever was asked for."""
        click.echo(text, err=True)

    def document(self, content: Any) -> None:
        """The one JSON document on stdout, if one was asked for."""
        if self.as_json:
            click.echo(json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False))


def finite(content: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--json, for commands that only look something up; gives `talk`."""

    @wraps(function)
    def talking(*, as_json: bool, **rest: Any) -> Any:
        return function(talk=Talk(as_json=as_json), **rest)

    return _AS_JSON(talking)


def talk_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """-q, -v, --json and --no-progress, for commands that compute; gives `talk`."""

    @wraps(function)
    def talking(*, quiet: bool, verbose: int, as_json: bool, progress: bool, **rest: Any) -> Any:
        return function(talk=Talk(quiet=quiet, verbose=verbose, as_json=as_json, progress=progress), **rest)

    for option in (
        click.option("--no-progress", "progress", flag_value=False, default=True, help="No progress bar or lines."),
        _AS_JSON,
        click.option("-v", "--verbose", count=True, help="Also what was decided; -vv: tracebacks of errors."),
        click.option("-q", "--quiet", is_flag=True, help="Only errors."),
    ):
        talking = option(talking)
    return talking


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, all else on stderr.")


@contextmanager
def progress(talk: Talk) -> Generator[Callable[[int, int], None] | None]:
    """A callback for `progress=`: a bar with the time left on a terminal, a line now and then elsewhere."""
    if talk.quiet or not talk.progress:
        yield None
        return
    shown = _Bar() if sys.stderr.isatty() else _Lines()
    try:
        yield shown
    finally:
        shown.close()


class _Bar:
    """tqdm's bar, begun anew when a further model begins."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None or done < self.bar.n:
            self.close()
            self.bar = _tqdm(total)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _tqdm(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=total,
        file=sys.stderr,
        leave=False,
        ncols=78,
        bar_format="  {percentage:3.0f} % |{bar}| {n_fmt} of {total_fmt} rows, {remaining} left",
    )


class _Lines:
    """Plain lines, for logs."""

    def __init__(self) -> None:
        self.done, self.said = 0, time.monotonic()
        self.first: tuple[int, float] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None or done < self.done:
            self.first = done, now  # what came before is the model's preparation, and no measure of a row
        self.done = done
        rows = done - self.first[0]
        if not rows or now - self.said < LOG_EVERY or done >= total:
            return
        self.said = now
        left = (now - self.first[1]) / rows * (total - done)
        click.echo(f"{done} of {total} rows, about {left:.0f} s left", err=True)

    def close(self) -> None:
        """Nothing to tidy."""
