from __future__ import annotations

import json

import pytest
from tests.unit.cli import tiny

from pellucid import api, images, zoo
from pellucid.cli import demo


@pytest.fixture
def small(photos, monkeypatch):
    """The demonstration with a tiny model."""
    shown = [images.read(photos / f"{file}.png", name=name) for file, name in (("cat", "cat"), ("dog", "coffee"))]
    monkeypatch.setattr(zoo, "sample_photos", lambda: tuple(shown))
    monkeypatch.setattr(api, "load", lambda _: tiny.model())
    monkeypatch.setattr(demo, "METHODS", (("integrated_gradients", {"steps": 4}), ("grad_cam", {})))


def test_it_leaves_what_it_names(run, small, tmp_path):
    out = tmp_path / "demo"
    done = run("demo", "-o", out)
    assert done.exit_code == 0, done.stderr
    files = {"panel.png", "report.html", "explanations.safetensors", "cat.png", "coffee.png"}
    assert {p.name for p in out.iterdir()} == files
    assert "panel.png" in done.stdout and "report.html" in done.stdout
    assert sum(line.startswith("  pellucid ") for line in done.stdout.splitlines()) == 3
    assert "cat\n" in done.stdout and "coffee\n" in done.stdout


def test_it_may_be_run_again_but_spares_what_is_not_its_own(run, small, tmp_path):
    out = tmp_path / "demo"
    assert run("demo", "-o", out).exit_code == 0
    assert run("demo", "-o", out, "-q").stdout == ""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    done = run("demo", "-o", tmp_path / "mine")
    assert done.exit_code == 1 and "report.html" in done.stderr
    (tmp_path / "mine" / "explanations.safetensors").write_bytes(b"damaged")
    assert run("demo", "-o", tmp_path / "mine").exit_code == 1
    assert (tmp_path / "mine" / "report.html").read_text() == "mine"
    assert run("demo", "-o", tmp_path / "mine", "--overwrite").exit_code == 0


def test_as_json(run, small, tmp_path):
    found = json.loads(run("demo", "-o", tmp_path / "demo", "--json").stdout)
    assert [e["method"] for e in found["explanations"]] == ["integrated_gradients", "grad_cam"]
    assert len(found["files"]) == 5


def test_its_methods_exist_and_are_many():
    from pellucid import registry

    made = [registry.make(name, params) for name, params in demo.METHODS]
    assert {"grad_cam", "integrated_gradients", "smooth_grad", "guided_backprop", "guided_grad_cam", "occlusion"} <= {
        m.about.name for m in made
    }
    assert len(made) == 8
