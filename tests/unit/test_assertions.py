"""The assertions and the fixture of the pytest plugin: what passes, what fails, and in which words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.core.values import made
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

import pellucid
from pellucid.core.errors import InputError
from pellucid.core.explanation import Check, Explanation, Kind
from pellucid.testing import (
    Unexpected,
    assert_explanations_close,
    assert_mass_in,
    assert_not_degenerate,
)
from pellucid.testing.assertions import Snapshot


def mapped(values: Tensor, kind: Kind = Kind.CONTRIBUTION, **more: Any) -> Explanation:
    e = made(len(values), tuple(values.shape[1:]), picture=False)
    return replace(e, values=values, kind=kind, checks=(), **more)


def planted(inside: float, count: int = 2) -> tuple[Explanation, Tensor]:
    """A map [8, 8] of which this share of the positive part is in the mask, a quarter of the picture."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, 4:] = True
    values = torch.where(mask, inside / 16, (1 - inside) / 48).double().expand(count, 1, 8, 8).clone()
    values[:, :, 7, 0] -= 5  # what counts against the target is no mass
    values[:, :, 7, 1] += (1 - inside) / 48
    return mapped(values), mask


def test_mass_in_the_mask() -> None:
    e, mask = planted(0.75)
    assert_mass_in(e, mask, 0.74)
    assert_mass_in(e, mask.expand(2, 8, 8).numpy(), 0.74)
    assert_mass_in(pellucid.Explanations((e, e)), mask, 0.74)


def test_mass_outside_of_it_fails_with_the_numbers_and_a_picture() -> None:
    e, mask = planted(0.25)
    with pytest.raises(Unexpected) as failed:
        assert_mass_in(e, mask, 0.5)
    said = str(failed.value)
    assert "25.0% of the positive attribution" in said and "25.0% of the picture" in said and "50.0% or more" in said
    assert "gradient of photo 0 (cat)" in said and "row 7, column 1, outside" in said and said.count("mask |") == 8


def test_signs_and_magnitudes() -> None:
    e, mask = planted(0.75)
    with pytest.raises(Unexpected):
        assert_mass_in(e, mask, 0.5, reduce="abs")  # the place that counts against the target outweighs everything
    with pytest.raises(Unexpected):
        assert_mass_in(replace(e, kind=Kind.SENSITIVITY), mask, 0.5)


def test_maps_of_layers_are_brought_to_the_masks_size() -> None:
    small = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double().expand(1, 2, 2)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, 4:] = True
    assert_mass_in(mapped(small), mask, 0.6)
    with pytest.raises(Unexpected):
        assert_mass_in(mapped(small), ~mask, 0.6)


@pytest.mark.parametrize(
    "values", [torch.zeros(1, 4, 4), torch.full((1, 4, 4), -1.0), torch.full((1, 4, 4), torch.nan)]
)
def test_no_mass_at_all_fails(values: Tensor) -> None:
    with pytest.raises(Unexpected, match="no positive value"):
        assert_mass_in(mapped(values), torch.ones(4, 4, dtype=torch.bool), 0.1)


@pytest.mark.parametrize(
    ("mask", "share"),
    [
        (torch.ones(4, 4), 0.5),
        (torch.zeros(4, 4, dtype=torch.bool), 0.5),
        (torch.ones(3, 4, 4, dtype=torch.bool), 0.5),
        (torch.ones(4, dtype=torch.bool), 0.5),
        (torch.ones(4, 4, dtype=torch.bool), 0.0),
        (torch.ones(4, 4, dtype=torch.bool), 1.5),
    ],
)
def test_masks_and_shares_that_cannot_be_meant(mask: Tensor, share: float) -> None:
    with pytest.raises(InputError):
        assert_mass_in(mapped(torch.ones(1, 4, 4)), mask, share)


def test_degenerate_maps_fail_with_what_is_wrong() -> None:
    assert_not_degenerate(pellucid.explain(net(Convnet()), pictures(2), "gradient"))
    values = torch.rand(3, 4, 4)
    values[1], values[2, 0, 0] = 0.5, torch.nan
    with pytest.raises(Unexpected) as failed:
        assert_not_degenerate(mapped(values))
    said = str(failed.value)
    assert "2 explanations" in said and "all 16 values are 0.5" in said and "1 of 16 values are not finite" in said
    assert "photo 0" not in said


def test_red_checks_fail_too() -> None:
    red = Check(name="completeness", value=(0.4,), passed=(False,), limit=0.05)
    with pytest.raises(Unexpected, match=r"gradient of photo 0: completeness 0.4 \(limit 0.05\)"):
        assert_not_degenerate(replace(mapped(torch.rand(1, 4, 4)), checks=(red,)))


def test_close_explanations() -> None:
    e, _ = planted(0.5)
    assert_explanations_close(e, e)
    assert_explanations_close(replace(e, values=e.values * 1.01), e, strict=True)
    with pytest.raises(Unexpected) as failed:
        assert_explanations_close(replace(e, values=e.values.flip(-1)), e)
    said = str(failed.value)
    assert "2 of 2 explanations differ" in said and "rank correlation" in said and "photo 1, gradient, dog" in said


@pytest.mark.parametrize("nothing", [[], ["x"], 3])
def test_what_is_no_explanation_is_refused(nothing: Any) -> None:
    with pytest.raises(InputError):
        assert_not_degenerate(nothing)


# -- stored ones ---------------------------------------------------------------------------------------------------


def test_stored_explanations_are_compared(tmp_path: Path) -> None:
    e, _ = planted(0.5)
    with pytest.raises(Unexpected, match="--pellucid-update"):
        Snapshot(tmp_path, "test_a", update=False)(e)
    Snapshot(tmp_path, "test_a", update=True)(e)
    Snapshot(tmp_path, "test_a", update=False)(e)
    with pytest.raises(Unexpected, match=r"differ(.|\n)*--pellucid-update"):
        Snapshot(tmp_path, "test_a", update=False)(replace(e, values=e.values.flip(-1)))
    Snapshot(tmp_path, "test_a", update=False)(replace(e, values=e.values * 1.2), distance=0.3)


def test_several_in_one_test_have_files_of_their_own_inside_the_folder(tmp_path: Path) -> None:
    e, _ = planted(0.5)
    shot = Snapshot(tmp_path / "in", "test_a[../../b c]", update=True)
    shot(e)
    shot(e)
    shot(e, "../../../escape")
    assert sorted(p.name for p in tmp_path.rglob("*.safetensors")) == [
        "-..-..-escape.safetensors",
        "test_a-..-..-b-c--2.safetensors",
        "test_a-..-..-b-c-.safetensors",
    ]
    assert all(p.parent == tmp_path / "in" for p in tmp_path.rglob("*.safetensors"))


def test_the_fixture(explanation_snapshot: Snapshot) -> None:
    """A stored gradient of our own; stored anew by --pellucid-update."""
    explanation_snapshot(pellucid.explain(net(Convnet()), pictures(2), "gradient", target=1), distance=1e-6)
    assert explanation_snapshot.folder == Path(__file__).parent / "explanations" / "test_assertions"
