"""Change one operator or number in the source, and see whether a test notices.

    python tools/mutate.py 300 --seconds 3600 --seed 0

Mutants are drawn from core, engine and metrics with a seed, the same ones every time; each runs in a fork of a process
that has imported torch, with the tests of its folder, until the first failure. Survivors are listed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pellucid"
TESTS = {
    "core": ("tests/unit/core", "tests/unit/test_difference.py", "tests/unit/test_sanity.py", "tests/unit/test_api.py"),
    "engine": ("tests/unit/engine",),
    "metrics": ("tests/unit/metrics",),
}
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
"""Operators, and what each becomes. Unions of types are no operators here: `|` stays."""


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, Any]]:
    """(node, field, new value) of every change that can be made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
            yield node, "ops", [SWAPS[type(node.ops[0])]()]
        elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
            yield node, "op", SWAPS[type(node.op)]()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            yield node, "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, "value", not node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield node, "value", node.value + 1


def count(file: Path) -> int:
    """How many changes can be made."""
    return sum(1 for _ in places(ast.parse(file.read_text(encoding="utf-8"))))


def mutant(file: Path, number: int) -> tuple[ast.Module, str]:
    """The changed tree, and what was changed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    node, name, value = list(places(tree))[number]
    line: Any = getattr(node, "lineno", 0)
    before = ast.unparse(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)
    else:
        setattr(node, name, value)
    changed = f"{file.relative_to(SOURCE)}:{line}: {before[:60]} → {ast.unparse(node)[:60]}"
    return ast.fix_missing_locations(tree), changed


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed tree."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.file, self.tree = file, tree

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        package = [str(self.file.parent)] if self.file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self.file, loader=self, submodule_search_locations=package
        )  # fmt: skip

    def exec_module(self, module: Any) -> None:
        exec(compile(self.tree, str(self.file), "exec"), module.__dict__)  # noqa: S102 - our own source, changed


def survives(file: Path, tree: ast.Module, seconds: float) -> bool:
    """Whether all tests pass in a fork; one that hangs is killed, and so is the mutant."""
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        sys.meta_path.insert(0, Instead(file, tree))
        tests = TESTS[file.relative_to(SOURCE).parts[0]]
        try:
            os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", *tests])))
        except BaseException:  # noqa: BLE001 - whatever a mutant does, it was noticed
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    """Draw, run, tell."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("mutants", type=int)
    words.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    import hypothesis  # noqa: F401 - shared by all forks
    import torch  # noqa: F401

    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(SOURCE.parent)]
    files = sorted(f for part in TESTS for f in (SOURCE / part).rglob("*.py"))
    every = [(file, n) for file in files for n in range(count(file))]
    drawn = random.Random(given.seed).sample(every, min(given.mutants, len(every)))
    end, killed, alive = time.monotonic() + given.seconds, 0, list[str]()
    for file, n in drawn:
        if time.monotonic() > end:
            break
        tree, changed = mutant(file, n)
        if survives(file, tree, 240):
            alive.append(changed)
            sys.stdout.write(f"alive  {changed}\n")
        else:
            killed += 1
        sys.stdout.flush()
    ran = killed + len(alive)
    sys.stdout.write(f"{killed} of {ran} killed ({100 * killed / max(ran, 1):.0f} %), {len(every)} possible\n")


if __name__ == "__main__":
    main()
