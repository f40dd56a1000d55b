"""`pellucid surrogate`: a model that one can read, fitted to what another says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.files import free
from pellucid.cli.inputs import given, refuse_missing
from pellucid.cli.model import load_model
from pellucid.cli.request import one_model, place_options
from pellucid.cli.talk import Talk, talk_options
from pellucid.core.errors import InputError

if TYPE_CHECKING:
    from pellucid.studies.surrogate import Surrogate

EXAMPLES = (
    "pellucid surrogate mypackage.models:make table.csv",
    "pellucid surrogate mypackage.models:make table.csv --kind linear --features 8 -t yes -o out.png",
    "pellucid surrogate cat.png --kind linear   of the regions of one picture",
)
DRAWING = "surrogate.png"


@click.command("surrogate", cls=Verb, examples=EXAMPLES)
@talk_options
@click.argument("words", nargs=-1, metavar="[MODEL] INPUT...")
@click.option("-M", "--model", "named", metavar="MODEL", help="As for `explain`; for a table a function of your own.")
@click.option("--kind", type=click.Choice(("tree", "linear")), default="tree", show_default=True)
@click.option("-t", "--target", metavar="CLASS", help="Class name or number. Default: which class the model says.")
@click.option("--depth", type=click.IntRange(1), default=3, show_default=True, help="Questions of a tree, at most.")
@click.option("--features", type=click.IntRange(1), default=5, show_default=True, help="Of a linear model, at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the rows that are held out.")
@place_options("A folder, or a file: .png, .svg, .html.")
def command(
    talk: Talk,
    words: tuple[str, ...],
    named: str | None,
    target: str | None,
    place: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Fit a small tree, or a few weights, to what a model says.

    INPUT are the rows of a table, .csv with a line of names, or one picture, whose regions are then hidden and shown.
    How far the two agree is measured on what was held out; where that is little, the tree is a story.
    """
    name, inputs = one_model(words, named)
    if not inputs:
        raise click.UsageError("nothing to fit to: give a table, rows.csv, or one picture.")
    files = free(place, (DRAWING,), (".png", ".svg", ".html"), overwrite)
    refuse_missing(inputs)
    handle = load_model(name)
    import pellucid

    found = given(inputs, [handle])
    each = found.each if found.what == "row" else list(found.each)
    if found.what != "row" and len(each) != 1:
        raise InputError(f"{len(each)} inputs of {handle.name}", "rows of a table, or one picture")
    number = int(target) if target is not None and target.isdigit() else target
    made = pellucid.surrogate(handle, each if found.what == "row" else each[0], target=number, **options)
    talk.say(text.clean(str(made)))
    for one in files:
        one.parent.mkdir(parents=True, exist_ok=True)
        pellucid.views.surrogate(made).save(one, overwrite=True)
    talk.say()
    talk.say(f"written: {', '.join(map(str, files))}" if files else text.quiet("nothing written: -o FOLDER"))
    talk.document(document(made, [str(one) for one in files]))


def document(made: Surrogate, written: list[str]) -> dict[str, Any]:
    """The surrogate in numbers."""
    fidelity = {name: getattr(made.fidelity, name) for name in made.fidelity.__dataclass_fields__}
    return {
        "kind": made.kind,
        "model": made.model,
        "answers": list(made.answers),
        "terms": [term.name for term in made.terms],
        "fidelity": fidelity,
        "rules": str(made),
        "seed": made.seed,
        "written": written,
    }
