"""Wrong input of every kind: the exit code, and a message that names the remedy; never a traceback."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.conftest import TINY

FAILED, USAGE = 1, 2
OF = "tests.unit.cli.tiny"

WRONG = [
    # what exists not
    (FAILED, "explain {TINY} cta.png", "cat.png"),
    (FAILED, "explain {TINY} bad.png", "bad.png is not a picture"),
    (FAILED, "explain {TINY} empty", "no pictures"),
    (FAILED, "explain {TINY} cat.png -m gradcm", "'grad_cam'"),
    (FAILED, "explain {TINY} cat.png -t 'egyptian ct'", "'Egyptian cat'"),
    (FAILED, "explain {TINY} cat.png -t 4", "below 4"),
    (FAILED, "explain {TINY} cat.png -t -1", "-1"),
    (FAILED, "explain {TINY} cat.png -t tabby --versus tiger", "tiger"),
    (FAILED, "explain {OF}:nameless cat.png -t tabby", "no class names"),
    (FAILED, "explain {TINY} cat.png -k 5", "at most Top(4)"),
    (FAILED, "explain {TINY} cat.png -m grad_cam --at nowhere", "nowhere"),
    (FAILED, "explain {TINY} cat.png -m grad_cam --at 5", "height"),
    (FAILED, "explain {TINY} cat.png -m ig --param ig.stps=3", "'steps'"),
    (FAILED, "explain {TINY} cat.png -m ig --param igg.steps=3", "igg"),
    (FAILED, "explain {TINY} cat.png -m ig --param ig.steps=0", "at least 1"),
    (FAILED, "explain {TINY} cat.png -m ig --param ig.steps=many", "number"),
    (FAILED, "explain {TINY} cat.png -m ig --param ig.rule=simpson", "'midpoint'"),
    (FAILED, "explain {TINY} cat.png -m ig --param ig.baseline=blak", "'black'"),
    (FAILED, "explain {TINY} cat.png -m smooth", "method"),
    (FAILED, "explain {OF}:modle cat.png", "'model'"),
    (FAILED, "explain {OF}:wrong cat.png", "dict"),
    (FAILED, "explain {OF}:never cat.png", "RuntimeError"),
    (FAILED, "explain {OF}:grey cat.png -m gradient", "grey fails on a row of shape (3, "),
    (FAILED, "explain nosuchmodule:make cat.png", "nosuchmodule"),
    (FAILED, "explain tests.unit.cli.nosuch:make cat.png", "nosuch"),
    (FAILED, "explain -M resnet18 cat.png", "timm:resnet18"),
    (FAILED, "explain {TINY} cat.png -m smooth", "--param smooth.method="),
    (FAILED, "explain {TINY} qqq.png", "check the path"),
    (FAILED, "explain {TINY} cat.png -m grad_cam --tolerance 0.1", "with grad_cam"),
    (FAILED, "explain {TINY} cat.png -m lime --budget 2x", "'90s'"),
    (FAILED, "explain {TINY} cat.png -m lime --budget 0", "above zero"),
    (FAILED, "explain -M http://a.b/c cat.png", "no model"),
    (FAILED, "explain -M efficientnet_lite0 cat.png --no-pretrained", "pretrained"),
    (FAILED, "explain https://a.b/cat.png", "address"),
    (FAILED, "explain {TINY} cat.png -o cat.png/out", "is a file"),
    (FAILED, "explain {TINY} cat.png -o cat.png", "in the way"),
    (FAILED, "methods gradcm", "'grad_cam'"),
    (FAILED, "labels tabbi", "tabby"),
    (FAILED, "labels -M {OF}:nameless", "no class names"),
    (FAILED, "layers {OF}:modle", "'model'"),
    (FAILED, "layers {OF}:module", "any size"),
    (FAILED, "info nothing.png", "no file"),
    (FAILED, "info nothing.safetensors", "no file"),
    (FAILED, "info bad.png", "not a picture"),
    (FAILED, "info damaged.safetensors", "cannot be read"),
    (FAILED, "info empty", "no explanations"),
    (FAILED, "cite bad.safetensors", "no method"),
    (FAILED, "cite damaged.safetensors", "cannot be read"),
    (FAILED, "plan {TINY} cat.png -m gradcm", "'grad_cam'"),
    # wrong command lines
    (USAGE, "explain {TINY} cat.png -m lime --tolerance much", "not a valid number"),
    (USAGE, "explain {TINY} cat.png -m lime --tolerance 0", "x>0"),
    (USAGE, "--no-progress explain {TINY} cat.png", "pellucid explain --no-progress"),
    (USAGE, "--no-such explain {TINY} cat.png", "No such option"),
    (USAGE, "explain", "INPUT"),
    (USAGE, "explain {TINY}", "no photo"),
    (USAGE, "explian", "'explain'"),
    (USAGE, "explain {TINY} cat.png --methd grad_cam", "--method"),
    (USAGE, "explain {TINY} cat.png -k 2 -t tabby", "--top-k and --target"),
    (USAGE, "explain {TINY} cat.png -k 2 --versus tabby", "--top-k and --versus"),
    (USAGE, "explain {TINY} cat.png -k 0", "0"),
    (USAGE, "explain {TINY} cat.png --seed -1", "-1"),
    (USAGE, "explain {TINY} cat.png -m ig --seed 1", "--seed"),
    (USAGE, "explain {TINY} cat.png -m occlusion --at 3", "--at"),
    (USAGE, "explain {TINY} cat.png --output logits", "logit"),
    (USAGE, "explain {TINY} cat.png --rows 0", "auto"),
    (USAGE, "explain {TINY} cat.png --rows some", "auto"),
    (USAGE, "explain {TINY} cat.png --param ig.steps", "ig.steps=64"),
    (USAGE, "explain {TINY} cat.png --param steps=3", "ig.steps=64"),
    (USAGE, "explain {TINY} cat.png -m ig --param gb.at=1", "the methods are ig"),
    (USAGE, "explain {TINY} cat.png -m ,", "no method"),
    (USAGE, "explain {TINY} cat.png -o out.jpg", ".png"),
    (USAGE, "explain {TINY} cat.png --overwrite", "--output-dir"),
    (USAGE, "explain {TINY} cat.png --no-pretrained", "--no-pretrained"),
    (USAGE, "explain -M {TINY} {TINY} cat.png", "compare"),
    (USAGE, "compare {TINY} cat.png", "two or more"),
    (USAGE, "plan -M {TINY} {TINY} cat.png", "one at a time"),
    (USAGE, "layers {TINY} -M {TINY}", "two models"),
    (USAGE, "cite", "FILE|METHOD"),
    (USAGE, "info", "FILE"),
]


@pytest.fixture
def place(photos, bad, monkeypatch):
    (photos / "empty").mkdir()
    (photos / "damaged.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage")
    monkeypatch.chdir(photos)
    return photos


@pytest.mark.parametrize(("code", "line", "says"), WRONG, ids=[line for _, line, _ in WRONG])
def test_wrong_input_is_refused_with_a_remedy(run, place, code, line, says):
    import shlex

    before = sorted(place.rglob("*"))
    done = run(*shlex.split(line.format(TINY=TINY, OF=OF)))
    assert done.exit_code == code, (done.stdout, done.stderr)
    assert says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(place.rglob("*")) == before


def test_an_error_is_json_too_where_json_was_asked_for(run, place):
    done = run("explain", TINY, "cat.png", "-m", "gradcm", "--json")
    assert done.exit_code == FAILED and "Error:" in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "ParameterError" and "grad_cam" in error["do"]


def test_a_traceback_where_it_was_asked_for(run, place):
    assert "Traceback" not in run("explain", f"{OF}:never", "cat.png", "-v").stderr
    told = run("explain", f"{OF}:never", "cat.png", "-vv").stderr
    assert "Traceback" in told and "in never" in told and told.rstrip().splitlines()[-1].startswith("  Do:")


def test_all_unreadable_photos_are_named(run, place):
    (place / "worse.png").write_bytes(b"")
    done = run("explain", TINY, "bad.png", "worse.png")
    assert done.exit_code == FAILED
    assert "none of the 2 photos" in done.stderr and "bad.png" in done.stderr and "worse.png" in done.stderr


def test_a_disk_that_cannot_be_written_to_is_a_message(run, place, monkeypatch):
    from pellucid.cli import explain

    def full(*_):
        raise OSError(28, "No space left on device", "out/panel.png")

    monkeypatch.setattr(explain, "write", full)
    done = run("explain", TINY, "cat.png", "-m", "gradient", "-o", "out")
    assert done.exit_code == FAILED and "No space left" in done.stderr
