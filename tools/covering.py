"""Which tests run a line: one look at every test file, kept on disk until the file or the source changes.

A line that runs while modules are imported or tests are collected has the context "". What a fixture of a wider scope
than one test runs counts for every test that uses it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mutants import PACKAGES, ROOT, SOURCE, Mutant

QUIET = ["-s", "-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-W", "ignore"]
SLOW = 10.0
"""A test that takes longer is not used."""


def calm() -> None:
    """Properties are tried on the same examples every time, for as long as they need; failures are not made small."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")


def silent() -> None:
    """Nothing more is written to the terminal."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)


def outcome(item: pytest.Item, then: pytest.Item | None) -> str:
    """passed, failed or skipped: the test's own, its setup's and its cleaning up."""
    from _pytest.runner import runtestprotocol

    reports = runtestprotocol(item, log=False, nextitem=then)
    for word in ("failed", "skipped"):
        if any(report.outcome == word for report in reports):
            return word
    return "passed"


class Look:
    """A plugin of pytest: runs every test once, with the lines that it runs and its seconds of processor time."""

    def __init__(self, cover: Any) -> None:
        self.cover, self.now = cover, ""
        self.tests: dict[str, Any] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """What a fixture for several tests runs is remembered under its own name."""
        if fixturedef.scope != "function":
            self.cover.switch_context(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            if self.now:
                self.cover.switch_context(self.now)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        for item, then in zip(session.items, [*session.items[1:], None], strict=True):
            self.now, start = item.nodeid, time.process_time()
            self.cover.switch_context(self.now)
            said = outcome(item, then)
            shared = [f"fixture {name}" for name in getattr(item, "fixturenames", ())]
            self.tests[item.nodeid] = {"outcome": said, "seconds": time.process_time() - start, "fixtures": shared}
        return True


def look(test: Path, into: Path) -> None:
    """In a process of its own: the tests of one file, and the lines that each runs, as JSON."""
    from coverage import Coverage

    silent()
    cover = Coverage(data_file=None, config_file=False, source=[str(SOURCE / part) for part in PACKAGES])
    cover.start()
    calm()
    plugin = Look(cover)
    pytest.main([*QUIET, str(test.relative_to(ROOT))], plugins=[plugin])
    cover.stop()
    data = cover.get_data()
    lines = {
        Path(file).relative_to(SOURCE).as_posix(): {str(n): names for n, names in data.contexts_by_lineno(file).items()}
        for file in data.measured_files()
    }
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    part = into.with_suffix(".part")
    part.write_text(json.dumps({"tests": plugin.tests, "lines": lines, "megabytes": memory}), encoding="utf-8")
    part.replace(into)


def stamp(test: Path) -> str:
    """Changes with the test file and with the source that is looked at."""
    total = hashlib.sha256(test.read_bytes())
    for file in sorted(f for part in PACKAGES for f in (SOURCE / part).rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()[:12]


def looks(tests: Iterable[Path], folder: Path, seconds: float = 400) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every test file with its tests and lines; a file that takes too long is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for test in tests:
        name = test.relative_to(ROOT / "tests").with_suffix("").as_posix().replace("/", ".")
        kept = folder / f"{name}-{stamp(test)}.json"
        if not kept.exists():
            child = os.fork()
            if child == 0:
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
                try:
                    look(test, kept)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            if not kept.exists():
                kept.write_text(json.dumps({"tests": {}, "lines": {}, "megabytes": 0}), encoding="utf-8")
            said = json.loads(kept.read_text(encoding="utf-8"))
            total = sum(t["seconds"] for t in said["tests"].values())
            sys.stderr.write(f"{name}: {len(said['tests'])} tests, {total:.0f} s, {said['megabytes']} MB\n")
        yield test, json.loads(kept.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Covering:
    """seconds[test] of all tests that pass; ran[file][line] has the tests that run it, and "" for the import."""

    seconds: dict[str, float]
    ran: dict[str, dict[int, set[str]]]
    within: dict[str, list[str]]
    early: dict[str, dict[int, list[list[str]]]]
    """early[file][line] has the tests of every file whose collection runs the line."""

    @classmethod
    def of(cls, found: Iterable[tuple[Path, dict[str, Any]]]) -> Covering:
        """From what was seen."""
        seconds: dict[str, float] = {}
        within: dict[str, list[str]] = {}
        ran: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        early: dict[str, dict[int, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
        for _, said in found:
            good = {n: t for n, t in said["tests"].items() if t["outcome"] == "passed" and t["seconds"] < SLOW}
            seconds |= {name: test["seconds"] for name, test in good.items()}
            within |= dict.fromkeys(good, sorted(good, key=lambda name: seconds[name]))
            users = defaultdict(list)
            for name, test in good.items():
                for fixture in test["fixtures"]:
                    users[fixture].append(name)
            for file, lines in said["lines"].items():
                for line, names in lines.items():
                    early[file][int(line)] += [list(good)] if "" in names else []
                    for name in names:
                        ran[file][int(line)].update(users[name] if name.startswith("fixture ") else [name])
        known = seconds.keys() | {""}
        return cls(
            seconds, {f: {n: names & known for n, names in lines.items()} for f, lines in ran.items()}, within, early
        )

    def at(self, file: str, lines: Iterable[int]) -> set[str]:
        """The tests that run one of the lines, "" among them."""
        here = self.ran.get(file, {})
        return set[str]().union(*(here.get(line, ()) for line in lines))

    def tests(self, one: Mutant, most: float) -> tuple[list[str], str, bool]:
        """The tests to try, fastest first, for so many seconds; what runs the line; whether all tests fitted in."""
        file, tree = one.file.relative_to(SOURCE).as_posix(), ast.parse(one.file.read_text(encoding="utf-8"))
        statement, owner, imported = around(tree, one.line)
        direct = self.at(file, header(statement))
        by = "import" if imported or direct <= {""} else "both" if "" in direct else "tests"
        found = (self.served(file, statement, owner) if imported else direct) - {""}
        found = found or self.served(file, statement, owner)
        few = [self.early[file][n] for n in header(statement) if 0 < len(self.early.get(file, {}).get(n, ())) < 5]
        found = found | {name for files in few for tests in files for name in tests}
        named = self.named(owner or statement, tree) if imported else set[str]()
        found = (found | named) - {""}
        order = sorted(found, key=lambda name: (name not in named, self.seconds[name]))
        others = {name for test in order for name in self.within[test]} - found  # what a cache has run for them
        total, chosen = 0.0, list[str]()
        for name in order:
            total += self.seconds[name]
            if total > most:
                return chosen, by, False
            chosen.append(name)
        for name in sorted(others, key=lambda name: self.seconds[name]):
            total += self.seconds[name]
            if total > most / 2:
                break
            chosen.append(name)
        return chosen, by, True

    def named(self, thing: ast.stmt, tree: ast.Module) -> set[str]:
        """Tests of a class, or of one made of it, by its name: what only reads declarations runs no line of them."""
        if not isinstance(thing, ast.ClassDef):
            return set()
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
        names = [n.name for n in classes if n is thing or thing.name in map(ast.unparse, n.bases)]
        snake = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower() for name in names]
        called = re.compile(rf"::.*(\b|_)({'|'.join([*names, *snake])})(\b|_)")
        return {name for name in self.seconds if called.search(name) and "/unit/" in name}

    def served(self, file: str, statement: ast.stmt, owner: ast.stmt | None) -> set[str]:
        """The tests that use what a statement of the module defines: a function, a class, or a name."""
        thing = owner or statement
        inner = [n for n in ast.walk(thing) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        bodies = (n for one in inner for n in range(one.body[0].lineno, (one.end_lineno or one.lineno) + 1))
        found = self.at(file, bodies) - {""}
        if found and not isinstance(thing, ast.ClassDef):
            return found
        names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names = {thing.name} if isinstance(thing, ast.ClassDef) else names
        for other in self.ran if names else ():
            word = re.compile(rf"\b({'|'.join(names)})\b")
            text = (SOURCE / other).read_text(encoding="utf-8").splitlines()
            found |= self.at(other, (n for n, line in enumerate(text, 1) if word.search(line)))
        return found - {""} or set[str]().union(*self.ran.get(file, {}).values())


def around(tree: ast.Module, line: int) -> tuple[ast.stmt, ast.stmt | None, bool]:
    """The innermost statement at a line; the function or class of the module around it; whether the import runs it."""
    best, owner, inside = tree.body[0], None, False
    for top in tree.body:
        for node in ast.walk(top):
            if isinstance(node, ast.stmt) and first(node) <= line <= (node.end_lineno or node.lineno):
                best = node
                owner = top if isinstance(top, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else None
                inside |= isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and line not in header(node)
        kept = [ast.unparse(d) for d in getattr(owner, "decorator_list", ())] if owner is top else []
        inside &= not any("cache" in word for word in kept)  # what has run once may not run again
    return best, owner, not inside


def first(node: ast.stmt) -> int:
    """The first line, decorators with it."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def header(statement: ast.stmt) -> range:
    """The lines of a statement without the statements in it."""
    body: list[ast.stmt] = getattr(statement, "body", [])
    last = max(body[0].lineno - 1, statement.lineno) if body else statement.end_lineno or statement.lineno
    return range(first(statement), last + 1)


def budget(seconds: float) -> None:
    """A test that runs far longer than it did is stopped by the system: an endless loop."""
    signal.setitimer(signal.ITIMER_PROF, max(6.0, 6 * seconds))
