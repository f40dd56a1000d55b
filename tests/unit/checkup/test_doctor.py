"""Every finding is made where it should be, with evidence and a fix, and not made on a model that lacks nothing."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.checkup import patients as p
from tests.unit.checkup.patients import CENTRED, PIXELS, Case, Net, net, photo, rows
from tests.unit.texts import Splitter
from torch import nn

import pellucid
from pellucid.api import checkup
from pellucid.preprocess import Preprocess
from pellucid.testing import Snapshot
from pellucid.zoo.labels import imagenet1k

IMAGENET = Preprocess(resize=(16, 16), crop=16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BGR = Preprocess(resize=(16, 16), crop=16, order="bgr")


def torchvisions() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    return models.squeezenet1_1(weights=None, num_classes=4).eval()


def named(*names: str) -> Case:
    return photo(net(), labels=names)


SOUND: Callable[[], Case] = lambda: photo(net(), labels=("a", "b", "c", "d"))  # noqa: E731

CASES: dict[str, tuple[Callable[[], Case], Callable[[], Case]]] = {
    "train_mode": (lambda: rows(net().train()), SOUND),
    "wrapped": (lambda: rows(nn.DataParallel(net())), SOUND),
    "compiled_in_place": (lambda: rows(p.compiled_in_place()), SOUND),
    "scripted": (lambda: rows(p.scripted()), SOUND),
    "quantised": (lambda: Case(p.quantised(), torch.rand(2, 6)), SOUND),
    "half_precision": (lambda: rows(p.half()), SOUND),
    "mixed_precision": (lambda: rows(p.mixed()), SOUND),
    "frozen": (lambda: rows(net().requires_grad_(False)), SOUND),
    "not_copied": (lambda: rows(net(p.Locked)), SOUND),
    "weights_not_finite": (lambda: rows(p.with_nan()), SOUND),
    "tied_weights": (lambda: rows(net(p.Tied)), SOUND),
    "equal_weights": (lambda: rows(p.equal_weights()), lambda: rows(net(p.Tied))),
    "does_not_run": (lambda: rows(net(p.Fails)), SOUND),
    "not_finite": (lambda: rows(net(p.Infinite)), SOUND),
    "softmax_head": (lambda: rows(net(p.Softmax)), lambda: rows(net(p.Shares))),
    "probabilities": (lambda: rows(net(p.Shares)), lambda: rows(net(p.Softmax))),
    "random_in_eval": (lambda: rows(net(p.Draws)), SOUND),
    "rows_see_each_other": (lambda: rows(net(p.Sees)), SOUND),
    "ignores_its_input": (lambda: rows(net(p.Deaf)), SOUND),
    "in_place": (lambda: rows(net(Net, 4, lambda: nn.ReLU(inplace=True))), SOUND),
    "functional_activations": (lambda: rows(net(p.Functional)), SOUND),
    "unused_parameters": (lambda: rows(net(p.Idle)), SOUND),
    "layer_choice": (SOUND, lambda: rows(net(p.Coarse))),
    "coarse_layer": (lambda: rows(net(p.Coarse)), SOUND),
    "no_layer": (lambda: rows(net(p.Flat)), SOUND),
    "no_labels": (lambda: rows(net()), SOUND),
    "label_count": (lambda: named("a", "b", "c"), SOUND),
    "label_duplicates": (lambda: named("a", "b", "b", "d"), SOUND),
    "label_background": (lambda: named("background", "b", "c", "d"), SOUND),
    "label_shift": (lambda: p.imagenet(1), lambda: p.imagenet(0)),
    "normalisation": (lambda: photo(p.configured(), PIXELS), lambda: photo(p.configured(), CENTRED)),
    "bgr": (lambda: photo(p.configured(mean=(0.0,) * 3, std=(1.0,) * 3), BGR), lambda: photo(net(), BGR)),
    "size": (
        lambda: photo(p.configured(input_size=(3, 32, 32)), CENTRED),
        lambda: photo(p.configured(input_size=(3, 32, 32), test_input_size=(3, 16, 16)), CENTRED),
    ),
    "channels": (lambda: photo(p.reads(CENTRED), PIXELS), lambda: photo(p.reads(CENTRED), CENTRED)),
    "channels_fit": (lambda: photo(p.reads(CENTRED), CENTRED), lambda: photo(p.reads(CENTRED), PIXELS)),
    "answer": (SOUND, lambda: photo(net(p.Deaf))),
    "undecided": (lambda: photo(net(p.Deaf)), lambda: photo(p.reads(CENTRED), emits="probabilities")),
    "constant_columns": (lambda: p.table([[0.5, 1.0]], varies=False), lambda: p.table([[0.5, 5.5]])),
    "outside_the_table": (lambda: p.table([[30.0, 5.5]]), lambda: p.table([[0.5, 5.5]])),
    "unknown_tokens": (lambda: p.text(p.Unknowing()), lambda: p.text(Splitter())),
    "cut": (lambda: p.text(Splitter(), "good " * 30), lambda: p.text(Splitter())),
    "vocabulary": (lambda: p.text(p.Wide()), lambda: p.text(Splitter())),
}


@pytest.mark.parametrize("name", CASES)
def test_the_finding_is_made_where_it_should_be(name: str) -> None:
    case = CASES[name][0]()
    found = pellucid.doctor(*case).find(name)
    assert found is not None, str(pellucid.doctor(*case))
    assert found.says and found.evidence and found.fix and "\n" not in found.fix
    assert any(isinstance(value, (int, float, dict, list, tuple, str)) for value in found.evidence.values())


@pytest.mark.parametrize("name", CASES)
def test_and_nowhere_else(name: str) -> None:
    assert pellucid.doctor(*CASES[name][1]()).find(name) is None


def test_every_finding_has_a_model_that_triggers_it_and_one_that_does_not() -> None:
    names: set[str] = set()
    for file in Path(checkup.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                (value,) = [k.value for k in node.keywords if k.arg == "name"]
                told = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                names |= {ast.literal_eval(one) for one in told}
    assert names == set(CASES)


def test_a_sound_model_has_no_errors_and_no_warnings() -> None:
    found = pellucid.doctor(*SOUND())
    assert not found.errors and not found.warnings, str(found)
    assert {"mode", "runs", "rows", "channels"} & set(found.looked) and "labels" in found.looked


def test_another_order_of_the_channels_is_found() -> None:
    found = pellucid.doctor(*photo(p.reads(BGR), PIXELS)).find("channels")
    assert found is not None and "swapped channels" in found.says
    clear = found.evidence["how far the best class stands out"]
    assert clear["swapped channels"] > clear["as declared"] + 1


@pytest.mark.parametrize(("trained", "reading"), [(PIXELS, "0 to 1"), (IMAGENET, "ImageNet's mean and std")])
def test_another_range_is_found(trained: Preprocess, reading: str) -> None:
    found = pellucid.doctor(*photo(p.reads(trained), CENTRED)).find("channels")
    assert found is not None and reading in found.says


def test_configurations_of_torchvision_are_those_of_its_weights() -> None:
    good = photo(torchvisions(), Preprocess(resize=256, crop=224, mean=IMAGENET.mean, std=IMAGENET.std))
    assert pellucid.doctor(*good).find("normalisation") is None
    found = pellucid.doctor(*photo(torchvisions(), Preprocess(resize=256, crop=224))).find("normalisation")
    assert found is not None and found.evidence["wanted mean"] == list(IMAGENET.mean) and "0.485" in found.fix


@pytest.mark.parametrize(("mean", "is_found"), [(0.5, False), (0.2, True)])
def test_configurations_of_hugging_face_are_read_from_the_folder(tmp_path: Path, mean: float, is_found: bool) -> None:
    found = pellucid.doctor(*photo(p.hugging_face(tmp_path, mean), CENTRED)).find("normalisation")
    assert (found is not None) == is_found


def test_one_output_more_than_names_is_said_to_be_a_background_class() -> None:
    found = pellucid.doctor(*photo(net(Net, 5), labels=("a", "b", "c", "d"))).find("label_count")
    assert found is not None and "background" in found.fix and found.evidence == {"names": 4, "outputs": 5}


def test_names_moved_by_one_are_measured() -> None:
    found = pellucid.doctor(*p.imagenet(1)).find("label_shift")
    assert found is not None and found.evidence["share that agrees, moved by +1"] > 0.9
    assert len(imagenet1k()) == 1000


def test_without_inputs_what_needs_them_is_skipped_with_the_reason() -> None:
    found = pellucid.doctor(pellucid.wrap(net(), PIXELS))
    assert "channels" in found.skipped and "answer is known" in found.skipped["channels"]
    bare = pellucid.doctor(net())
    assert "runs" in bare.skipped and "mode" in bare.looked


@pytest.mark.parametrize("module", [net().train(), net(p.Locked), net(p.Tied), net(p.Infinite), net(p.Draws)])
def test_the_model_and_the_process_are_left_as_they_were(module: nn.Module) -> None:
    case = rows(module)
    before = Snapshot.of(module, case.inputs)
    pellucid.doctor(*case)
    assert before.changes() == ()


def test_findings_print_and_are_data() -> None:
    found = pellucid.doctor(rows(net().train()).model, rows(net()).inputs)
    text = str(found)
    assert text.startswith("Net: 0 errors, 1 warning") and "fix: model.eval()" in text and repr(found) == text
    json.dumps([asdict(one) for one in found])
    assert found.warnings[0].name == "train_mode" and next(iter(found)).severity == "warning" and len(found) >= 1


def test_what_only_gives_scores_is_examined_too() -> None:
    handle = pellucid.wrap(
        lambda rows: np.stack([rows[:, 0], 1 - rows[:, 0]], 1), np.random.default_rng(0).random((9, 3))
    )
    found = pellucid.doctor(handle, np.full((2, 3), 0.5))
    assert not found.errors and "rows" in found.looked and "mode" not in found.looked
