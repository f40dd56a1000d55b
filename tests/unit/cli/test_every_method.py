"""Every registered method on the command line: with progress, with a budget, with a tolerance."""

from __future__ import annotations

import io
import json
import re

import pytest
from tests.unit.cli.conftest import TINY

from pellucid import registry
from pellucid.cli import pace, talk
from pellucid.cli.app import FAILED, OK
from pellucid.engine.rehearsal import Rehearsal

VIT, POOLED, CLUB = (f"tests.unit.cli.tiny:{name}" for name in ("vit", "pooled", "club"))
EVERY = [name for name in registry.names() if registry.find(name).__module__.startswith("pellucid.")]
LOWERED = ("samples", "steps", "calls")


def parameters(name):
    return {p.name: p.default for p in registry.parameters(registry.find(name))}


ADAPTIVE = [name for name in EVERY if "tolerance" in parameters(name)]
FIXED = [name for name in EVERY if name not in ADAPTIVE]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Watched(pace.Bar):
    """The bar, with what it was told and what it drew."""

    def __init__(self):
        super().__init__(Terminal())
        self.told = []

    def __call__(self, done, total):
        self.told.append((done, total))
        super().__call__(done, total)

    @property
    def rows(self):
        return [row.strip() for row in self.terminal.getvalue().split("\r") if row.strip()]


@pytest.fixture
def bar(monkeypatch):
    """What a terminal would show, every state of it."""
    watched = Watched()
    monkeypatch.setattr(talk, "meter", lambda: watched)
    monkeypatch.setattr(pace, "DRAW_EVERY", 0.0)
    return watched


@pytest.fixture
def a_second_each(monkeypatch):
    """Plans in which every row takes a second, however fast this machine is."""
    monkeypatch.setattr(Rehearsal, "seconds", lambda self, lane, graded, tail=False: 1.0)


@pytest.fixture
def call(run, cat, tmp_path):
    """Explain by a method, with a model that it can explain."""

    def called(name, *words):
        model, given = {"transformer": VIT, "cam": POOLED}.get(registry.find(name).about.family, TINY), cat
        if "table" in parameters(name):
            pytest.importorskip("pandas")
            model, given = CLUB, tmp_path / "rows.csv"
            given.write_text("age,weight,city\n25,60.5,Rome\n")
        inner = ("--param", f"{name}.method=gradient") if "method" in parameters(name) else ()
        return run("explain", "-M", model, given, "--method", name, *inner, *words)

    return called


def document(done):
    assert done.exit_code == OK, done.stderr
    return json.loads(done.stdout)


def rows(found):
    """Rows that ran, as a whole or behind a layer."""
    passes = found["models"][0]["passes"]
    return passes["forward"] + passes["tails"] + passes["known"]


def refused(done, bar):
    """Why; nothing may have been done before."""
    assert done.exit_code == FAILED and done.stdout == "" and "Do:" in done.stderr
    assert bar.told == []
    return done.stderr


@pytest.mark.parametrize("name", EVERY)
def test_it_runs_with_progress(name, call, bar):
    count = rows(document(call(name, "--json")))
    done = [n for n, _ in bar.told]
    assert done[0] == 0 and done == sorted(set(done)) and done[-1] == count
    assert all(n <= total for n, total in bar.told)
    if bar.pace.open:
        assert name == "anchors"  # of all others it is known from the start, at their defaults
        assert bar.rows[-1] == f"{count} rows, and more as they are needed"
    else:
        assert {total for _, total in bar.told} == {count}
        assert bar.rows[0].startswith("0 %") and bar.rows[-1].startswith("100 %")
        assert f"{count} of {count} rows" in bar.rows[-1]
    *_, last, gone, here = bar.terminal.getvalue().split("\r")
    assert last.strip() and len(gone) >= len(last) and not (gone + here).strip()


@pytest.mark.parametrize("name", EVERY)
def test_a_long_budget_changes_nothing_and_says_so(name, call, bar):
    done = call(name, "--budget", "9h")
    assert done.exit_code == OK, done.stderr
    assert "nothing had to be lowered, to stay within 9h" in done.stdout
    assert bar.told[-1][0] == bar.told[-1][1]


@pytest.mark.parametrize("name", EVERY)
def test_a_budget_is_kept_or_refused_with_the_least_time(name, call, bar, a_second_each):
    why = refused(call(name, "--budget", "0.001s"), bar)
    least = re.search(r"at least (\S+) s(.*)", why)
    assert "Error: a budget of 0.001 s" in why and "Do: a larger budget" in why
    found = document(call(name, "--budget", f"{float(least[1])}s", "--json"))
    assert rows(found) <= float(least[1])
    (entry,) = found["explanations"]
    given = {key: value for key, value in parameters(name).items() if key in LOWERED}
    lowered = {key: entry["params"][key] for key, value in given.items() if entry["params"][key] != value}
    said = [line for line in entry["decisions"] if line.startswith("to stay within")]
    if lowered:
        assert least[2] == ", for the fewest samples and steps"
        assert [f"{key} {given[key]} → {value}" in said[0] for key, value in lowered.items()] == [True] * len(lowered)
    else:
        assert least[2] == ": no samples or steps can be lowered" and said == []


@pytest.mark.parametrize("name", [name for name in EVERY if any(key in parameters(name) for key in LOWERED)])
def test_what_was_lowered_is_told(name, call, bar, a_second_each):
    budget = max(0.6 * rows(document(call(name, "--json"))), 1.0)
    done = call(name, "--budget", f"{budget:.1f}s")
    if done.exit_code == FAILED:
        assert "at least" in done.stderr
        return
    (line,) = (line for line in done.stdout.splitlines() if "to stay within" in line)
    assert line.strip().startswith(registry.find(name).about.title) and "→" in line
    assert bar.told[-1][0] <= budget


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_tolerance_is_reached_and_what_it_took_is_told(name, call, bar):
    taken = []
    for tolerance in (0.5, 0.05):
        found = document(call(name, "--tolerance", tolerance, "--json"))
        (entry,) = found["explanations"]
        (row,) = next(value for key, value in entry.items() if key in ("images", "rows"))
        assert entry["params"]["tolerance"] == tolerance
        (check,) = (c for c in row["checks"] if c["name"] in ("precision", "completeness"))
        assert check["limit"] == tolerance and check["passed"] and check["value"] <= tolerance
        ((count,),) = row["taken"].values()
        taken.append(count)
        assert bar.told[-1] == (rows(found), rows(found))
    assert taken[0] <= taken[1] <= entry["params"].get("max_samples", entry["params"].get("max_steps"))
    done = call(name, "--tolerance", tolerance)
    title = registry.find(name).about.title
    assert f"{title}, for a tolerance of 0.05: {count} " in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", FIXED)
def test_a_tolerance_that_a_method_does_not_have_is_refused(name, call, bar):
    why = refused(call(name, "--tolerance", "0.1"), bar)
    assert f"tolerance=0.1 with {name}" in why and "a method that has one" in why and "leave the tolerance out" in why


@pytest.mark.parametrize("name", EVERY)
def test_a_model_that_it_cannot_explain_is_refused_with_advice(name, run, cat, bar):
    done = run("explain", TINY, cat, "-m", name, "--no-progress")
    another = name == "cam" or registry.find(name).about.family == "transformer"
    if not (another or {"table", "method"} & set(parameters(name))):
        assert done.exit_code == OK
        return
    advice = ("a transformer", "global average pooling", "pellucid.wrap(model, frame)", f"--param {name}.method=")
    why = refused(done, bar)
    assert any(word in why for word in advice)
