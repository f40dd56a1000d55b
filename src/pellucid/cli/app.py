"""The program `pellucid`: which commands there are, and how they end."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click

import pellucid
from pellucid.core.errors import PellucidError, nearest

OK, FAILED, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; refused or failed; wrong command line; done but for some inputs; stopped from the keyboard."""

COMMANDS = (
    "explain",
    "compare",
    "plan",
    "audit",
    "measure",
    "sanity",
    "surrogate",
    "scorecard",
    "doctor",
    "diff",
    "methods",
    "models",
    "layers",
    "labels",
    "info",
    "cite",
    "demo",
)
FIRST_STEPS = (
    "pellucid demo                                 a first look, in about a minute",
    "pellucid explain cat.png -m grad_cam -o out   maps, a panel and a report",
    "pellucid methods                              what can be asked",
)


class Verb(click.Command):
    """A command whose foreseen failures are messages: no traceback unless -vv asks for it."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        _examples(formatter, self.examples)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PellucidError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            _failed(ctx, error)
        except Exception as error:
            if not getattr(error, "__notes__", ()):  # nobody foresaw it: all of it is wanted
                raise
            _failed(ctx, error)


def _examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    """Commands to copy, each on one line however long."""
    if lines:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in lines))


def _failed(ctx: click.Context, error: Exception) -> NoReturn:
    if ctx.params.get("verbose", 0) >= 2:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    message = _message(error)
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {message}", err=True)
    if ctx.params.get("as_json"):
        parts = {key: text for key in ("got", "wanted", "do") if (text := getattr(error, key, ""))}
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message, **parts}}, indent=2))
    ctx.exit(FAILED)


def _message(error: Exception) -> str:
    """What an error says; one of the user's model is told with the notes that were put on it."""
    notes: list[str] = getattr(error, "__notes__", [])
    if not notes:
        return str(error)
    return "\n  ".join((f"{'; '.join(notes)}: {type(error).__name__}: {error}", "Do: -vv shows where"))


class Program(click.Group):
    """Imports the module of a command when it is called, and says which command may have been meant."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        _examples(formatter, FIRST_STEPS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return import_module(f"pellucid.cli.{cmd_name}").command if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], COMMANDS)
            raise click.UsageError(f"No command {args[0]!r}." + (f" Perhaps {near}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            verb = next((word for word in args if word in COMMANDS), "")
            found = self.get_command(ctx, verb) if verb else None
            if found and any(error.option_name in p.opts for p in found.params):
                said = f"{error.option_name} belongs behind the command: pellucid {verb} {error.option_name} ..."
                raise click.UsageError(said, ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`pellucid COMMAND --help` tells more. Exit codes: 0 done, 1 refused or failed, 2 wrong command line, "
    "3 done but for inputs that could not be read, 130 interrupted.",
)
@click.version_option(pellucid.__version__, "-V", "--version", message="pellucid %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Why did the model say that, and can the answer be trusted?"""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True


def main() -> None:
    """Entry point of the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter shows a mark in its place
            stream.reconfigure(errors="replace")
    program(prog_name="pellucid")
