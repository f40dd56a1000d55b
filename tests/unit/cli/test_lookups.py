from __future__ import annotations

import json

import pytest
from tests.unit.cli import tiny
from tests.unit.cli.conftest import TINY

from pellucid import registry, zoo
from pellucid.core.words import WORDS

OWN = [name for name in registry.names() if registry.find(name).__module__.startswith("pellucid.")]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_methods_lists_every_method_with_its_defaults(run):
    done = run("methods")
    assert done.exit_code == 0 and max(map(len, done.stdout.splitlines())) <= 80
    for name in OWN:
        assert f"  {name} " in done.stdout and registry.find(name).about.title in done.stdout
    for part in ("steps=32", "baseline=black", "at=none", "relu=true", "method=...", "(ig)", "sauron"):
        assert part in done.stdout


@pytest.mark.parametrize("name", OWN)
def test_methods_tells_everything_about_one(run, name):
    done = run("methods", name)
    text = flat(done.stdout)
    assert done.exit_code == 0
    assert registry.find(name).about.title in text and all(key in text for key in registry.find(name).about.cite)
    assert flat(registry.find(name).about.summary) in text
    for parameter in registry.parameters(name):
        assert f"{parameter.name}=" in text and flat(parameter.meaning) in text
        assert parameter.meaning or parameter.name not in WORDS


def test_methods_as_json(run):
    found = json.loads(run("methods", "--json").stdout)
    assert set(OWN) <= {m["name"] for m in found["methods"]}
    (one,) = json.loads(run("methods", "ig", "--json").stdout)["methods"]
    assert one["parameters"][0] == {
        "name": "steps", "default": 32, "choices": [], "meaning": WORDS["steps"].meaning, "unit": "points"
    }  # fmt: skip


def test_models_lists_the_kinds_of_names(run):
    done = run("models")
    assert done.exit_code == 0
    assert all(place.name in done.stdout for place in zoo.names()) and "package.module:factory" in done.stdout
    assert json.loads(run("models", "--json").stdout)["default"] == "efficientnet_lite0"


def test_models_says_what_is_missing(run, monkeypatch):
    monkeypatch.setattr(zoo, "names", lambda: (zoo.Place("timm:NAME", "timm", False, "PyTorch Image Models"),))
    assert "needs pip install timm" in run("models").stdout


def test_labels_are_listed_and_searched(run):
    done = run("labels", "CAT", "-M", TINY)
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()] == [["1", "Egyptian cat"]]
    found = json.loads(run("labels", "-M", TINY, "--json").stdout)["labels"]
    assert [one["name"] for one in found] == list(tiny.CLASSES)


def test_labels_of_the_bundled_model_need_no_weights(run, monkeypatch):
    monkeypatch.setattr(zoo, "named", lambda *_, **__: pytest.fail("the model was loaded"))
    assert "285  Egyptian cat" in run("labels", "egyptian").stdout


def test_layers_marks_the_one_that_auto_takes(run, cat):
    found = json.loads(run("layers", TINY, "--json").stdout)["layers"]
    assert [one["name"] for one in found if one["auto"]] == ["3"]
    assert found[0] == {"name": "0", "type": "Conv2d", "shape": [6, 16, 16], "auto": False}
    lines = run("layers", "-M", TINY).stdout.splitlines()
    assert next(line.split()[1] for line in lines if line.startswith("→")) == "3"
    assert run("layers", TINY, "--input", cat).exit_code == 0


@pytest.fixture
def kept(run, photos, tmp_path):
    assert (
        run("explain", TINY, photos, "-m", "sg,ig", "--param", "sg.samples=2", "-o", tmp_path / "kept").exit_code == 0
    )
    return tmp_path / "kept"


def test_info_shows_record_parameters_checks_and_passes(run, kept):
    by_folder, by_file = run("info", kept), run("info", kept / "explanations.safetensors")
    assert by_folder.exit_code == by_file.exit_code == 0
    for done in (by_folder, by_file):
        text = flat(done.stdout)
        for part in (
            "samples=2",
            "steps=32",
            "channel 3 × height 16 × width 16",
            "forward",
            "checks",
            "Top(k=1)",
            "torch",
        ):
            assert part in text
    found = json.loads(run("info", kept, "--json").stdout)
    assert [e["method"] for e in found["explanations"]] == ["smooth_grad", "integrated_gradients"]


def test_info_of_a_folder_that_was_streamed_to(run, photos, tmp_path):
    import pellucid

    pellucid.explain(tiny.model(), photos, "gradient", save=tmp_path / "stream")
    assert "Gradient" in run("info", tmp_path / "stream").stdout


def test_info_of_a_picture(run, cat):
    assert "24 × 20 pixels" in run("info", cat).stdout
    assert json.loads(run("info", cat, "--json").stdout)["picture"]["height"] == 20


def test_cite_files_and_names_together(run, kept):
    done = run("cite", kept, "grad_cam", "ig")
    keys = [line.partition("{")[2].rstrip(",") for line in done.stdout.splitlines() if line.startswith("@")]
    assert keys == [
        "smilkov2017smoothgrad", "hooker2019benchmark", "sundararajan2017axiomatic", "selvaraju2017grad"
    ]  # fmt: skip
    assert json.loads(run("cite", "ig", "--json").stdout)["bibtex"].startswith("@inproceedings{sundararajan")
