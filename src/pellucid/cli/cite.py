"""`pellucid cite`: BibTeX of what was used."""

from __future__ import annotations

from pathlib import Path

import click

from pellucid.cli.app import Verb
from pellucid.cli.talk import Talk, json_option

EXAMPLES = (
    "pellucid cite out/explanations.safetensors > used.bib",
    "pellucid cite grad_cam integrated_gradients",
)


@click.command("cite", cls=Verb, examples=EXAMPLES)
@click.argument("what", nargs=-1, required=True, metavar="FILE|METHOD...")
@json_option
def command(talk: Talk, what: tuple[str, ...]) -> None:
    """Print BibTeX for what was used.

    For the methods of explanation files, or for methods by name.
    """
    import pellucid
    from pellucid.cli.info import stored

    entries = pellucid.cite([stored(Path(word)) if Path(word).exists() else word for word in what])
    talk.say(entries.rstrip("\n"))
    talk.document({"schema": 1, "bibtex": entries})
