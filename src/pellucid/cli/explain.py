"""`pellucid explain`: photos or texts, one model, several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from pellucid.cli.app import PARTLY, Verb
from pellucid.cli.files import Goal, goal, write
from pellucid.cli.job import Job, look_up
from pellucid.cli.request import Request, place_options, request_options
from pellucid.cli.talk import Talk, progress, talk_options

if TYPE_CHECKING:
    from pellucid.core.explanation import Explanation


PLACE = (
    "A folder for panel, report, maps and numbers, or one file: .png, .svg (panel), .html (report), "
    ".safetensors (numbers). Default: nothing is written."
)
EXAMPLES = (
    "pellucid explain cat.png -o out",
    'pellucid explain cat.png -m integrated_gradients -m grad_cam -t tabby --versus "Egyptian cat" -o out',
    "pellucid explain timm:resnet50 photos/ -m cams -k 3 --param grad_cam.relu=false -o cams.html",
    "pellucid explain -M mypackage.models:build photo.jpg -m occlusion --json",
    'pellucid explain hf:OWNER/NAME "a joy to watch" review.txt -m input_x_gradient,lrp -o texts',
)


@click.command("explain", cls=Verb, examples=EXAMPLES)
@talk_options
@request_options
@place_options(PLACE)
def command(talk: Talk, request: Request, place: str | None, overwrite: bool) -> None:
    """Explain what a model says about photos, texts or table rows.

    INPUT is a picture file or a folder of them; several are explained together. MODEL may be left out.

    For a model that reads texts (hf: with a text classifier), INPUT is a text in quotes, a .txt file in UTF-8, all of
    which is one text, or a folder of such files. Texts that are too long for the model are cut, and it says where.

    For a model of your own that was wrapped with its table, INPUT is a .csv file with the columns of that table.
    """
    if len(request.models) > 1:
        raise click.UsageError(f"{len(request.models)} models: `pellucid compare` takes several.")
    to = goal(place, overwrite)
    job = look_up(request, talk)
    import pellucid

    with progress(talk) as shown:
        got = pellucid.explain(job.models[0], job.inputs, job.methods, **job.options, progress=shown)
    finish(got, job, to, talk)


def finish(
    got: Sequence[Explanation], job: Job, to: Goal | None, talk: Talk, columns: Literal["methods", "models"] = "methods"
) -> None:
    """Write what was asked for, tell what came out, and end with 3 if some inputs could not be read."""
    from pellucid.cli import tables
    from pellucid.cli.document import document

    talk.say(tables.result(got))
    talk.say()
    talk.say(tables.work(got))
    if chosen := tables.choices(got, job.options.get("budget")):
        talk.say(chosen)
    if talk.verbose:
        talk.say(tables.details(got))
    written = [] if to is None else write(got, to, columns)
    if to is None:
        talk.note("nothing written: -o FOLDER keeps panel, report, maps and numbers")
    else:
        talk.say(tables.files(written))
    talk.document(document(got, written, job.reasons))
    if job.given.failed:
        tell_failed(job, talk)


def tell_failed(job: Job, talk: Talk) -> NoReturn:
    """List the inputs that could not be read, and end with 3."""
    count, what = len(job.given.failed), job.given.what
    talk.warn(f"{count} {what}{'' if count == 1 else 's'} could not be read; the others are done:")
    for why in job.reasons:
        talk.warn(f"  {why}")
    click.get_current_context().exit(PARTLY)
