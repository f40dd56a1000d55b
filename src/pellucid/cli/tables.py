"""Explanations in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pellucid.api.budget import KEPT
from pellucid.cli import text
from pellucid.core.explanation import Check, Explanation, Prediction
from pellucid.views.grid import variants
from pellucid.views.words import checked, number, plural, what

MOST_IMAGES = 8
FLOOR = 0.001
"""Classes below this probability are left out of a list of the best."""


def result(explanations: Sequence[Explanation]) -> str:
    """Image by image: what the models predict, and which methods answered, with their checks."""
    titled = list(zip(explanations, variants(explanations, lambda e: e.title), strict=True))
    images = list(dict.fromkeys(name for e in explanations for name in e.inputs.name))
    blocks = ["\n".join(_image(name, _about(titled, name))) for name in images[:MOST_IMAGES]]
    if len(images) > MOST_IMAGES:
        blocks.append(f"… and {plural(len(images) - MOST_IMAGES, f'more {what(explanations)}')} (--json lists all).")
    return "\n\n".join([*blocks, *_footnotes(explanations)])


def _about(titled: list[tuple[Explanation, str]], image: str) -> list[tuple[Explanation, str]]:
    """The rows of one image."""
    return [(e[e.inputs.name.index(image)], title) for e, title in titled if image in e.inputs.name]


def _image(name: str, rows: list[tuple[Explanation, str]]) -> Iterator[str]:
    models = {e.record.model.name: e.prediction for e, _ in rows}
    yield text.head(text.clean(name))
    for model, prediction in models.items():
        if len(models) > 1:
            yield f"  {text.clean(model)}"
        yield predicted(prediction, "    " if len(models) > 1 else "  ")
    size = max(len(title) for _, title in rows)
    room = max(len(_explained(e)) for e, _ in rows)
    groups: dict[tuple[str, str], list[tuple[Explanation, str]]] = {}
    for e, title in rows:
        groups.setdefault((e.record.model.name, e.target.name[0]), []).append((e, title))
    for (model, target), members in groups.items():
        yield ""
        yield (
            "  why " + text.head(text.clean(target)) + (f"  {text.quiet(text.clean(model))}" if len(models) > 1 else "")
        )
        for e, title in members:
            yield f"    {text.clean(title).ljust(size)}  {_explained(e).ljust(room)}  {_checks(e)}"


def _explained(row: Explanation) -> str:
    return f"{row.target.output.replace('_', ' ')} {number(row.target.score[0])}"


def predicted(prediction: Prediction, indent: str = "  ", row: int = 0, most: int = 5) -> str:
    """The best classes of one row, with probabilities and bars."""
    listed = list(zip(prediction.name[row], prediction.probability[row], strict=True))[:most]
    kept = [(n, p) for i, (n, p) in enumerate(listed) if i == 0 or not prediction.is_probability or p >= FLOOR]
    names = [text.fit(text.clean(name), 32) for name, _ in kept]
    size = max(map(len, names))
    if not prediction.is_probability:
        return "\n".join(f"{indent}{n.ljust(size)}  {number(p)}" for n, (_, p) in zip(names, kept, strict=True))
    return "\n".join(
        f"{indent}{n.ljust(size)}  {100 * p:5.1f} %  {text.bar(p, 24)}".rstrip()
        for n, (_, p) in zip(names, kept, strict=True)
    )


def _checks(row: Explanation) -> str:
    """The verdict of the checks, and the numbers that are not judged."""
    red, judged = [c for c in row.checks if not c.passed[0]], sum(c.judged for c in row.checks)
    told = [f"{c.name.replace('_', ' ')} {checked(c)}" for c in row.checks if not c.judged]
    if red:
        verdict = text.bad("✗") + " " + "; ".join(f"{c.name.replace('_', ' ')} {_measured(c)}" for c in red)
    else:
        verdict = text.good("✓") + f" {plural(judged, 'check')}"
    return "; ".join([verdict, *map(text.quiet, told)])


def _measured(check: Check) -> str:
    value, comma, limit = checked(check).partition(", limit ")
    return f"{value} (limit {limit})" if comma else value


def _footnotes(explanations: Sequence[Explanation]) -> Iterator[str]:
    """What the failed checks measure, each once."""
    red = {c.name: c.says for e in explanations for c in e.checks if not all(c.passed)}
    if red:
        said = [f"✗ {name.replace('_', ' ')}: {text.clean(says)}" for name, says in red.items()]
        yield "\n".join(text.wrap(line, "    ", "  ") for line in said)


def work(explanations: Sequence[Explanation]) -> str:
    """What it cost, in one line per model."""
    once = {e.record.model.name: e for e in explanations}
    many = len(once) > 1
    return "\n".join(
        text.wrap(
            (f"{text.clean(name)}: " if many else "")
            + f"{plural(e.record.passes.forward, 'row')} forward, {e.record.passes.backward} backward, "
            + f"{e.record.seconds:.1f} s"
        )
        for name, e in once.items()
    )


def choices(explanations: Sequence[Explanation], budget: str | None) -> str:
    """What became of samples and steps for the sake of a budget or a tolerance, each once; empty where neither is.

    budget  the time allowed, as it was written
    """
    titled = list(zip(explanations, variants(explanations, lambda e: e.title), strict=True))
    kept = [(title, line) for e, title in titled for line in e.record.decisions if line.startswith(KEPT)]
    if budget is not None and not kept:
        kept = [("nothing had to be lowered", f"{KEPT} {budget}")]
    kept += [(title, line) for e, title in titled if (line := _taken(e))]
    return "\n".join(text.wrap(text.clean(f"{title}, {line}"), "    ", "  ") for title, line in dict.fromkeys(kept))


def _taken(e: Explanation) -> str:
    """How many samples or steps a method that adapts took."""
    asked = [f"a tolerance of {value:g}" for value in (e.record.params.get("tolerance"),) if value is not None]
    asked += [f"the {value} that count most" for value in (e.record.params.get("until_top"),) if value is not None]
    found = next((name for name in ("samples", "steps") if name in e.extras), None)
    if not asked or found is None:
        return ""
    low, high = (int(one) for one in e.extras[found].aminmax())
    return f"for {' or '.join(asked)}: {low if low == high else f'{low} to {high}'} {found}"


def details(explanations: Sequence[Explanation]) -> str:
    """What was decided on the way, each once."""
    said = [f"{e.record.model.name}: {e.record.model.evaluator}" for e in explanations]
    said += [line for e in explanations for line in e.record.decisions if not line.startswith(KEPT)]
    said += [f"{n}: {note}" for e in explanations for n, notes in zip(e.inputs.name, e.inputs.notes) for note in notes]  # noqa: B905
    return "\n".join(text.wrap(text.clean(line), "    ", "  - ") for line in dict.fromkeys(said))


def files(written: Sequence[Path]) -> str:
    """The files, with the maps counted by their folder."""
    maps = [p for p in written if p.parent.name == "maps"]
    lines = [f"  {text.clean(str(p))}" for p in written if p not in maps]
    if maps:
        lines.append(f"  {text.clean(str(maps[0].parent))}/ ({len(maps)} PNG {'file' if len(maps) == 1 else 'files'})")
    return click.style("wrote", bold=True) + "\n" + "\n".join(lines)
