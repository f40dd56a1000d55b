"""`pellucid models`: the kinds of names that a model may have."""

from __future__ import annotations

import click

from pellucid.cli import model, text
from pellucid.cli.app import Verb
from pellucid.cli.talk import Talk, json_option


@click.command("models", cls=Verb)
@json_option
def command(talk: Talk) -> None:
    """List what can be written as MODEL."""
    from pellucid import zoo

    places = zoo.names()
    listed = [(p.name, "" if p.installed else f"needs pip install {p.package}", p.about) for p in places]
    listed.append(("package.module:factory", "", "a function of yours; the only form that runs your code"))
    for name, lacks, about in listed:
        talk.say(text.head(name) + (f"  {text.bad(lacks)}" if lacks else ""))
        talk.say(text.wrap(about, "    "))
    talk.say()
    talk.say(text.quiet(f"Without a model, {model.BUNDLED} is taken."))
    talk.document({"schema": 1, "default": model.BUNDLED, "models": [p._asdict() for p in places]})
