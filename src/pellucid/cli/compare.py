"""`pellucid compare`: the same photos or texts through several models."""

from __future__ import annotations

import click

from pellucid.cli.app import Verb
from pellucid.cli.explain import PLACE, finish
from pellucid.cli.files import goal
from pellucid.cli.job import look_up
from pellucid.cli.request import Request, place_options, request_options
from pellucid.cli.talk import Talk, progress, talk_options

EXAMPLES = ("pellucid compare -M efficientnet_lite0 -M timm:resnet18 cat.png -m grad_cam -o out",)


@click.command("compare", cls=Verb, examples=EXAMPLES)
@talk_options
@request_options
@place_options(PLACE)
def command(talk: Talk, request: Request, place: str | None, overwrite: bool) -> None:
    """Explain photos, or texts, with several models, side by side."""
    if len(request.models) < 2:
        raise click.UsageError("one model alone: give two or more with -M, or use `pellucid explain`.")
    to = goal(place, overwrite)
    job = look_up(request, talk)
    import pellucid

    with progress(talk) as shown:
        got = pellucid.compare(job.models, job.listed, job.methods, **job.options, progress=shown)
    finish(got, job, to, talk, columns="models")
