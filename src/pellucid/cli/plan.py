"""`pellucid plan`: what `explain` would do, before it is done."""

from __future__ import annotations

from dataclasses import asdict

import click

from pellucid.cli.app import Verb
from pellucid.cli.explain import tell_failed
from pellucid.cli.job import look_up
from pellucid.cli.request import Request, request_options
from pellucid.cli.talk import Talk, talk_options

EXAMPLES = ("pellucid plan photos/ -m sauron",)


@click.command("plan", cls=Verb, examples=EXAMPLES)
@talk_options
@request_options
def command(talk: Talk, request: Request) -> None:
    """Tell what `explain` would cost: passes, memory, time.

    Takes the same options. The model runs on one row only, to look at it and to time it.
    """
    if len(request.models) > 1:
        raise click.UsageError(f"{len(request.models)} models: plan one at a time.")
    job = look_up(request, talk)
    import pellucid

    found = pellucid.plan(job.models[0], job.inputs, job.methods, **job.options)
    talk.say(str(found))
    talk.document({"schema": 1, **asdict(found), "failed": job.reasons})
    if job.given.failed:
        tell_failed(job, talk)
