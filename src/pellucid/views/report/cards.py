"""A card per method: what it means, its equation, its parameters, its limits, and where it comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pellucid.core.explanation import CHANNEL, TOKEN, Check, Explanation, Kind
from pellucid.core.method import CATALOGUE, jsonable
from pellucid.core.words import WORDS
from pellucid.views.drawing import look_of
from pellucid.views.legend import MEANINGS, sentence, shown_as
from pellucid.views.words import number, percent

UNKNOWN = "Its equation is not shown: this method was not loaded when the report was written."

Pieces = tuple[tuple[str, bool], ...]
"""Runs of text; True for a subscript."""

KINDS = {
    Kind.SENSITIVITY: "Sensitivity",
    Kind.CONTRIBUTION: "Contribution",
    Kind.CAM: "Class activation",
    Kind.SPREAD: "Spread",
    Kind.PART: "Part",
}
"""Names of the kinds, for people."""

LIMITS = {
    Kind.SENSITIVITY: "It shows what a small change would do, not what the score rests on: where the model is "
    "saturated, evidence has no slope and stays dark. The numbers do not add up to the score.",
    Kind.CONTRIBUTION: "A share is always a share compared with something absent. Another baseline or fill is another "
    "question and may give another answer.",
    Kind.CAM: "The map lives on the coarse grid of one inner layer and is drawn larger by interpolation: its edges are "
    "not the edges of objects, and other layers may say something else.",
    Kind.SPREAD: "It shows where the answer is unsteady, without a sign: neither for nor against the class.",
    Kind.PART: "It says what is enough, not what is needed: another part may be enough as well.",
}
"""What the numbers of a kind cannot say."""

LIMITS_IN_TEXT = {
    **LIMITS,
    Kind.CAM: "Inside the model tokens mix: a number that stands at a token need not be about that token alone, and "
    "other layers may say something else.",
}
"""The same of texts."""

AXIOMS = {
    "linear": "linear: explaining a weighted sum of scores gives the same weighted sum of answers",
    "completeness": "completeness: the values add up to the difference of scores, up to the gap in the check",
    "conservation": "conservation: relevance is neither made nor lost on its way back",
    "dummy": "dummy: what the score does not depend on gets zero",
    "symmetry": "symmetry: inputs that play the same part get the same value",
    "implementation_invariance": "implementation invariance: equal functions get equal answers, however written",
    "efficiency": "efficiency: the values add up to the score, exactly",
}
"""Properties that a method declares and that are tested, in words."""

CHECKS = {"degenerate": "range of values"}
"""Names of checks that would mislead beside a number."""


def check_title(name: str) -> str:
    """A check's name, for people."""
    return CHECKS.get(name, name.replace("_", " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One parameter with its value."""

    name: str
    value: str
    meaning: str
    unit: str
    default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that is to be known of a method with its parameters."""

    id: str
    title: str
    variant: str
    kind: str
    meaning: str
    colours: str
    equation: Pieces
    source: str
    remarks: tuple[str, ...]
    limits: tuple[str, ...]
    keeps: tuple[str, ...]
    settings: tuple[Setting, ...]
    checks: tuple[tuple[str, str, str], ...]
    cite: tuple[str, ...]


def card(number: int, variant: str, uses: Sequence[Explanation]) -> Card:
    """The card of a method from all its explanations in the report."""
    e = uses[0]
    about, doc = _about(e.record.method), _documented(e.record.method)
    equation, source = doc.head
    return Card(
        id=f"method-{number}",
        title=e.title,
        variant=variant.removeprefix(e.title).lstrip(", "),
        kind=KINDS[e.kind],
        meaning=_sentence(_meaning(e)),
        colours=_sentence(_colours(e).removeprefix(_meaning(e)).lstrip(", ")),
        equation=pieces(equation),
        source=source,
        remarks=doc.remarks,
        limits=((LIMITS_IN_TEXT if TOKEN in e.dims else LIMITS)[e.kind],),
        keeps=() if about is None else tuple(AXIOMS.get(str(k), str(k).replace("_", " ")) for k in sorted(about.keeps)),
        settings=tuple(_setting(e.record.method, name, value, doc.lines) for name, value in e.record.params.items()),
        checks=_checks(uses),
        cite=e.record.cite,
    )


def _about(name: str) -> Any:
    found = CATALOGUE.get(name)
    return None if found is None else found.about


def colours_of(row: Explanation) -> str:
    """What a map shows and what its colours mean, as a sentence."""
    return _sentence(_colours(row))


def _meaning(row: Explanation) -> str:
    return MEANINGS[shown_as(row)][row.kind]


def _colours(row: Explanation) -> str:
    said = sentence(row.kind, look_of(row), [""], shown_as(row), reduced=CHANNEL in row.dims)
    return said.removeprefix(": ")


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return text[:1].upper() + text[1:] + "." if text else ""


@dataclass(frozen=True, slots=True)
class _Doc:
    """A docstring taken apart: equation and source, a line per parameter, everything else."""

    head: tuple[str, str]
    lines: Mapping[str, str]
    remarks: tuple[str, ...]


def _documented(name: str) -> _Doc:
    if name not in CATALOGUE:
        return _Doc(("", ""), {}, (UNKNOWN,))
    known = {f.name for f in fields(CATALOGUE[name])}
    first, _, rest = (inspect.getdoc(CATALOGUE[name]) or "").partition("\n")
    lines: dict[str, str] = {}
    remarks: list[str] = []
    for paragraph in re.split(r"\n\s*\n", rest.strip()):
        if (paragraph.split() or [""])[0] in known and re.match(r"\w+\s{2,}", paragraph):
            lines |= _parameter_lines(paragraph)
        elif kept := re.sub(r"^[\w, ]+ as in \S+\.\s*", "", " ".join(paragraph.split())):
            remarks.append(kept)
    return _Doc(split_equation(first), lines, tuple(remarks))


def _parameter_lines(paragraph: str) -> dict[str, str]:
    out: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        named = re.match(r"(\w+)\s{2,}(.*)", line)
        if named:
            name = named[1]
            out[name] = named[2]
        else:
            out[name] = f"{out.get(name, '')} {line.strip()}".strip()
    return out


def split_equation(line: str) -> tuple[str, str]:
    """`a = b    [Somebody 2017, eq. 1], x in units` into the equation and what is said about it."""
    equation, gap, source = line.partition("    [")
    if not gap:
        return line.strip(), ""
    inside, _, after = source.partition("]")
    return equation.strip(), inside + (f"; {after.lstrip(', ')}" if after.strip(" ,.") else "")


def pieces(equation: str) -> Pieces:
    """Runs of an equation; what follows an underscore is a subscript: `A_k` is A with the index k."""
    parts = re.split(r"_(\w+)", equation)
    return tuple((text, place % 2 == 1) for place, text in enumerate(parts) if text)


def _setting(method: str, name: str, value: object, lines: Mapping[str, str]) -> Setting:
    field = {f.name: f for f in fields(CATALOGUE[method])}.get(name) if method in CATALOGUE else None
    word = WORDS.get(name)
    meaning = (field.metadata.get("says") if field else "") or (word.meaning if word else "")
    return Setting(
        name=name,
        value=written(value),
        meaning=lines.get(name, meaning) if value is None else meaning,
        unit=word.unit if word else "",
        default=field is None or value == jsonable(field.default),
    )


def written(value: object) -> str:
    """A parameter's value as one would type it; a wrapped method by its name."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{k}={written(v)}" for k, v in value.items() if k != "method")
        return f"{value['method']}({inner})" if "method" in value else f"{{{inner}}}"
    return repr(value) if isinstance(value, str) else str(value)


def _checks(uses: Sequence[Explanation]) -> tuple[tuple[str, str, str], ...]:
    """Name, how often it passed or between which numbers it lies, and what it measures."""
    found: dict[str, list[Check]] = {}
    for e in uses:
        for check in e.checks:
            found.setdefault(check.name, []).append(check)
    return tuple((check_title(name), _outcome(each), each[-1].says) for name, each in found.items())


def _outcome(checks: Sequence[Check]) -> str:
    passed = [ok for check in checks for ok in check.passed]
    if checks[0].judged:
        return f"passed {sum(passed)} of {len(passed)}"
    shown = percent if checks[0].share else number
    values = [value for check in checks for value in check.value]
    ends = [shown(min(values)), shown(max(values))]
    return ends[0] if ends[0] == ends[1] else f"from {ends[0]} to {ends[1]}"
