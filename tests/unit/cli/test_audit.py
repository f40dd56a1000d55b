from __future__ import annotations

import json

import pytest
from tests.unit.cli.conftest import TINY


def test_an_audit_tells_where_relevance_went_the_worst_leaks_first(run, cat):
    done = run("audit", "-M", TINY, cat, "--limit", 2, env={"COLUMNS": "100"})
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split() == ["LEAK", "IN", "OUT", "CONSTANTS", "LAYER", "OPERATOR", "RULE"]
    assert lines[3].startswith("… and ") and "epsilon_plus_flat" in done.stdout
    assert "at the output" in done.stdout and "at the input" in done.stdout


def test_a_narrow_terminal_hides_neither_layer_nor_operator_nor_rule(run, cat):
    done = run("audit", "-M", TINY, cat, env={"COLUMNS": "60"})
    head, *lines = done.stdout.splitlines()
    assert done.exit_code == 0 and head.split() == ["LEAK", "IN", "OUT", "CONSTANTS", "RULE"]
    calls = json.loads(run("audit", "-M", TINY, cat, "--json").stdout)["calls"]
    for counted, where in zip(lines[: 2 * len(calls) : 2], lines[1 : 2 * len(calls) : 2], strict=True):
        call = calls[int(counted.split()[0]) - 1]
        assert where.strip() == f"{call['operator']} in {call['layer']}" and counted.endswith(call["rule"])
    assert all(len(line) <= 60 for line in lines)


def test_as_numbers(run, cat):
    done = run("audit", TINY, cat, "--json", "--param", "lrp.composite=zero")
    found = json.loads(done.stdout)
    parts = [found[f"relevance_at_{end}"] for end in ("input", "constants")] + [found["leaked"]]
    assert found["rules"] == "zero" and found["relevance_at_output"] == pytest.approx(sum(parts), abs=1e-4)
    leaks = [call["leak"] for call in found["calls"] if call["leak"] is not None]
    assert sum(leaks) == pytest.approx(found["leaked"], abs=1e-6)
    assert {"operator", "kind", "layer", "call", "rule", "runs"} <= set(found["calls"][0])


def test_methods_that_keep_no_books_tell_their_rules(run, cat):
    done = run("audit", TINY, cat, "-m", "guided_backprop")
    assert done.exit_code == 0 and "RAN IN BACKWARD" in done.stdout and "guided" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("-m", "lrp,deep_lift"), 2, "one model and one method"),
        (("-k", "2"), 2, "one target"),
        (("-m", "gradient"), 1, "no rules to audit"),
    ],
)
def test_what_has_no_audit_is_refused(run, cat, words, code, says):
    done = run("audit", TINY, cat, *words)
    assert done.exit_code == code and says in done.stderr


def test_two_photos_are_refused(run, photos):
    done = run("audit", TINY, photos)
    assert done.exit_code == 1 and "2 photos for an audit" in done.stderr
