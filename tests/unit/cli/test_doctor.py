from __future__ import annotations

import json

from tests.unit.checkup.patients import CENTRED, net
from tests.unit.cli.conftest import TINY

import pellucid


def train():
    return net().train()


def broken():
    return pellucid.wrap(net(), CENTRED, ("a", "b", "c"), name="\x1b[1mbold")


HERE = "tests.unit.cli.test_doctor"


def test_a_sound_model_with_a_photo(run, cat):
    done = run("doctor", TINY, cat)
    assert done.exit_code == 0 and "0 errors" in done.stdout and "the model takes it for" in done.stdout
    assert "layer_choice" in done.stdout and "fix:" in done.stdout


def test_as_json(run, cat):
    done = run("doctor", "-M", TINY, cat, "--json")
    found = json.loads(done.stdout)
    assert found["model"] == "tiny" and found["errors"] == 0 and "labels" in found["examined"]
    assert all({"name", "severity", "says", "evidence", "fix"} == set(one) for one in found["findings"])


def test_exit_codes(run):
    assert run("doctor", f"{HERE}:train").exit_code == 0
    assert run("doctor", f"{HERE}:train", "--strict").exit_code == 1
    done = run("doctor", f"{HERE}:broken")
    assert done.exit_code == 1 and "label_count" in done.stdout and "\x1b" not in done.stdout


def test_what_cannot_be_read_is_said_before_a_model_is_built(run):
    done = run("doctor", "tests.unit.cli.tiny:never", "nowhere.png")
    assert done.exit_code == 1 and "nowhere.png" in done.stderr
