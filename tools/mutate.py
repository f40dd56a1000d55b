"""Change one operator or number in the source, and see whether a test notices.

    python tools/mutate.py 300 --seed 0 --resume

Mutants are drawn from core, engine and metrics with a seed, the same ones every time. Each is tried by the tests that
run its line, the fastest first, until one fails; in a fork of a process in which torch, pellucid and the tests are
imported, so nothing is imported again and no file is changed. A change in what runs at import is imported anew. What
takes too long or too much memory counts as noticed, and is told apart. One line of JSON for each goes to the results.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
from covering import QUIET, Covering, budget, calm, looks, outcome, silent
from mutants import PACKAGES, ROOT, SOURCE, Instead, Mutant, functions, mutants, replaced

TESTS = (
    *("unit/core", "unit/engine", "unit/metrics", "unit/test_api.py", "unit/test_assertions.py", "unit/test_budget.py"),
    *("unit/test_chips.py", "unit/test_closed.py", "unit/test_difference.py", "unit/test_kinds.py"),
    *("unit/test_registry.py", "unit/test_sanity.py", "unit/test_scorecard.py", "conformance/test_inside.py"),
)
"""Where tests are looked for; those that run a changed line are tried."""
MEGABYTES = 2000
KILLED, TIME, MEMORY, ALIVE, NOT_LOADED = "killed", "killed by time", "killed by memory", "alive", "not loaded"


@dataclass(frozen=True)
class Trial:
    """A mutant, its tests, what runs its line (`tests`, `import`, `both`), and whether all of its tests were chosen."""

    one: Mutant
    tests: list[str]
    by: str
    all_of_them: bool


def attempt(job: Callable[[Callable[[str], None]], bool], seconds: float) -> tuple[str, str]:
    """Run a job in a fork, watched: what became of it, and the last thing that it said."""
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(ear)
        silent()
        code = 1
        try:
            code = 0 if job(lambda words: void(os.write(mouth, words.encode() + b"\n"))) else 1
        finally:
            os._exit(code)
    os.close(mouth)
    said = watch(child, seconds)
    with open(ear, encoding="utf-8") as words:
        last = (words.read().splitlines() or [""])[-1]
    return (last, "") if last == NOT_LOADED else (said, last)


def void(_: object) -> None:
    """Nothing."""


def watch(child: int, seconds: float) -> str:
    """Wait for a fork; stop it when it takes too long or too much memory.

    What counts is the time in which this process ran too: a machine that sleeps makes no endless loop.
    """
    process, spent, last = psutil.Process(child), 0.0, time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        try:
            size = process.memory_info().rss >> 20
        except psutil.NoSuchProcess:
            size = 0
        now = time.monotonic()
        spent, last = spent + min(now - last, 0.2), now
        if size > MEGABYTES or spent > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return MEMORY if size > MEGABYTES else TIME
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(status)
    return TIME if -code in (signal.SIGPROF, signal.SIGXCPU) else KILLED if code else ALIVE


def tried(items: Sequence[pytest.Item], seconds: dict[str, float], tell: Callable[[str], None]) -> bool:
    """Whether all tests pass; stops at the first that does not."""
    for item, then in zip(items, [*items[1:], None], strict=True):
        tell(item.nodeid)
        budget(seconds[item.nodeid])
        if outcome(item, then) == "failed":
            return False
    signal.setitimer(signal.ITIMER_PROF, 0)
    tell("")
    return True


class Loop:
    """A plugin of pytest: what is done with the tests instead of running them one after the other."""

    def __init__(self, act: Callable[[dict[str, pytest.Item]], None]) -> None:
        self.act = act

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """With the tests by name."""
        if session.testsfailed:
            return False
        self.act({item.nodeid: item for item in session.items})
        return True


def collect(files: set[str], act: Callable[[dict[str, pytest.Item]], None]) -> int:
    """Import test files, and do something with their tests."""
    where = tempfile.mkdtemp(prefix="mutants")
    return int(pytest.main([*QUIET, f"--basetemp={where}", *sorted(files)], plugins=[Loop(act)]))


def limit(trial: Trial, known: Covering) -> float:
    """Seconds on the clock, for what waits and uses no processor; the machine may be busy with other things."""
    return 120 + 15 * sum(known.seconds[name] for name in trial.tests)


def ready() -> None:
    """Import what tests import when they need it, once for all forks; nothing of it is called."""
    import pellucid

    for part in ("api", "methods", "metrics", "propagation", "adapters.torch"):
        package = import_module(f"{pellucid.__name__}.{part}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)


def warm(trials: Sequence[Trial], known: Covering, note: Callable[[Trial, str, str, float], None]) -> None:
    """All trials whose change can be put into what is loaded; those that cannot are noted as such."""

    def act(items: dict[str, pytest.Item]) -> None:
        ready()
        loaded = functions()
        gc.freeze()  # what is shared stays shared
        for trial in trials:
            here = [items[name] for name in trial.tests if name in items]

            def job(tell: Callable[[str], None], one: Mutant = trial.one, here: list[pytest.Item] = here) -> bool:
                if not replaced(one, loaded):
                    tell(NOT_LOADED)
                    return True
                return tried(here, known.seconds, tell)

            start = time.monotonic()
            note(trial, *attempt(job, limit(trial, known)), time.monotonic() - start)

    collect({file_of(name) for trial in trials for name in trial.tests}, act)


def cold(trial: Trial, known: Covering, note: Callable[[Trial, str, str, float], None]) -> None:
    """A trial whose change is there from the import on: the first test's file alone, and then the others."""

    def run(tests: Sequence[str], tell: Callable[[str], None]) -> bool:
        passed = list[bool]()

        def act(items: dict[str, pytest.Item]) -> None:
            passed.append(tried([items[name] for name in tests if name in items], known.seconds, tell))

        resource.setrlimit(resource.RLIMIT_CPU, (300, 305))
        sys.meta_path.insert(0, Instead(trial.one))
        tell("at import")
        collect({file_of(name) for name in tests}, act)
        return passed == [True]

    start, result = time.monotonic(), (ALIVE, "")
    first = file_of(trial.tests[0])
    for tests in ([n for n in trial.tests if file_of(n) == first], [n for n in trial.tests if file_of(n) != first]):
        if tests and result[0] == ALIVE:
            result = attempt(partial(run, tests), limit(trial, known))
    note(trial, *result, time.monotonic() - start)


def file_of(test: str) -> str:
    """The file of a test."""
    return test.partition("::")[0]


def unchanged(tests: set[str]) -> set[str]:
    """Those of some tests that fail without any change, one after the other in a process: they say nothing."""
    bad = set[str]()

    def act(items: dict[str, pytest.Item]) -> None:
        here = [items[name] for name in sorted(tests) if name in items]
        bad.update(
            one.nodeid for one, then in zip(here, [*here[1:], None], strict=True) if outcome(one, then) == "failed"
        )

    collect({file_of(name) for name in tests}, act)
    return bad


def draw(number: int, seed: int) -> tuple[list[Mutant], Counter[str]]:
    """So many of all, and how many each package has."""
    every = [one for part in PACKAGES for file in sorted((SOURCE / part).rglob("*.py")) for one in mutants(file)]
    sizes = Counter(one.package for one in every)
    return sorted(every, key=lambda one: one.drawn(seed))[:number], sizes


def read(file: Path) -> dict[str, dict[str, Any]]:
    """The last result of each mutant."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {said["key"]: said for said in map(json.loads, lines)}


def table(drawn: Sequence[Mutant], known: dict[str, dict[str, Any]], sizes: Counter[str]) -> str:
    """How many of each package were noticed, and the ones that were not."""
    lines, alive = ["package   possible  drawn  killed  by time  by memory  alive"], list[str]()
    total = Counter[str]()
    for part in PACKAGES:
        mine = [one for one in drawn if one.package == part and one.key in known]
        by = Counter(known[one.key]["result"] for one in mine)
        total += by
        counts = (sizes[part], len(mine), *(by[word] for word in (KILLED, TIME, MEMORY, ALIVE)))
        lines.append(f"{part:8}  " + "  ".join(f"{n:>{w}}" for n, w in zip(counts, (8, 5, 6, 7, 9, 5), strict=True)))
        alive += [f"{one.key} {one}  ({len(known[one.key]['tests'])} tests)" for one in mine
                  if known[one.key]["result"] == ALIVE]  # fmt: skip
    noticed = total.total() - total[ALIVE]
    lines.append(f"{noticed} of {total.total()} noticed ({100 * noticed / max(total.total(), 1):.1f} %)")
    return "\n".join([*lines, "", *alive]) + "\n"


def main() -> None:
    """Draw, look which tests run what, try, tell."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("mutants", type=int)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--seconds", type=float, default=5400.0, help="stop after so long")
    words.add_argument("--each", type=float, default=10.0, help="seconds of tests for each mutant")
    words.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pellucid-mutants")
    words.add_argument("--resume", action="store_true", help="leave out the mutants that have a result")
    words.add_argument("--again", nargs="*", help="try those once more that were alive; or those of these keys")
    words.add_argument("--only", choices=PACKAGES, help="those of one package")
    words.add_argument("--tests", nargs="*", default=TESTS, help="where to look for tests, below tests/")
    words.add_argument("--check", action="store_true", help="only run the tests that noticed something, unchanged")
    words.add_argument("--show", action="store_true", help="only tell the results")
    given = words.parse_args()
    os.chdir(ROOT)
    drawn, sizes = draw(given.mutants, given.seed)
    results = given.folder / f"results-{given.seed}.jsonl"
    if given.check:
        alert = {said["by"] for said in read(results).values() if said["result"] == KILLED and "::" in said["by"]}
        sys.path[:0] = [str(ROOT), str(SOURCE.parent)]
        calm()
        sys.stdout.write(f"{len(alert)} tests, {len(bad := unchanged(alert))} fail unchanged\n")
        sys.stdout.writelines(f"{name}\n" for name in sorted(bad))
        return
    if given.show:
        sys.stdout.write(table(drawn, read(results), sizes))
        return
    if not given.resume and given.again is None:
        results.unlink(missing_ok=True)
    old = read(results)
    if given.again is not None:
        left = [
            o for o in drawn if (o.key in given.again if given.again else old.get(o.key, {}).get("result") == ALIVE)
        ]
    else:
        left = [one for one in drawn if old.get(one.key, {"result": NOT_LOADED})["result"] == NOT_LOADED]
    go([one for one in left if given.only in (None, one.package)], results, given)
    sys.stdout.write(table(drawn, read(results), sizes))


def go(left: Sequence[Mutant], results: Path, given: argparse.Namespace) -> None:
    """Try these mutants, and write each result as it comes."""
    sys.path[:0] = [str(ROOT), str(SOURCE.parent)]
    import_module("hypothesis")  # what all forks share
    import torch

    torch.set_num_threads(1)
    where = [ROOT / "tests" / word for word in given.tests]
    files = [f for path in where for f in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]
    known = Covering.of(looks(files, given.folder / "lines"))
    calm()
    end = time.monotonic() + given.seconds

    def note(trial: Trial, said: str, last: str, seconds: float) -> None:
        line = {"key": trial.one.key, "mutant": str(trial.one), "result": said, "by": last, "tests": trial.tests}
        line |= {"all": trial.all_of_them, "seconds": round(seconds, 1)}
        with results.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        if time.monotonic() > end:
            raise SystemExit("out of time: go on with --resume")

    trials = [Trial(one, *known.tests(one, given.each)) for one in left]
    for trial in trials:
        if not trial.tests:
            note(trial, ALIVE, "no test runs it", 0.0)
    if warm_ones := [t for t in trials if t.tests and t.by != "import"]:
        fork(lambda: warm(warm_ones, known, note))
    done = read(results)
    for trial in trials:
        said = done.get(trial.one.key, {}).get("result")
        if trial.tests and (trial.by == "import" or said == NOT_LOADED or (trial.by == "both" and said == ALIVE)):
            cold(trial, known, note)


def fork(job: Callable[[], None]) -> None:
    """In a process of its own, so that this one stays without what the job imports."""
    child = os.fork()
    if child == 0:
        try:
            silent()
            job()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
