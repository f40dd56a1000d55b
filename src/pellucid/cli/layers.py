"""`pellucid layers`: where inside a model can be measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.model import BUNDLED, HELP, load_model
from pellucid.cli.talk import Talk, json_option
from pellucid.core.errors import InputError


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """MODEL as an argument or with -M, and --no-pretrained, for commands that look at one model."""
    for option in (
        click.option("--no-pretrained", "pretrained", flag_value=False, default=True, help="Random weights."),
        click.option("-M", "--model", "named", metavar="MODEL", help=HELP),
    ):
        function = option(function)
    return function


def one_model(word: str | None, named: str | None) -> str:
    """The model that is meant. Raises UsageError for two."""
    if word is not None and named is not None:
        raise click.UsageError("two models: give one, as an argument or with -M.")
    return word or named or BUNDLED


@click.command("layers", cls=Verb)
@click.argument("word", required=False, metavar="[MODEL]")
@model_options
@click.option("--input", "photo", metavar="FILE", help="A photo to look with; for models that take any size.")
@json_option
def command(talk: Talk, word: str | None, named: str | None, pretrained: bool, photo: str | None) -> None:
    """List the layers of a model that can be measured at.

    They have height and width, and stand in running order; the one that `auto` takes is marked.
    """
    import pellucid
    from pellucid.preprocess import reads_texts

    handle = load_model(one_model(word, named), pretrained)
    if reads_texts(handle.preprocess):
        raise InputError(
            f"{handle.name} reads texts, and none of its layers has height and width",
            "a model of pictures",
            "methods with `at` take any layer of it by name: the names of its modules",
        )
    found = pellucid.layers(handle, photo)
    rows = [("→" if chosen else "", name, " × ".join(map(str, shape)), kind) for name, kind, shape, chosen in found]
    talk.say(text.table(rows, ("", "LAYER", "CHANNEL × HEIGHT × WIDTH", "TYPE"), indent=""))
    talk.say()
    talk.say(text.quiet("→ is what --at auto takes. Write --at LAYER, or --param grad_cam.at=LAYER for one method."))
    listed = [{"name": n, "type": k, "shape": list(s), "auto": c} for n, k, s, c in found]
    talk.document({"schema": 1, "model": handle.name, "layers": listed})
