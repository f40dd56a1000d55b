"""`pellucid audit`: what a method with rules did at every operator of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.job import look_up
from pellucid.cli.request import Request, request_options
from pellucid.cli.talk import Talk, talk_options

if TYPE_CHECKING:
    from pellucid.propagation import Audit, Entry

EXAMPLES = (
    "pellucid audit cat.png                          relevance, operator by operator",
    "pellucid audit timm:vit_tiny_patch16_224 cat.png --param lrp.composite=cp_lrp",
    "pellucid audit cat.png -m guided_backprop       which rectifiers follow the rule",
)

INDENT = " " * 7


@click.command("audit", cls=Verb, examples=EXAMPLES)
@click.option("--limit", type=click.IntRange(1), metavar="N", default=20, show_default=True, help="At most N calls.")
@talk_options
@request_options
def command(talk: Talk, request: Request, limit: int) -> None:
    """Tell which rule served which operator, and what got lost.

    For one photo or text, one target and one method with rules; LRP if none is named. Where relevance is distributed,
    every operator's sums of what came in, went out, and stayed at biases and constants are listed, the worst leaks
    first.
    """
    job = look_up(replace(request, methods=request.methods or ("lrp",)), talk)
    if len(job.models) != 1 or len(job.methods) != 1:
        raise click.UsageError("an audit is of one model and one method.")
    import pellucid

    options = {name: value for name, value in job.options.items() if name != "top_k"}
    if job.options["top_k"] not in (None, 1):
        raise click.UsageError("an audit is of one target: --top-k has no meaning here.")
    found = pellucid.audit(job.models[0], job.listed, job.methods[0], **options)
    talk.say(told(found, limit))
    talk.document({"schema": 1, "model": job.models[0].name, **document(found)})


def told(audit: Audit, limit: int) -> str:
    """The table, and the sums below it."""
    listed = (audit.worst if audit.full else audit.entries)[:limit]
    numbers = {id(entry): str(i) for i, entry in enumerate(audit.entries, 1)}
    short = [name.removeprefix("relevance ").removeprefix("to ").upper() for name in audit.columns]
    counted = [(numbers[id(e)], *_last_first(audit.counted(e))) for e in listed]
    left = len(audit) - len(listed)
    more = [text.quiet(f"… and {left} more calls (--limit {len(audit)} lists all).")] if left else []
    return "\n".join(
        [
            _table(("", *_last_first(short)), counted, listed, right=">" * (1 + len(short) * audit.full)),
            *more,
            "",
            *map(text.wrap, audit.sums()),
        ]
    )


def _table(heads: Sequence[str], counted: Sequence[Sequence[str]], listed: Sequence[Entry], right: str) -> str:
    """A line for each call; where the terminal is too narrow for it, a second one says what was called, and where."""
    rows = [(*row, e.layer or "(model)", e.operator, e.rule) for row, e in zip(counted, listed, strict=True)]
    if text.fits(rows, every := (*heads, "LAYER", "OPERATOR", "RULE")):
        return text.table(rows, every, indent="", right=right)
    head, *lines = text.table([(*row[:-3], row[-1]) for row in rows], (*heads, "RULE"), "", right).splitlines()
    room = text.width() - len(INDENT)
    where = [INDENT + text.fit(text.clean(f"{operator} in {layer}"), room) for *_, layer, operator, _ in rows]
    return "\n".join([head, *(line for pair in zip(lines, where, strict=True) for line in pair)])


def _last_first(cells: Sequence[str]) -> tuple[str, ...]:
    """The leak stands first, where a narrow terminal does not cut it off."""
    return (*cells[-1:], *cells[:-1])


def document(audit: Audit) -> dict[str, Any]:
    """The same as numbers, in execution order."""
    return {
        "rules": audit.rules,
        "relevance_at_output": audit.started,
        "relevance_at_input": audit.arrived,
        "relevance_at_constants": audit.to_constants if audit.full else None,
        "leaked": audit.leaked if audit.full else None,
        "calls": [_call(entry) for entry in audit],
    }


def _call(entry: Entry) -> dict[str, Any]:
    return {
        "operator": entry.operator,
        "kind": entry.kind.value,
        "layer": entry.layer,
        "call": entry.call,
        "rule": entry.rule,
        "runs": entry.runs,
        "relevance_in": entry.relevance_in,
        "relevance_out": entry.relevance_out,
        "to_constants": entry.to_constants,
        "leak": entry.leak,
    }
