"""Two runs compared: numbers by hand, and everything that may be another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tests.unit.cli.conftest import run as run
from tests.unit.core.values import made
from torch import Tensor

from pellucid import Explanations, diff, save
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Check, Explanation
from pellucid.core.store import Shelf


def valued(values: Tensor, **more: Any) -> Explanation:
    return replace(made(len(values), tuple(values.shape[1:]), picture=False), values=values, **more)


A = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
NOISE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()


def test_a_run_is_like_itself() -> None:
    found = diff(valued(A), valued(A))
    assert found.ok and found.same_model and found.same_parameters and not found.beyond
    assert [(row.correlation, row.overlap, row.distance) for row in found] == [(1.0, 1.0, 0.0)] * 2


def test_runs_without_anything_in_common_are_told_so() -> None:
    a = valued(A)
    found = diff(a, replace(a, record=replace(a.record, method="other")))
    assert not found.ok and len(found) == 0
    assert "nothing in common" in found.facts()[-1]
    assert not any("parameters" in fact for fact in found.facts())


def test_the_numbers_are_those_of_others() -> None:
    b = A + 0.3 * NOISE
    found = diff(valued(A), valued(b), level=0.1)
    for i, row in enumerate(found):
        u, v = A[i].sum(0).flatten().numpy(), b[i].sum(0).flatten().numpy()
        assert row.correlation == pytest.approx(spearmanr(u, v).statistic)
        assert row.distance == pytest.approx(np.linalg.norm(b[i] - A[i]) / np.linalg.norm(A[i]))
        tops = [set(np.argsort(one)[-6:]) for one in (u, v)]
        assert row.overlap == pytest.approx(len(tops[0] & tops[1]) / 6)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"correlation": 0.9999}, "rank correlation"),
        ({"overlap": 1.0, "level": 0.4}, "overlap by"),
        ({"distance": 0.01}, "relative distance"),
    ],
)
def test_each_tolerance_has_its_own_say(how: dict[str, float], words: str) -> None:
    loose = {"correlation": -1.0, "overlap": 0.0, "distance": 9.0}
    b = A + 0.3 * NOISE
    assert diff(valued(A), valued(b), **loose).ok
    found = diff(valued(A), valued(b), **{**loose, **how})
    assert not found.ok and all(len(row.beyond) == 1 and words in row.beyond[0] for row in found.beyond)


def test_another_target_is_beyond_every_tolerance() -> None:
    e = valued(A)
    other = replace(e, target=replace(e.target, index=(1, 1), name=("dog", "dog")))
    found = diff(e, other)
    assert [row.image for row in found.beyond] == ["photo 0"] and "cat (logit) → dog (logit)" in found.beyond[0].beyond[
        0
    ]


def test_a_check_that_turns_red_is_beyond_and_one_that_recovers_is_said() -> None:
    green = Check(name="completeness", value=(0.01, 0.01), passed=(True, True), limit=0.05)
    red = replace(green, value=(0.01, 0.2), passed=(True, False))
    found = diff(valued(A, checks=(green,)), valued(A, checks=(red,)))
    assert [row.image for row in found.beyond] == ["photo 1"] and "0.01 → 0.2" in str(found)
    back = diff(valued(A, checks=(red,)), valued(A, checks=(green,)))
    assert back.ok and any("green again" in said for row in back for said in row.changed)


def test_models_parameters_and_layers_are_said_and_fail_only_if_strict() -> None:
    e = valued(A)
    record = replace(e.record, params={**e.record.params, "steps": 64}, at="layer4")
    other = replace(e, record=replace(record, model=replace(record.model, fingerprint="g")))
    found = diff(e, other)
    assert found.ok and not found.same_model and not found.same_parameters
    assert {"parameter steps: 3 → 64", "layer None → layer4", "the model's weights"} <= set(found.rows[0].changed)
    assert not diff(e, other, strict=True).ok and diff(e, e, strict=True).ok


def test_what_only_one_run_has_is_listed() -> None:
    e = valued(A)
    two = Explanations((e, replace(e, record=replace(e.record, method="grad_cam"))))
    found = diff(two, valued(A[:1]))
    assert found.only_a == ("grad_cam", "photo 1 (gradient)") and found.ok and len(found) == 1
    assert not diff(two, e, strict=True).ok
    assert diff(valued(A[:1]), e).only_b == ("photo 1 (gradient)",)


def test_runs_with_nothing_in_common_are_not_alike() -> None:
    e = valued(A)
    assert not diff(e, replace(e, record=replace(e.record, method="lime"))).ok


def test_other_shapes_and_broken_maps_are_beyond() -> None:
    assert "shape (3, 8, 8) → (3, 4, 4)" in diff(valued(A), valued(A[..., ::2, ::2])).beyond[0].beyond[0]
    assert not diff(valued(A), valued(A * torch.nan)).ok
    assert diff(valued(A * torch.nan), valued(A * torch.nan)).ok  # equal, however broken
    assert not diff(valued(A), valued(A * 0)).ok and not diff(valued(A * 0), valued(A)).ok


def test_inputs_of_the_same_name_are_told_apart() -> None:
    e = valued(A)
    same = replace(e, inputs=replace(e.inputs, name=("photo", "photo")))
    assert [row.image for row in diff(same, same)] == ["photo", "photo (2)"]


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    e = valued(A)
    file, shelf = save(e, tmp_path / "one"), Shelf.new(tmp_path / "many")
    for i in range(3):
        shelf.add(i, replace(e, record=replace(e.record, method=f"m{i}")))
    shelf.done()
    assert diff(file, e).ok and diff(tmp_path / "many", tmp_path / "many").ok
    assert len(diff(tmp_path / "many", tmp_path / "many")) == 6


@pytest.mark.parametrize("bad", [3, [], ["x"], Explanations()])
def test_what_holds_no_explanations_is_refused(bad: Any) -> None:
    with pytest.raises(InputError):
        diff(bad, valued(A))


@pytest.mark.parametrize("how", [{"correlation": 2}, {"overlap": -0.1}, {"distance": -1}, {"level": 0}])
def test_impossible_tolerances_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        diff(valued(A), valued(A), **how)


def test_the_command(run: Any, tmp_path: Path) -> None:
    a, b = save(valued(A), tmp_path / "a"), save(valued(A + NOISE), tmp_path / "b")
    assert run("diff", a, a).exit_code == 0
    done = run("diff", a, b)
    assert done.exit_code == 1 and "photo 0" in done.stdout and "beyond the tolerances" in done.stdout
    found = json.loads(run("diff", a, b, "--json").stdout)
    assert found["ok"] is False and found["rows"][0]["method"] == "gradient" and found["same_model"] is True
    assert run("diff", a, b, "--correlation", -1, "--overlap", 0, "--distance", 9).exit_code == 0
    assert run("diff", a, tmp_path / "nothing").exit_code == 1
    folder = tmp_path / "out"
    folder.mkdir()
    save(valued(A), folder / "explanations.safetensors")
    assert run("diff", folder, a).exit_code == 0
