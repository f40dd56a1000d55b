"""What a command says, and where: results on stdout; notes, progress and errors on stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from pellucid.cli.pace import meter


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
    shown = meter()
    try:
        yield shown
    finally:
        shown.close()
