"""`pellucid diff`: do two saved runs say the same?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pellucid.cli import text
from pellucid.cli.app import FAILED, Verb
from pellucid.cli.talk import Talk, json_option
from pellucid.core.difference import Differences

EXAMPLES = (
    "pellucid diff before/ after/                            folders of explain -o, or explain(save=...)",
    "pellucid diff old.safetensors new.safetensors --correlation 0.9 --distance 0.3",
)


@click.command("diff", cls=Verb, examples=EXAMPLES)
@click.argument("a", metavar="RUN_A")
@click.argument("b", metavar="RUN_B")
@click.option("--correlation", type=float, default=0.99, show_default=True, help="Rank correlation, at least.")
@click.option("--overlap", type=float, default=0.9, show_default=True, help="Overlap of the highest places, at least.")
@click.option("--distance", type=float, default=0.05, show_default=True, help="Relative distance, at most.")
@click.option("--level", type=float, default=0.05, show_default=True, help="The highest places, as a share of all.")
@click.option("--strict", is_flag=True, help="Another model, other parameters, or missing entries fail too.")
@click.option("--limit", type=click.IntRange(1), default=30, show_default=True, metavar="N", help="At most N lines.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    talk: Talk,
    a: str,
    b: str,
    correlation: float,
    overlap: float,
    distance: float,
    level: float,
    strict: bool,
    limit: int,
) -> None:
    """Compare two saved runs.

    Image by image and method by method. Exit code 1 where maps are further apart than the tolerances, a target changed,
    or a check turned red.
    """
    import pellucid

    found = pellucid.diff(
        _place(a), _place(b), correlation=correlation, overlap=overlap, distance=distance, level=level, strict=strict
    )
    talk.say(told(found, limit))
    talk.document({"schema": 1, "ok": found.ok, **asdict(found)})
    if not found.ok:
        ctx.exit(FAILED)


def _place(given: str) -> Path:
    """A file or folder; the numbers in a folder that `explain -o` wrote."""
    from pellucid.cli.files import STORE

    path = Path(given).expanduser()
    return path / STORE if (path / STORE).is_file() else path


def told(found: Differences, limit: int) -> str:
    """The table, the worst first, and what can be said of the whole."""
    worst = sorted(found.rows, key=lambda row: (not row.beyond, row.correlation))[:limit]
    rows = [
        (
            "✗" if row.beyond else "✓",
            f"{row.correlation:.3f}",
            f"{row.overlap:.2f}",
            f"{row.distance:.2g}",
            row.image,
            row.method,
            row.target,
        )
        for row in worst
    ]
    heads = ("", "RANKS", "TOP", "DISTANCE", "IMAGE", "METHOD", "TARGET")
    lines = [text.table(rows, heads, indent="", right=" >>>")] if rows else []
    lines += [text.wrap(text.clean(f"✗ {r.image}, {r.method}: {why}"), "  ") for r in worst for why in r.beyond]
    if len(found) > limit:
        lines.append(text.quiet(f"… and {len(found) - limit} more (--limit {len(found)} lists all)."))
    changed = dict.fromkeys(said for row in found for said in row.changed)
    lines += ["", *(text.clean(f"changed: {said}") for said in list(changed)[:10])]
    return "\n".join([*lines, *(text.wrap(text.clean(fact)) for fact in found.facts())])
