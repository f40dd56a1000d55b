from __future__ import annotations

import json

import pytest
from tests.unit.cli.conftest import TINY

import pellucid
from pellucid.cli import sanity as command

NEVER = "tests.unit.cli.tiny:never"


def test_verdicts_in_a_table_with_what_failed_and_what_has_no_value(run, photos):
    done = run("sanity", TINY, photos, "-m", "gradient,smooth_grad", "--steps", "2", "--param", "smooth_grad.samples=4")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in ("randomised weights", "other class", "shifted input", "other seed", "other methods"):
        assert name in lines[0]
    assert lines[1].startswith("Gradient") and lines[2].startswith("SmoothGrad") and "✓" in lines[1]
    assert "– other seed: the method draws nothing (Gradient)" in done.stdout
    assert all(len(line) <= 80 for line in lines[3:])


def test_the_verdicts_are_those_of_the_library(run, photos):
    from tests.unit.cli import tiny

    words = ("-m", "gradient,grad_cam", "--test", "randomised_weights,other-class", "--steps", "2", "--seed", "3")
    found = json.loads(run("sanity", TINY, photos, *words, "-t", "beagle", "--json").stdout)
    tests = ["randomised weights", "other class"]
    wanted = pellucid.sanity(
        tiny.model(), str(photos), ["gradient", "grad_cam"], tests=tests, steps=2, seed=3, target="beagle"
    )
    assert [(v["method"], v["test"], v["state"]) for v in found["verdicts"]] == [
        (v.method, v.test, v.state) for v in wanted
    ]
    for mine, theirs in zip(found["verdicts"], wanted, strict=True):
        assert mine["value"] == pytest.approx(theirs.value, abs=1e-6)
    assert found["inputs"] == ["cat.png", "dog.png"] and found["flagged"] == list(wanted.flagged)


def test_page_and_numbers_are_written_and_nothing_overwritten(run, cat, tmp_path):
    words = (TINY, cat, "-m", "gradient", "--test", "other_class", "-o")
    done = run("sanity", *words, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {command.PAGE, command.NUMBERS}
    assert "other class" in (tmp_path / "out" / command.PAGE).read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "out" / command.NUMBERS).read_text(encoding="utf-8"))
    assert kept["verdicts"][0]["test"] == "other class"
    again = run("sanity", NEVER, cat, "-o", tmp_path / "out")
    assert again.exit_code == 1 and "in the way" in again.stderr
    assert run("sanity", *words, tmp_path / "only.json").exit_code == 0
    assert (tmp_path / "only.json").exists()


def test_strict_fails_where_a_method_fails(run, cat):
    """Of a baseline in the model's own units it is known that it does."""
    words = (cat, "--test", "shifted_input,other_class", "--strict", "-m")
    assert run("sanity", TINY, *words, "gradient").exit_code == 0
    zero = ("integrated_gradients", "--param", "integrated_gradients.baseline=zero")
    done = run("sanity", TINY, *words, *zero)  # `zero` is a number of the model's own units
    assert done.exit_code == 1 and "✗ Integrated Gradients" in done.stdout
    assert run("sanity", TINY, cat, "--test", "shifted_input", "-m", *zero).exit_code == 0


def test_inputs_that_cannot_be_read_are_told(run, photos, bad):
    done = run("sanity", TINY, photos, "-m", "gradient", "--test", "other_class", "--json")
    assert done.exit_code == 3 and "bad.png" in done.stderr
    assert "bad.png" in json.loads(done.stdout)["failed"][0]


def test_texts(run):
    """Nothing can be added to token ids, and weights can be redrawn."""
    done = run("sanity", "tests.unit.cli.tiny:reader", "a good thing it was", "-m", "gradient", "--steps", "2")
    assert done.exit_code == 0, done.stderr
    assert "shifted input:" in done.stdout and "nothing can be added" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--test", "other_clas"), 1, "other class"),
        (("-M", TINY), 2, "two models"),
        (("--param", "smooth_grad.samples=3"), 2, "say of which methods"),
        (("-m", "nothing"), 1, "nothing"),
        (("--overwrite",), 2, "nothing to write"),
        (("nowhere.png",), 1, "nowhere.png"),
    ],
)
def test_wrong_command_lines(run, cat, words, code, says):
    done = run("sanity", TINY, cat, *words)
    assert done.exit_code == code and says in done.stderr
