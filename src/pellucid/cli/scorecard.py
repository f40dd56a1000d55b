"""`pellucid scorecard`: which method should I believe for this model?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import PARTLY, Verb
from pellucid.cli.files import free
from pellucid.cli.inputs import given, refuse_missing
from pellucid.cli.job import chosen
from pellucid.cli.model import load_model
from pellucid.cli.request import Setting, judging_options, one_model, place_options
from pellucid.cli.talk import Talk, progress, talk_options

if TYPE_CHECKING:
    from pellucid.core.scorecard import Scorecard

EXAMPLES = (
    "pellucid scorecard -o scorecard.html",
    "pellucid scorecard timm:resnet18 photos/ -m grad_cam,layer_cam,gradient -o out",
    "pellucid scorecard photos/ --metric insertion_deletion --no-sanity --json",
)
PAGE, NUMBERS, PICTURE = "scorecard.html", "scorecard.json", "scorecard.png"
ENDINGS = (".html", ".json", ".png", ".svg")


@click.command("scorecard", cls=Verb, examples=EXAMPLES)
@talk_options
@judging_options("ten of all families that cost little")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric, a list or a family; may be repeated. Default: insertion − deletion and fidelity correlation, which "
    "decide; avg-sensitivity and sparseness.",
)
@click.option("--no-controls", "controls", flag_value=False, default=True, help="Without maps that know nothing.")
@click.option("--no-sanity", "sanity", flag_value=False, default=True, help="Without the sanity tests.")
@click.option(
    "--again",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Photos on which methods are asked again, for sanity and robustness.",
)
@place_options(
    "A folder for page, numbers and picture, or one file: .html, .json, .png, .svg. Default: nothing is written."
)
@click.pass_context
def command(
    ctx: click.Context,
    talk: Talk,
    words: tuple[str, ...],
    named: str | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    settings: tuple[str, ...],
    place: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Tell which method to believe for a model.

    Methods × metrics over photos, sanity tests, and a recommendation with its reasons and its doubt.

    INPUT are pictures, folders, texts or rows of the kind that matters, as for `explain`, eight or more. Without any,
    four photos of scikit-image and a part of each are taken. Takes minutes; fewer than six can show no difference.
    """
    name, inputs = one_model(words, named)
    files = free(place, (PAGE, NUMBERS, PICTURE), ENDINGS, overwrite)
    made = chosen(methods, [Setting.read(one) for one in settings]) if methods else None
    refuse_missing(inputs)
    handle = load_model(name)
    import pellucid
    from pellucid import registry

    wanted = registry.make_metrics(",".join(metrics)) if metrics else None
    failed: list[str] = []
    if inputs:
        found = given(inputs, [handle])
        photos = found.each if found.what == "row" else list(found.each)
        failed = [" ".join(str(why).split()) for why in found.failed]
        for why in failed:
            talk.warn(text.clean(why))
    else:
        from pellucid.zoo.samples import eight_photos

        photos = list(eight_photos())
        talk.note("no photos given: four of scikit-image, and a part of each")
    with progress(talk) as shown:
        card = pellucid.scorecard(handle, photos, made, metrics=wanted, progress=shown, **options)
    talk.say(str(card))
    written = _write(card, files)
    talk.say()
    talk.say(f"written: {', '.join(map(str, written))}" if written else text.quiet("nothing written: -o FOLDER"))
    talk.document({**card.document(), "failed": failed, "written": [str(one) for one in written]})
    if failed:
        ctx.exit(PARTLY)


def _write(card: Scorecard, files: tuple[Path, ...]) -> list[Path]:
    from pellucid import report
    from pellucid.views.pareto import pareto

    for one in files:
        os.makedirs(one.parent, exist_ok=True)
        if one.suffix.lower() == ".html":
            report(card, one, overwrite=True)
        elif one.suffix.lower() == ".json":
            card.save(one, overwrite=True)
        else:
            pareto(card).save(one, overwrite=True)
    return list(files)
