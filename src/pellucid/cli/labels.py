"""`pellucid labels`: the classes that can be asked for."""

from __future__ import annotations

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.layers import model_options
from pellucid.cli.model import BUNDLED, load_model
from pellucid.cli.talk import Talk, json_option
from pellucid.core.errors import InputError, nearest

EXAMPLES = ("pellucid labels cat",)


@click.command("labels", cls=Verb, examples=EXAMPLES)
@click.argument("search", required=False)
@model_options
@json_option
def command(talk: Talk, search: str | None, named: str | None, pretrained: bool) -> None:
    """List the classes of a model, or search them."""
    from pellucid import zoo

    name = named or BUNDLED
    # The bundled model's names are known without its weights.
    names = zoo.imagenet1k() if name == BUNDLED else load_model(name, pretrained).labels.names
    if names is None:
        raise InputError(f"{name} has no class names", "a model with names", "ask for classes by number")
    hits = [(i, one) for i, one in enumerate(names) if search is None or search.lower() in one.lower()]
    if not hits:
        near = nearest(search or "", names)
        raise InputError(f"no class of {name} has {search!r} in its name", do=f"perhaps {near}" if near else "")
    talk.say(text.table([(str(i), one) for i, one in hits], right=">"))
    talk.document({"schema": 1, "model": name, "labels": [{"index": i, "name": one} for i, one in hits]})
