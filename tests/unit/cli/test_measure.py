from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tests.unit.cli.conftest import TINY

import pellucid
from pellucid.cli.masks import masks_of

NEVER = "tests.unit.cli.tiny:never"


@pytest.fixture
def masks(tmp_path):
    """The left half of every photo."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("cat", "dog"):
        left = np.zeros((20, 24), np.uint8)
        left[:, :12] = 1
        Image.fromarray(left).save(folder / f"{name}.png")
    return folder


def test_explained_and_measured_in_one_go(run, photos):
    done = run("measure", "-M", TINY, photos, "-m", "gradient,grad_cam", "--metric", "deletion,sparseness")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["Deletion", "↓", "Gini", "sparseness", "↑"]
    assert lines[1].startswith("Gradient") and lines[2].startswith("Grad-CAM")
    assert "rows forward" in lines[-1]


def test_the_numbers_are_those_of_the_library(run, photos):
    done = run("measure", "-M", TINY, photos, "-m", "gradient", "--json", "--param", "deletion.steps=4")
    found = json.loads(done.stdout)
    from tests.unit.cli import tiny

    them = pellucid.explain(tiny.model(), str(photos), ["gradient"])
    wanted = pellucid.measure(
        tiny.model(), them, [pellucid.registry.make_metric("deletion", {"steps": 4}), "insertion"]
    )
    assert [m["metric"] for m in found["measurements"]] == ["deletion", "insertion"]
    assert found["measurements"][0]["params"]["steps"] == 4
    for entry, m in zip(found["measurements"], wanted, strict=True):
        assert entry["values"] == pytest.approx(m.values) and entry["mean"] == pytest.approx(m.mean)
        assert entry["images"] == ["cat.png", "dog.png"]


def test_what_was_explained_before(run, photos, tmp_path):
    """A folder of `explain -o`, its file, and a folder that was streamed to: the same numbers."""
    from tests.unit.cli import tiny

    assert run("explain", "-M", TINY, photos, "-m", "gradient", "-o", tmp_path / "out").exit_code == 0
    pellucid.explain(tiny.model(), str(photos), ["gradient"], save=tmp_path / "stream")
    once = run("measure", "-M", TINY, photos, "-m", "gradient", "--json")
    wanted = [m["values"] for m in json.loads(once.stdout)["measurements"]]
    for place in (tmp_path / "out", tmp_path / "out" / "explanations.safetensors", tmp_path / "stream"):
        done = run("measure", place, "--model", TINY, "--json")
        assert done.exit_code == 0, done.stderr
        for m, values in zip(json.loads(done.stdout)["measurements"], wanted, strict=True):
            assert m["values"] == pytest.approx(values, abs=1e-6)


def test_masks_go_through_the_geometry_of_the_photo(run, photos, masks):
    from tests.unit.cli import tiny

    found = masks_of(str(masks), {"cat.png": (20, 24)}, tiny.PREPROCESS)
    assert found[0].shape == (16, 16) and found[0][:, :7].all() and not found[0][:, 9:].any()
    names = ("-m", "gradient", "--metric", "relevance_mass")
    fresh = run("measure", "-M", TINY, photos, *names, "--masks", masks, "--json")
    assert fresh.exit_code == 0, fresh.stderr
    e = pellucid.explain(tiny.model(), str(photos), ["gradient"])[0]
    share = e.values.abs().sum(1)
    wanted = share[:, :, :8].sum((1, 2)) / share.sum((1, 2))
    values = json.loads(fresh.stdout)["measurements"][0]["values"]
    assert values == pytest.approx(wanted.tolist(), abs=1e-5)


def test_numbers_are_kept_and_nothing_is_overwritten(run, cat, tmp_path):
    to = tmp_path / "numbers.json"
    assert run("measure", "-M", TINY, cat, "-m", "gradient", "-o", to).exit_code == 0
    kept = pellucid.Measurements.read(to)
    assert kept.metrics == ("deletion", "insertion")
    again = run("measure", "-M", NEVER, cat, "-m", "gradient", "-o", to)
    assert again.exit_code == 1 and "in the way" in again.stderr
    assert run("measure", "-M", TINY, cat, "-m", "gradient", "-o", to, "--overwrite").exit_code == 0


def test_as_another_library_defines_it(run, cat):
    done = run("measure", "-M", TINY, cat, "-m", "gradient", "--compat", "xplique", "--metric", "deletion", "--json")
    [found] = json.loads(done.stdout)["measurements"]
    assert (found["params"]["steps"], found["params"]["fill"], found["output"]) == (10, "zero", "logit")
    refused = run("measure", "-M", NEVER, cat, "--compat", "quantus", "--metric", "infidelity")
    assert refused.exit_code == 1 and "not sound: squares pile up" in refused.stderr


def test_controls_stand_beside(run, cat):
    done = run("measure", "-M", TINY, cat, "-m", "gradient", "--controls")
    assert all(name in done.stdout for name in ("Random map", "Edges", "Centre"))


def test_what_has_no_value_says_why(run, cat):
    done = run("measure", "-M", TINY, cat, "-m", "gradient", "--metric", "completeness_gap,seed_stability")
    assert "Seed stability of Gradient: 1 of 1 without a value: the method draws nothing" in done.stdout
    found = json.loads(run("measure", "-M", TINY, cat, "-m", "gradient", "--metric", "seed_stability", "--json").stdout)
    assert found["measurements"][0]["values"] == [None] and found["measurements"][0]["mean"] is None


def test_texts(run):
    reader = "tests.unit.cli.tiny:reader"
    done = run("measure", "-M", reader, "a good thing it was", "-m", "gradient", "--metric", "comprehensiveness")
    assert done.exit_code == 0, done.stderr
    assert "Comprehensiveness" in done.stdout


def test_wide_tables_are_cut_into_several(run, cat):
    done = run("measure", "-M", TINY, cat, "-m", "gradient", "--metric", "complexity,deletion,insertion,road,irof")
    assert done.exit_code == 0 and all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stdout.count("Gradient (") >= 2


def test_inputs_that_cannot_be_read_are_told(run, photos, bad):
    done = run("measure", "-M", TINY, photos, "-m", "gradient")
    assert done.exit_code == 3 and "bad.png" in done.stderr and "Gradient" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--metric", "deletoin"), 1, "perhaps 'deletion'"),
        (("--metric", "localisation"), 2, "--masks FOLDER has to say where the object is"),
        (("--masks", "."), 2, "no chosen metric looks at masks"),
        (("--metric", "iou", "--masks", "nowhere"), 1, "is no folder"),
        (("--param", "road.steps=3"), 2, "the metrics are deletion, insertion"),
        (("--param", "deletion.steps=one"), 1, "deletion.steps"),
        (("--param", "deletion.stesp=3"), 1, "stesp"),
        (("-o", "numbers.txt"), 2, "ends in .json"),
        (("--overwrite",), 2, "nothing to write"),
        (("-M", TINY), 2, "2 models"),
    ],
)
def test_refused_before_anything_is_computed(run, cat, words, code, says):
    model = TINY if "nowhere" in words else NEVER
    done = run("measure", "-M", model, cat, "-m", "gradient", *words)
    assert done.exit_code == code and says in done.stderr


def test_a_run_of_another_model_or_with_idle_options_is_refused(run, cat, tmp_path):
    assert run("explain", "-M", TINY, cat, "-m", "gradient", "-o", tmp_path / "out").exit_code == 0
    nameless = run("measure", tmp_path / "out")
    assert nameless.exit_code == 1 and "--model" in nameless.stderr and "tiny" in nameless.stderr
    other = run("measure", tmp_path / "out", "-M", "tests.unit.cli.tiny:other")
    assert other.exit_code == 1 and "other weights" in other.stderr
    idle = run("measure", tmp_path / "out", "-M", TINY, "-m", "lime")
    assert idle.exit_code == 2 and "explained already" in idle.stderr
    both = run("measure", tmp_path / "out", cat, "-M", TINY)
    assert both.exit_code == 2 and "by itself" in both.stderr


def test_masks_that_do_not_fit_are_refused(run, photos, masks):
    words = ("measure", "-M", TINY, photos, "-m", "gradient", "--metric", "iou", "--masks", masks)
    Image.new("L", (5, 5), 1).save(masks / "dog.png")
    assert "the mask of dog.png has 5 × 5 pixels, the photo 24 × 20" in run(*words).stderr
    (masks / "dog.png").rename(masks / "dgo.png")
    assert "no mask of dog.png" in (missing := run(*words).stderr) and "perhaps 'dgo'" in missing
    Image.new("L", (24, 20), 1).save(masks / "dog.jpg")
    assert "JPEG" in run(*words).stderr


def test_what_it_would_cost(run, photos, tmp_path):
    """Before anything is explained, and of what was explained before."""
    words = ("-M", TINY, photos, "-m", "gradient,grad_cam", "--metric", "deletion", "--param", "deletion.steps=4")
    planned = json.loads(run("measure", *words, "--plan", "--json").stdout)
    assert planned == json.loads(run("plan", *words, "--json").stdout) | {"seconds": planned["seconds"]}
    done = json.loads(run("measure", *words, "--json").stdout)
    explained = json.loads(run("plan", *words[:5], "--json").stdout)
    wanted = done["passes"]["forward"] + explained["least"]["forward"]
    assert planned["least"]["forward"] == wanted and planned["metrics"] == ["Deletion"]
    assert run("explain", "-M", TINY, photos, "-m", "gradient,grad_cam", "-o", tmp_path / "out").exit_code == 0
    saved = run("measure", tmp_path / "out", "--model", TINY, "--metric", "deletion", "--plan", *words[-2:])
    assert f"forward rows     {done['passes']['forward']} " in saved.stdout
    assert run("plan", *words[:5], "--controls").exit_code == 2
