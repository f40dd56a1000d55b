from __future__ import annotations

import json
import shutil

import pytest
import torch
from tests.unit.cli import tiny
from tests.unit.cli.conftest import TINY

from pellucid import images
from pellucid.core import store


def outputs(*paths):
    """What the model says, asked directly."""
    with torch.no_grad():
        return tiny.module()(tiny.PREPROCESS.rows([images.read(path) for path in paths]))


def document(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_predictions_are_the_models_own(run, photos):
    found = document(run("explain", TINY, photos, "-m", "grad_cam", "--json"))
    expected = outputs(photos / "cat.png", photos / "dog.png").softmax(1)
    for row, listed in enumerate(found["models"][0]["predictions"]):
        assert [one["index"] for one in listed["top"]] == expected[row].argsort(descending=True).tolist()
        for one in listed["top"]:
            assert one["name"] == tiny.CLASSES[one["index"]]
            assert one["probability"] == pytest.approx(float(expected[row, one["index"]]), abs=1e-6)


def test_the_target_and_versus_choose_the_number(run, cat):
    words = ("explain", "-M", TINY, cat, "-m", "ig", "--target", "otter", "--versus", "Egyptian cat", "--json")
    scores = outputs(cat)[0]
    (entry,) = document(run(*words))["explanations"]
    assert entry["images"][0]["target"]["score"] == pytest.approx(float(scores[3] - scores[1]), abs=1e-5)
    (entry,) = document(run(*words, "--output", "probability"))["explanations"]
    scores = scores.softmax(0)
    assert entry["images"][0]["target"]["score"] == pytest.approx(float(scores[3] - scores[1]), abs=1e-5)


def test_classes_by_number_by_name_and_the_best(run, cat):
    found = document(run("explain", TINY, cat, "-m", "gradient", "-t", "2", "-t", "OTTER", "--json"))
    assert [e["images"][0]["target"]["index"] for e in found["explanations"]] == [2, 3]
    found = document(run("explain", TINY, cat, "-m", "gradient", "-k", "3", "--json"))
    best = outputs(cat)[0].argsort(descending=True).tolist()[:3]
    assert [e["images"][0]["target"]["index"] for e in found["explanations"]] == best


def test_people_read_predictions_methods_and_checks(run, photos):
    done = run("explain", TINY, photos, "-m", "grad_cam,ig", "--param", "ig.steps=1", "-v")
    assert done.exit_code == 0
    text = done.stdout
    for word in (
        "cat.png",
        "dog.png",
        "Grad-CAM",
        "Integrated Gradients",
        "completeness",
        "logit",
        "rows forward",
        " %",
    ):
        assert word in text
    assert "✗ completeness" in text and "✓ 1 check" in text  # one step is not enough
    assert "nothing written" in done.stderr
    assert max(map(len, text.splitlines())) <= 80


def test_quiet_says_nothing(run, cat, tmp_path):
    done = run("explain", TINY, cat, "-m", "grad_cam", "-q", "-o", tmp_path / "map.png")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "map.png").exists()


def test_a_folder_gets_numbers_panel_report_and_maps(run, photos, tmp_path):
    out = tmp_path / "deep" / "out"
    found = document(run("explain", TINY, photos, "-m", "grad_cam,occlusion,gradient", "-o", out, "--json"))
    assert sorted(p.name for p in out.iterdir()) == ["explanations.safetensors", "maps", "panel.png", "report.html"]
    assert len(list((out / "maps").glob("*.png"))) == 2 * 3
    assert {str(p) for p in out.rglob("*") if p.is_file()} == set(found["files"])
    kept = store.load(out / "explanations.safetensors")
    assert kept.methods == ("grad_cam", "occlusion", "gradient") and kept.images == ("cat.png", "dog.png")
    assert (out / "report.html").read_text("utf-8").lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.html", b"<!"), ("A.PNG", b"\x89PNG"), ("a.safetensors", None)],
)
def test_one_file_by_its_ending(run, cat, tmp_path, name, begins):
    path = tmp_path / "new" / name
    done = run("explain", TINY, cat, "-m", "grad_cam", "-o", path)
    assert done.exit_code == 0 and str(path) in done.stdout.replace("\n", "")
    assert [p.name for p in path.parent.iterdir()] == [name]
    if begins is None:
        assert len(store.load(path)) == 1
    else:
        assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize("taken", ["panel.png", "report.html", "explanations.safetensors", "maps"])
def test_files_in_the_way_are_seen_before_a_model_is_built(run, cat, tmp_path, taken):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / taken).write_text("mine")
    done = run("explain", "tests.unit.cli.tiny:never", cat, "-o", tmp_path / "out")
    assert done.exit_code == 1 and taken in done.stderr and "--overwrite" in done.stderr
    assert (tmp_path / "out" / taken).read_text() == "mine"


def test_overwrite_replaces_files_of_the_same_names_only(run, cat, tmp_path):
    out = tmp_path / "out"
    words = ("explain", TINY, cat, "-m", "grad_cam", "-o", out)
    assert run(*words).exit_code == 0
    (out / "notes.txt").write_text("mine")
    before = (out / "panel.png").stat().st_mtime_ns
    assert run(*words).exit_code == 1
    assert run(*words, "--overwrite").exit_code == 0
    assert (out / "notes.txt").read_text() == "mine" and (out / "panel.png").stat().st_mtime_ns > before


def test_unreadable_photos_are_listed_and_the_others_done(run, photos, bad):
    done = run("explain", TINY, photos, "-m", "grad_cam", "--json")
    assert done.exit_code == 3
    assert "1 photo could not be read" in done.stderr and "bad.png" in done.stderr
    found = json.loads(done.stdout)
    assert [i["image"] for i in found["explanations"][0]["images"]] == ["cat.png", "dog.png"]
    assert len(found["failed"]) == 1 and "bad.png" in found["failed"][0]


def test_photos_of_the_same_name_stay_apart(run, cat, tmp_path):
    (tmp_path / "more").mkdir()
    shutil.copy(cat.parent / "dog.png", tmp_path / "more" / "cat.png")
    found = document(run("explain", TINY, cat, tmp_path / "more" / "cat.png", "-m", "gradient", "--json"))
    assert [i["image"] for i in found["explanations"][0]["images"]] == ["cat.png", "cat.png (2)"]


def test_methods_come_as_words_lists_and_groups_each_once(run, cat):
    found = document(run("explain", TINY, cat, "-m", "cams", "-m", "gb,gradcam", "-m", "Grad-CAM", "--json"))
    names = [e["method"] for e in found["explanations"]]
    assert names == ["grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam", "guided_backprop"]


def params(found, method):
    return [e["params"] for e in found["explanations"] if e["method"] == method]


@pytest.mark.parametrize("written", ["ig.steps=7", "integrated_gradients.steps=7", "ig.steps = 7", "ig.max-steps=7"])
def test_parameters_by_either_name_of_the_method(run, cat, written):
    (found,) = params(
        document(run("explain", TINY, cat, "-m", "ig", "--param", written, "--json")), "integrated_gradients"
    )
    assert 7 in (found["steps"], found["max_steps"])


def test_a_parameter_for_a_method_reaches_all_its_variants_and_one_for_a_variant_only_it(run, cat):
    words = ("explain", TINY, cat, "-m", "sg,sgi", "--json", "--param")
    found = params(document(run(*words, "smooth_grad.samples=3")), "smooth_grad")
    assert [(p["samples"], p["times_input"]) for p in found] == [(3, False), (3, True)]
    found = params(document(run(*words, "sgi.samples=3")), "smooth_grad")
    assert [(p["samples"], p["times_input"]) for p in found] == [(32, False), (3, True)]


def test_a_method_inside_another(run, cat):
    words = ("explain", TINY, cat, "-m", "smooth", "--param", "smooth.method=grad_cam", "--param", "smooth.samples=2")
    (found,) = params(document(run(*words, "--json")), "smooth")
    assert found["method"]["method"] == "grad_cam"


def test_seed_and_layer_are_for_the_methods_that_have_them_and_yield_to_param(run, cat):
    words = ("--seed", "5", "--at", "1", "--param", "layer_cam.at=3", "--param", "sg.samples=2", "--json")
    found = document(run("explain", TINY, cat, "-m", "sg,grad_cam,layer_cam,occlusion", *words))
    assert [e["seed"] for e in found["explanations"]] == [5, None, None, None]
    assert [e["at"] for e in found["explanations"]] == [None, "1", "3", None]


def test_rows_and_evaluation_reach_the_engine(run, cat):
    words = ("explain", TINY, cat, "-m", "ig", "--param", "ig.steps=6", "--rows", "2", "--evaluate", "plain", "--json")
    (model,) = document(run(*words))["models"]
    assert model["evaluator"] == "plain: asked for" and model["passes"]["calls"] >= 3


def test_a_file_with_the_name_of_a_model_is_a_photo(run, cat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(cat, tmp_path / "timm:cat")
    found = document(run("explain", "-M", TINY, "timm:cat", "-m", "gradient", "--json"))
    assert found["explanations"][0]["images"][0]["image"] == "timm:cat"


@pytest.mark.parametrize("name", ["READY", "module"])
def test_a_factory_may_be_a_handle_or_return_a_bare_module(run, photos, tmp_path, name):
    from PIL import Image

    path = tmp_path / "small.png"
    Image.open(photos / "cat.png").resize((16, 16)).save(path)
    found = document(run("explain", f"tests.unit.cli.tiny:{name}", path, "-m", "gradient", "--json"))
    assert found["models"][0]["name"] == ("tiny" if name == "READY" else "tests.unit.cli.tiny:module")


def test_models_are_compared_side_by_side(run, photos, tmp_path):
    words = ("compare", "-M", "tests.unit.cli.tiny:other", TINY, photos, "-m", "grad_cam,gradient")
    found = document(run(*words, "-o", tmp_path / "out", "--json"))
    assert [m["name"] for m in found["models"]] == ["other", "tiny"]
    assert [(e["model"], e["method"]) for e in found["explanations"]] == [
        (model, method) for model in ("other", "tiny") for method in ("grad_cam", "gradient")
    ]
    assert len(list((tmp_path / "out" / "maps").iterdir())) == 8
    done = run(*words)
    assert done.exit_code == 0 and "other" in done.stdout and "tiny" in done.stdout


def test_the_plan_counts_what_the_run_does(run, photos):
    words = (TINY, photos, "-m", "ig,sg,grad_cam,occlusion", "--param", "occ.window=5", "--json")
    plan, did = document(run("plan", *words)), document(run("explain", *words))["models"][0]["passes"]
    assert plan["images"] == 2 and plan["least"]["forward"] == did["forward"]
    assert plan["least"]["backward"] == did["backward"]
    done = run("plan", TINY, photos)
    assert done.exit_code == 0 and "forward rows" in done.stdout


def test_names_cannot_steer_the_terminal(run, cat, tmp_path):
    name = tmp_path / "e\x1b[31mvil\r.png"
    shutil.copy(cat, name)
    done = run("explain", "tests.unit.cli.tiny:hostile", name, "-m", "gradient", "-k", "4", "-v", color=True)
    assert done.exit_code == 0
    for trick in ("\x1b[2J", "\x1b[31m", "\x1b[1mbold", "\r", "\u202e"):
        assert trick not in done.stdout.replace("\x1b[31m\x1b[1m✗", "")
