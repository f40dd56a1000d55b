"""`pellucid sanity`: would the method tell a trained model from a random one?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import FAILED, PARTLY, Verb
from pellucid.cli.files import free
from pellucid.cli.inputs import given, refuse_missing
from pellucid.cli.job import chosen
from pellucid.cli.model import load_model
from pellucid.cli.request import Setting, judging_options, one_model, place_options
from pellucid.cli.talk import Talk, finite, progress, talk_options

if TYPE_CHECKING:
    from pellucid.core.sanity import Sanity, Verdict

EXAMPLES = (
    "pellucid sanity cat.png dog.png -m gradient,guided_backprop,grad_cam",
    "pellucid sanity timm:resnet18 photos/ -m lrp --test randomised_weights --steps 8 -o out",
    "pellucid sanity mypackage.models:make photos/ -m smooth_grad --strict   in continuous integration",
)
PAGE, NUMBERS = "sanity.html", "sanity.json"
MARKS = {
    "passed": "✓ passed",
    "failed": "✗ failed",
    "unclear": "? within a standard error of the limit",
    "told": "· told, without a limit",
    "none": "– no value",
}


@click.command("sanity", cls=Verb, examples=EXAMPLES)
@talk_options
@judging_options("those of `explain`")
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="NAME",
    help="randomised_weights, other_class, shifted_input, other_seed, other_methods, or a list; may be repeated. "
    "Default: all that the model allows.",
)
@click.option("--steps", type=click.IntRange(1), default=5, show_default=True, help="Of the cascade of layers.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the weights that are redrawn.")
@click.option("-t", "--target", metavar="CLASS", help="Class name or number. Default: the top class of each input.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a method fails a test.")
@place_options("A folder for page and numbers, or one file: .html, .json. Default: nothing is written.")
@click.pass_context
def command(
    ctx: click.Context,
    talk: Talk,
    words: tuple[str, ...],
    named: str | None,
    methods: tuple[str, ...],
    tests: tuple[str, ...],
    settings: tuple[str, ...],
    strict: bool,
    place: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Tell whether methods depend on the model at all.

    Weights redrawn from the output down, another class, a shifted input, another seed: every method gets a verdict.

    INPUT are pictures, folders, texts or rows, as for `explain`; ten say more than one. Without any, four photos of
    scikit-image are taken. Every method is explained again some eight times, those that draw twelve times.
    """
    name, inputs = one_model(words, named)
    files = free(place, (PAGE, NUMBERS), (".html", ".json"), overwrite)
    made = chosen(methods, [Setting.read(one) for one in settings]) if methods else None
    if settings and made is None:
        raise click.UsageError("--param without --method: say of which methods.")
    refuse_missing(inputs)
    asked = _tests(tests)
    handle = load_model(name)
    import pellucid
    from pellucid import api

    photos, failed = _inputs(inputs, handle, talk)
    with progress(talk) as shown:
        sane = pellucid.sanity(handle, photos, made or api.DEFAULT, tests=asked, progress=shown, **options)
    talk.say(told(sane))
    for one in files:
        _write(sane, one)
    talk.say()
    talk.say(f"written: {', '.join(map(str, files))}" if files else text.quiet("nothing written: -o FOLDER"))
    talk.document({**document(sane), "failed": failed, "written": [str(one) for one in files]})
    if strict and sane.flagged:
        ctx.exit(FAILED)
    if failed:
        ctx.exit(PARTLY)


def _tests(words: tuple[str, ...]) -> list[str] | None:
    """Names of the tests, which may be written with - or _. Raises ParameterError for unknown ones, by itself later."""
    named = [part.strip() for word in words for part in word.split(",") if part.strip()]
    from pellucid.core.sanity import TESTS

    spaced = {t.name.replace(" ", "_"): t.name for t in TESTS}
    return [spaced.get(one.replace("-", "_").replace(" ", "_"), one) for one in named] or None


def _inputs(words: tuple[str, ...], handle: Any, talk: Talk) -> tuple[Any, list[str]]:
    """What is looked at, more than once, and why some could not be read."""
    if not words:
        from pellucid.zoo.samples import eight_photos

        talk.note("no photos given: four of scikit-image")
        return list(eight_photos()[:4]), []
    found = given(words, [handle])
    listed = found.each if found.what == "row" else list(found.each)
    failed = [" ".join(str(why).split()) for why in found.failed]
    for why in failed:
        talk.warn(text.clean(why))
    return listed, failed


def told(sane: Sanity) -> str:
    """The table, what the marks mean, and a sentence on all that failed or has no value."""
    table, _, rest = str(sane).partition("\n\n")
    shown = [MARKS[state] for state in MARKS if any(v.state == state for v in sane)]
    lines = [table, "", text.quiet("; ".join(shown))]
    lines += [text.wrap(text.clean(line), "  ", text.bad("✗") + " ") for line in _sentences(rest)]
    return "\n".join([*lines, *(text.wrap(text.clean(line), "  ", "– ") for line in _silent(sane))])


def _sentences(rest: str) -> list[str]:
    return [line.removeprefix("✗ ") for line in rest.splitlines()]


def _silent(sane: Sanity) -> list[str]:
    """Which tests say nothing, of whom, and why; methods with one reason together."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for v in sane:
        if v.state == "none":
            found.setdefault((v.test, v.says), []).append(v)
    return [f"{test}: {why} ({', '.join(v.title for v in them)})" for (test, why), them in found.items()]


def document(sane: Sanity) -> dict[str, Any]:
    """The verdicts as data."""
    first = sane.measurements[0]
    return {
        "schema": 1,
        "model": first.model.name,
        "inputs": list(first.images),
        "flagged": list(sane.flagged),
        "verdicts": sane.document(),
    }


def _write(sane: Sanity, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".json":
        path.write_text(json.dumps(finite(document(sane)), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    from pellucid.views.report import write_report

    name = sane.measurements[0].model.name
    write_report(sane.explanations, path, title=f"Would these methods tell {name} from a random model?", overwrite=True)
