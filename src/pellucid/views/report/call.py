"""The Python call that would compute the explanations of a report again."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from pellucid.core.explanation import Explanation
from pellucid.core.method import CATALOGUE, jsonable
from pellucid.views.words import what

_TARGETS = ("Top", "Class", "Each", "Contrast", "Unit")
_LOADABLE = re.compile(r"efficientnet_lite0|(timm|torchvision|hf|keras|onnx):[\w./-]+")


def call(explanations: Sequence[Explanation]) -> str:
    """One `explain` per model, with the parameters that differ from their defaults."""
    by_model: dict[tuple[str, str], list[Explanation]] = {}
    for e in explanations:
        by_model.setdefault((e.record.model.name, e.record.model.fingerprint), []).append(e)
    targets = sorted({name for e in explanations for name in re.findall(r"\w+(?=\()", asked(e)) if name in _TARGETS})
    lines = ["import pellucid"]
    lines += [f"from pellucid.core.target import {', '.join(targets)}"] if targets else []
    lines += ["from pellucid.registry import make", ""]
    return "\n".join(lines + [line for group in by_model.values() for line in _explain(group)])


def _explain(group: Sequence[Explanation]) -> list[str]:
    model = group[0].record.model
    load = f"pellucid.load({model.name!r})" if _LOADABLE.fullmatch(model.name) else "..."
    methods = list(dict.fromkeys(made(e.record.method, e.record.params) for e in group))
    inputs = list(dict.fromkeys(name for e in group for name in e.inputs.name))
    said = {"photo": "the photos' paths", "text": "the texts", "row": "the rows", "input": "the inputs"}[what(group)]
    said += ", in full" if what(group) == "text" and any(name.endswith(" …") for name in inputs) else ""
    targets = list(dict.fromkeys(asked(e) for e in group))
    written = targets[0] if len(targets) == 1 else f"[{', '.join(targets)}]"
    outputs = {e.target.output for e in group}
    return [
        f"model = {load}  # {_word(model.name)}, fingerprint {_word(model.fingerprint)}",
        "explanations = pellucid.explain(",
        "    model,",
        f"    [{', '.join(map(repr, inputs[:20]))}{', ...' if len(inputs) > 20 else ''}],  # {said}",
        "    [",
        *(f"        {method}," for method in methods),
        "    ],",
        f"    target={written},",
        *([f"    output={next(iter(outputs))!r},"] if len(outputs) == 1 and outputs != {"logit"} else []),
        ")",
        "",
    ]


def made(method: str, params: Mapping[str, object]) -> str:
    """`make("occlusion", {"window": 56})`: a method with what differs from its defaults."""
    defaults = {f.name: jsonable(f.default) for f in fields(CATALOGUE[method])} if method in CATALOGUE else {}
    changed = {k: v for k, v in params.items() if k not in defaults or v != defaults[k]}
    if not changed:
        return f'make("{_word(method)}")'
    inside = ", ".join(f"{name!r}: {_value(value)}" for name, value in changed.items())
    return f'make("{_word(method)}", {{{inside}}})'


def _value(value: object) -> str:
    if isinstance(value, Mapping) and "method" in value:
        return made(str(value["method"]), {k: v for k, v in value.items() if k != "method"})
    return repr(value)


def asked(e: Explanation) -> str:
    """The target as it was asked for, if that can be typed again; else the explained class of every photo."""
    if _typable(e.target.asked):
        return e.target.asked
    return f"Each({[i if i is not None else name for i, name in zip(e.target.index, e.target.name, strict=True)]!r})"


def _typable(text: str) -> bool:
    """Whether a text is nothing but targets with constants: a file may hold anything, and people copy this."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return isinstance(tree, ast.Call) and all(_harmless(node) for node in ast.walk(tree))


def _harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _TARGETS
    if isinstance(node, ast.Name):
        return node.id in _TARGETS
    return isinstance(node, (ast.Constant, ast.Tuple, ast.List, ast.keyword, ast.Load, ast.UnaryOp, ast.USub))


def _word(text: str) -> str:
    """A name inside a comment or a string of the call: no quotes, no line ends."""
    return re.sub(r"[^\w.:/ ×+-]", "?", text)[:80]
