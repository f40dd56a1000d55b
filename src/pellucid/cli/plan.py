"""`pellucid plan`: what `explain` would do, and `measure`, before it is done."""

from __future__ import annotations

from dataclasses import asdict

import click

from pellucid.cli.app import Verb
from pellucid.cli.explain import tell_failed
from pellucid.cli.job import look_up
from pellucid.cli.measure import metrics_of
from pellucid.cli.request import Request, request_options
from pellucid.cli.talk import Talk, talk_options

EXAMPLES = (
    "pellucid plan photos/ -m sauron",
    "pellucid plan photos/ -m grad_cam,lrp --metric deletion,fidelity_correlation   explained, and measured",
)


@click.command("plan", cls=Verb, examples=EXAMPLES)
@talk_options
@request_options
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric, a list or a family, as for `measure`, whose cost is counted too; may be repeated.",
)
@click.option("--controls", is_flag=True, help="Also of a random map, the photo's edges and its centre.")
def command(talk: Talk, request: Request, metrics: tuple[str, ...], controls: bool) -> None:
    """Tell what `explain` would cost: passes, memory, time.

    Takes the same options. The model runs on one row only, to look at it and to time it. With --metric, `measure` too.
    """
    if len(request.models) > 1:
        raise click.UsageError(f"{len(request.models)} models: plan one at a time.")
    if controls and not metrics:
        raise click.UsageError("--controls without --metric: nothing would be measured.")
    made, request = metrics_of(metrics, request, None) if metrics else (None, request)
    job = look_up(request, talk)
    import pellucid

    found = pellucid.plan(job.models[0], job.inputs, job.methods, metrics=made, controls=controls, **job.options)
    talk.say(str(found))
    talk.document({"schema": 1, **asdict(found), "failed": job.reasons})
    if job.given.failed:
        tell_failed(job, talk)
