"""The small changes that mutation makes to the source, and how one of them is put in place.

One operator or number is changed at a time. What no test can be asked to notice is left out: annotations, the texts of
errors and warnings, `slots=`, the size of a cache, the depth of a warning.
"""

from __future__ import annotations

import ast
import copy
import gc
import hashlib
import importlib.abc
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pellucid"
PACKAGES = ("core", "engine", "metrics")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
"""Operators, and what each becomes. Unions of types are no operators here: `|` stays."""
UNSEEN = {"slots", "maxsize", "stacklevel"}
"""Arguments that change what something costs or where a warning points, never what is computed."""


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the place of the node in it, and what stands there before and after."""

    file: Path
    number: int
    line: int
    inside: str
    before: str
    after: str
    nth: int

    @property
    def package(self) -> str:
        """core, engine or metrics."""
        return self.file.relative_to(SOURCE).parts[0]

    @property
    def key(self) -> str:
        """The same as long as the function and the change are; lines may move."""
        where = self.file.relative_to(SOURCE).as_posix()
        words = f"{where}|{self.inside}|{self.before}|{self.after}|{self.nth}"
        return hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()[:16]

    def drawn(self, seed: int) -> str:
        """The place in the draw: those with the smallest are taken, so an edit elsewhere changes no other draw."""
        return hashlib.sha256(f"{seed}|{self.key}".encode()).hexdigest()

    def __str__(self) -> str:
        where = self.file.relative_to(SOURCE).as_posix()
        return f"{where}:{self.line} in {self.inside or 'the module'}: {self.before[:90]} → {self.after[:90]}"


@cache
def errors() -> frozenset[str]:
    """The names of our errors: what they are called with is text."""
    tree = ast.parse((SOURCE / "core" / "errors.py").read_text(encoding="utf-8"))
    return frozenset(n.name for n in tree.body if isinstance(n, ast.ClassDef))


def is_text(node: ast.AST) -> bool:
    """Whether everything below only makes the text of an error or a warning."""
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return name in errors() or name.endswith(("Error", "Warning")) or name == "warn"


def below(node: ast.AST, inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """All nodes that a test may be asked about, and the function or class that each is in."""
    yield node, inside
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        inside = f"{inside}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or is_text(child):
                continue
            if isinstance(child, ast.keyword) and child.arg in UNSEEN:
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield from below(child, inside)


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str, Any]]:
    """(node, what it is in, field, new value) of every change that can be made."""
    for node, inside in below(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
            yield node, inside, "ops", [SWAPS[type(node.ops[0])]()]
        elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
            yield node, inside, "op", SWAPS[type(node.op)]()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, inside, "op", ast.UAdd()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, inside, "operand", ast.UnaryOp(op=ast.Not(), operand=node.operand)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, inside, "value", not node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield node, inside, "value", node.value + 1


def mutants(file: Path) -> list[Mutant]:
    """Every change that can be made to a file."""
    tree, seen, found = ast.parse(file.read_text(encoding="utf-8")), Counter[tuple[str, ...]](), list[Mutant]()
    around = {id(child): n for n in ast.walk(tree) for child in ast.iter_child_nodes(n)}
    for number, (node, inside, name, value) in enumerate(places(tree)):
        line: int = getattr(node, "lineno", 0)
        other = copy.copy(node)
        setattr(other, name, value)
        before, after = ast.unparse(node), ast.unparse(other)
        if isinstance(node, ast.Constant):  # a number alone says little: what it stands in
            before = f"{before} of `{said(around[id(node)])}`"
        seen[inside, before, after] += 1
        found.append(Mutant(file, number, line, inside, before, after, seen[inside, before, after]))
    return found


def said(node: ast.AST) -> str:
    """What stands around a number, in one short line."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    return re.sub(r"\s+", " ", ast.unparse(node))[:80]


def changed(one: Mutant) -> ast.Module:
    """The tree of the file with the change in it."""
    tree = ast.parse(one.file.read_text(encoding="utf-8"))
    node, _, name, value = list(places(tree))[one.number]
    setattr(node, name, value)
    return ast.fix_missing_locations(tree)


def codes(code: CodeType) -> Iterator[CodeType]:
    """All functions inside."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from codes(const)


def functions() -> dict[str, list[FunctionType]]:
    """All functions that are loaded, by file."""
    found: dict[str, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(str(SOURCE)):
            found.setdefault(thing.__code__.co_filename, []).append(thing)
    return found


def replaced(one: Mutant, among: dict[str, list[FunctionType]] | None = None) -> int:
    """Put the change into the functions that are already loaded; how many there were."""
    name = str(one.file)
    was = compile(ast.parse(one.file.read_text(encoding="utf-8")), name, "exec", dont_inherit=True)
    new = compile(changed(one), name, "exec", dont_inherit=True)
    pairs = [(a, b) for a, b in zip(codes(was), codes(new), strict=True) if a != b]
    found = 0
    for function in (functions() if among is None else among).get(name, ()):
        for a, b in pairs:
            if function.__code__ == a:
                function.__code__, found = b, found + 1
                break
    return found


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed tree. No file is ever written."""

    def __init__(self, one: Mutant) -> None:
        words = one.file.relative_to(SOURCE.parent).with_suffix("").parts
        self.name = ".".join(words[:-1] if words[-1] == "__init__" else words)
        self.file, self.tree = one.file, changed(one)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Only for the one module."""
        if name != self.name:
            return None
        package = [str(self.file.parent)] if self.file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, self.file, loader=self, submodule_search_locations=package)

    def exec_module(self, module: Any) -> None:
        """Run the changed tree where the file's own would run."""
        exec(compile(self.tree, str(self.file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our source
