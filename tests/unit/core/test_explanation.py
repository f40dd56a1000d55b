"""Explanations as values: rows, selections, joining, and what is printed."""

from __future__ import annotations

import itertools
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.values import made, same

from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanations, Passes, cat

# -- rows --------------------------------------------------------------------------------------------------------


@given(
    batch=st.integers(1, 5),
    start=st.one_of(st.none(), st.integers(-6, 6)),
    stop=st.one_of(st.none(), st.integers(-6, 6)),
    step=st.one_of(st.none(), st.integers(1, 3)),
)
@settings(deadline=None, max_examples=60)
def test_a_slice_takes_the_same_rows_of_everything(batch: int, start: Any, stop: Any, step: Any) -> None:
    rows = slice(start, stop, step)
    got = made(batch, std_error=torch.ones(batch, 3, 4, 5))[rows]
    numbers = list(range(batch))[rows]
    assert got.inputs.name == tuple(f"photo {i}" for i in numbers)
    assert got.extras["steps"].tolist() == numbers
    assert got.target.score == tuple(0.1 * i for i in numbers)
    assert torch.equal(got.values, made(batch).values[rows])
    assert len(got) == len(got.checks[0].value) == len(got.prediction.index) == len(got.inputs.notes) == len(numbers)
    assert len(got.std_error) == len(got.inputs.picture) == len(numbers)  # pyright: ignore


@pytest.mark.parametrize("row", [0, 1, 2, -1, -3, np.int64(1), torch.tensor(2)])
def test_one_row_keeps_its_batch_axis(row: Any) -> None:
    got = made(3)[row]
    assert got.values.shape == (1, 3, 4, 5)
    assert got.inputs.name == (f"photo {int(row) % 3}",)


@pytest.mark.parametrize("row", [3, -4])
def test_rows_that_are_not_there_are_an_index_error(row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row}"):
        made(3)[row]


def test_joined_extras_of_other_sizes_are_filled_up_behind() -> None:
    one, other = (
        made(1, extras={"players": torch.ones(1, k), "grid": torch.ones(1, k, 5 - k), "steps": torch.ones(1)})
        for k in (2, 3)
    )
    got = cat([one, other]).extras
    assert got["players"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert got["grid"].tolist() == [[[1, 1, 1], [1, 1, 1], [0, 0, 0]], [[1, 1, 0]] * 3]
    assert got["steps"].tolist() == [1, 1]


def test_inputs_are_equal_by_their_pixels() -> None:
    mine, copy, other = made(2).inputs, made(2).inputs, made(2, first=1).inputs
    assert mine == copy and hash(mine) == hash(copy) and mine != "photo 0"
    assert mine.picture is not None and mine.picture is not copy.picture
    assert mine != replace(mine, picture=mine.picture + 1) and mine != replace(mine, picture=None)
    assert replace(mine, picture=None) == replace(copy, picture=None) != mine
    assert mine != replace(mine, notes=other.notes) and mine != other


def test_iteration_gives_row_after_row() -> None:
    whole = made(3)
    assert len(list(whole)) == len(whole) == 3
    assert all(same(row, whole[i]) for i, row in enumerate(whole))


def test_an_explanation_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        made().kind = None  # pyright: ignore


def test_an_explanation_equals_itself_alone_and_can_be_kept_in_sets() -> None:
    one, other = made(), made()
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    assert other in Explanations((one, other))
    assert made() not in Explanations((one, other))


@pytest.mark.parametrize("dims", [("batch", "height"), ("height", "width", "channel", "batch"), ()])
def test_dims_must_name_the_axes_beginning_with_the_batch(dims: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="do not name the axes"):
        replace(made(), dims=dims)


def test_checks_are_found_by_name_and_red_ones_are_told_by_row() -> None:
    got = made(3)
    assert got.check("gap") is got.checks[0]
    assert got.check("other") is None
    assert got.warnings == ("photo 1: gap 0.1 (limit 0.05)",)


def test_it_is_printed_with_its_axes_and_the_number_of_warnings() -> None:
    assert repr(made(2)) == "Explanation(Gradient of cat, dog: batch 2 × channel 3 × height 4 × width 5, 1 warnings)"
    assert repr(made(1)) == "Explanation(Gradient of cat: batch 1 × channel 3 × height 4 × width 5)"


# -- joining -----------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), error=st.booleans(), picture=st.booleans())
@settings(deadline=None, max_examples=25)
def test_cutting_and_joining_gives_the_whole(sizes: list[int], error: bool, picture: bool) -> None:
    batch = sum(sizes)
    whole = made(batch, std_error=torch.rand(batch, 3, 4, 5) if error else None, picture=picture)
    cuts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    got = cat([whole[a:b] for a, b in itertools.pairwise(cuts)])
    record = replace(got.record, passes=whole.record.passes, seconds=whole.record.seconds)
    assert same(replace(got, record=record), whole)


def test_joining_adds_the_work_up() -> None:
    got = cat([made(2), made(3, first=2)])
    assert got.record.passes == Passes(rounds=2, forward=5)
    assert got.record.seconds == 1.0


def test_a_single_part_is_given_back_as_it_is() -> None:
    part = made()
    assert cat([part]) is part


# -- selections --------------------------------------------------------------------------------------------------

ALL = Explanations(
    tuple(made(3, method=method, model=model) for model in ("net", "other") for method in ("gradient", "grad_cam"))
)


@pytest.mark.parametrize(
    ("asked", "count", "rows"),
    [
        ({}, 4, 3),
        ({"method": "grad_cam"}, 2, 3),
        ({"method": "Grad_Cam"}, 2, 3),
        ({"model": "other"}, 2, 3),
        ({"model": "other", "method": "gradient"}, 1, 3),
        ({"image": 0}, 4, 1),
        ({"image": 2}, 4, 1),
        ({"image": -1}, 4, 1),
        ({"image": "photo 1"}, 4, 1),
        ({"target": "cat"}, 8, 1),
        ({"target": 1}, 4, 1),
        ({"target": "cat", "image": 0}, 4, 1),
        ({"target": "cat", "image": "photo 2", "model": "net"}, 2, 1),
    ],
)
def test_sel_finds(asked: dict[str, Any], count: int, rows: int) -> None:
    got = ALL.sel(**asked)
    assert (len(got), {len(e) for e in got}) == (count, {rows})


def test_the_last_image_is_the_last() -> None:
    assert ALL.sel(image=-1).images == ("photo 2",)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"method": "gradcam"}, "perhaps 'grad_cam'"),
        ({"image": "photo1"}, "perhaps 'photo 1'"),
        ({"target": "dgo"}, "perhaps 'dog'"),
        ({"method": "grad_cam", "target": "dgo"}, "perhaps 'dog'"),
        ({"method": "grad_cam", "target": 99}, ", targets "),
        ({"image": 3}, "image=3"),
        ({"image": -4}, "image=-4"),
        ({"target": "dog", "image": 0}, "target='dog'"),
    ],
)
def test_what_matches_nothing_is_answered_with_the_nearest(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ALL.sel(**asked)


def test_sel_on_nothing_is_an_input_error() -> None:
    with pytest.raises(InputError):
        Explanations().sel(method="gradient")


def test_it_lists_its_models_methods_and_images_once() -> None:
    assert ALL.models == ("net", "other")
    assert ALL.methods == ("gradient", "grad_cam")
    assert ALL.images == ("photo 0", "photo 1", "photo 2")


def test_it_is_a_sequence() -> None:
    assert len(ALL) == 4
    assert ALL[0] is ALL.entries[0]
    assert ALL[1:3].entries == ALL.entries[1:3]
    assert (ALL[:1] + ALL[3:]).entries == (ALL[0], ALL[3])
    assert [e.record.method for e in reversed(ALL)] == ["grad_cam", "gradient"] * 2


def test_it_is_printed_line_by_line() -> None:
    assert repr(ALL[:1]) == f"Explanations(\n  {ALL[0]!r},\n)"
