"""`pellucid doctor`: is the model what it should be?"""

from __future__ import annotations

from typing import Any

import click

from pellucid.cli import text
from pellucid.cli.app import FAILED, Verb
from pellucid.cli.inputs import given, refuse_missing
from pellucid.cli.layers import model_options
from pellucid.cli.model import BUNDLED, load_model, looks_like_a_model
from pellucid.cli.talk import Talk, json_option
from pellucid.core.diagnosis import Diagnosis, Finding

EXAMPLES = (
    "pellucid doctor timm:resnet18 cat.png           with a photo whose answer you know",
    "pellucid doctor mypackage.models:make --strict  in continuous integration: warnings fail too",
)


@click.command("doctor", cls=Verb, examples=EXAMPLES)
@click.argument("words", nargs=-1, metavar="[MODEL] [PHOTO]...")
@model_options
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, talk: Talk, words: tuple[str, ...], named: str | None, pretrained: bool, strict: bool
) -> None:
    """Examine a model before it is explained.

    Findings come with their evidence and a fix in one line. With a photo (or text) whose answer you know, preprocessing
    and class names are examined too. Exit code 1 where something is wrong.
    """
    first = words[0] if words and named is None and looks_like_a_model(words[0]) else None
    rest = words[1:] if first is not None else words
    refuse_missing(rest)
    import pellucid

    handle = load_model(first or named or BUNDLED, pretrained)
    found = given(rest, [handle]) if rest else None
    inputs = None if found is None else found.each if found.what == "row" else list(found.each)
    examined = pellucid.doctor(handle, inputs)
    talk.say(told(examined))
    talk.document(document(examined))
    if examined.errors or (strict and examined.warnings):
        ctx.exit(FAILED)


def told(found: Diagnosis) -> str:
    """The findings, for a terminal."""
    lines = [text.head(text.clean(str(found).partition("\n")[0])), ""]
    for one in found:
        mark = text.quiet("note") if one.severity == "note" else text.bad(one.severity)
        lines.append(f"{mark}  {text.clean(one.says)} {text.quiet(f'[{one.name}]')}")
        evidence = [line.strip() for line in str(one).splitlines()[1:]]
        lines += [text.wrap(text.clean(line), "    ") for line in evidence]
    for name, why in found.skipped.items():
        lines.append(text.quiet(f"not examined: {name} ({text.clean(why)})"))
    return "\n".join(lines)


def document(found: Diagnosis) -> dict[str, Any]:
    """The same as data."""
    return {
        "schema": 1,
        "model": found.model,
        "errors": len(found.errors),
        "warnings": len(found.warnings),
        "findings": [_finding(one) for one in found],
        "examined": list(found.looked),
        "not_examined": dict(found.skipped),
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name,
        "severity": one.severity,
        "says": one.says,
        "evidence": dict(one.evidence),
        "fix": one.fix,
    }
