"""`pellucid methods`: what can be asked, and with which parameters."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.talk import Talk, json_option

if TYPE_CHECKING:
    from pellucid.registry import Parameter

FAMILIES = {
    "gradient": "Gradients: how the score changes with the input",
    "path": "Paths: gradients added up from an input without evidence",
    "guided": "Guided: backward passes in which rectifiers let only some signals through",
    "cam": "Class activation maps: where in a layer",
    "propagation": "Propagation: the score handed down, operator by operator",
    "transformer": "Transformers: where attention went",
    "perturbation": "Perturbation: what happens when parts are hidden",
    "internal": "Inside: what flows through the units of a layer",
    "combinator": "Around any method",
}


EXAMPLES = (
    "pellucid methods",
    "pellucid methods integrated_gradients",
)


@click.command("methods", cls=Verb, examples=EXAMPLES)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def command(talk: Talk, names: tuple[str, ...]) -> None:
    """List all methods, or tell everything about those named."""
    from pellucid import registry

    if names:
        found = [registry.find(name) for name in names]
        talk.say("\n\n".join(_whole(cls) for cls in found))
    else:
        found = [registry.find(name) for name in registry.names()]
        talk.say(_overview(found))
    talk.document({"schema": 1, "methods": [_entry(cls) for cls in found], "groups": registry.GROUPS})


def _overview(classes: list[type[Any]]) -> str:
    from pellucid import registry

    families = dict.fromkeys([*FAMILIES, *(cls.about.family for cls in classes)])
    size = max(len(cls.about.name) for cls in classes)
    blocks: list[str] = []
    for family in families:
        members = [cls for cls in classes if cls.about.family == family]
        lines = [line for cls in members for line in _lines(cls, size)]
        if lines:
            blocks.append("\n".join([text.head(FAMILIES.get(family, family.capitalize())), *lines]))
    groups = [
        text.wrap(", ".join(members), " " * (size + 4), f"  {name.ljust(size)}  ")
        for name, members in registry.GROUPS.items()
    ]
    blocks.append("\n".join([text.head("Groups: names for several methods"), *groups]))
    blocks.append(text.quiet("pellucid methods NAME tells what the parameters mean."))
    return "\n\n".join(blocks)


def _lines(cls: type[Any], size: int) -> list[str]:
    """Name, title, short names and kind; the parameters below."""
    from pellucid import registry

    about, short = cls.about, _short(cls)
    title = about.title + (f" ({', '.join(short)})" if short else "")
    kind = cls.about.kind.value
    room = text.width() - 2 - size - 2 - len(kind) - 2
    first = f"  {about.name.ljust(size)}  {text.fit(title, room).ljust(room)}  {text.quiet(kind)}"
    params = " ".join(_default(p, cls) for p in registry.parameters(cls))
    return [first, text.quiet(text.wrap(params, " " * (size + 4)))] if params else [first]


def _whole(cls: type[Any]) -> str:
    from pellucid import registry

    about = cls.about
    facts = [
        ("name", about.name + (f" (also {', '.join(_short(cls))})" if _short(cls) else "")),
        ("numbers", f"{about.kind.value}, of the {about.output.replace('_', ' ')} unless told otherwise"),
        ("needs", ", ".join(sorted(can.value for can in about.needs))),
        ("keeps", ", ".join(sorted(axiom.replace("_", " ") for axiom in about.keeps)) or "no axiom that is tested"),
        ("cite", ", ".join(about.cite) or "nothing"),
    ]
    lines = [text.head(about.title), "", *map(_doc_line, inspect.cleandoc(cls.__doc__ or "").splitlines()), ""]
    lines += [text.wrap(value, " " * 12, f"  {key.ljust(10)}") for key, value in facts]
    if registry.parameters(cls):
        lines += ["", text.head("Parameters")]
    for p in registry.parameters(cls):
        lines.append(f"  {_default(p, cls)}")
        lines += [text.wrap(said, "      ") for said in _said(p)]
    return "\n".join(lines)


def _doc_line(line: str) -> str:
    """A line of a docstring; the meaning of a parameter hangs behind its name."""
    name = re.match(r"[\w, ]*?\s{2,}(?=\S)", line)
    return text.wrap(line[name.end() :], " " * (2 + name.end()), f"  {name[0]}") if name else text.wrap(line, "  ")


def _said(p: Parameter) -> list[str]:
    one = [f"{p.meaning}" + (f" [{p.unit}]" if p.unit else "")] if p.meaning else []
    return one + ([f"one of {', '.join(p.choices)}"] if p.choices else [])


def _default(p: Parameter, cls: type[Any]) -> str:
    """`steps=32`, as it may be written after --param; `method=...` for one that has to be given."""
    if any(f.name == p.name and f.default is MISSING for f in fields(cls)):
        return f"{p.name}=..."
    default = ",".join(map(str, p.default)) if isinstance(p.default, tuple) else str(p.default)
    return f"{p.name}={default.lower() if p.default in (None, True, False) else default}"


def _short(cls: type[Any]) -> list[str]:
    from pellucid import registry

    return [s for s, (name, preset) in registry.SHORT.items() if name == cls.about.name and not preset]


def _entry(cls: type[Any]) -> dict[str, Any]:
    from pellucid import registry
    from pellucid.core.method import jsonable

    about = cls.about
    return {
        "name": about.name,
        "short": _short(cls),
        "title": about.title,
        "family": about.family,
        "kind": about.kind.value,
        "output": about.output,
        "needs": sorted(can.value for can in about.needs),
        "keeps": sorted(about.keeps),
        "cite": list(about.cite),
        "summary": about.summary,
        "parameters": [
            {
                "name": p.name,
                "default": jsonable(p.default),
                "choices": list(p.choices),
                "meaning": p.meaning,
                "unit": p.unit,
            }
            for p in registry.parameters(cls)
        ],
    }
