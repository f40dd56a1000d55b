"""Points against direct constructions; cut into blocks in any way they are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.core.points import Along, Around, At, Between, Built, Masked, Points, Span, generator, normal

BATCH, SHAPE = 3, (2, 4, 5)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, START = draw(BATCH, *SHAPE), draw(BATCH, *SHAPE, seed=1)
T = (0.0, 0.25, 0.6, 1.0, 2.0)
STD = draw(1, 2, 1, 1, seed=2)
PARTS = torch.arange(20).view(4, 5) // 4
PARTS_OF_EACH = torch.stack([PARTS, PARTS.flip(0), PARTS.flip(1)])
HIDDEN = draw(6, 5, seed=3) > 0.5
FILL = draw(1, *SHAPE, seed=4)
BETWEEN = Between(X, torch.stack([START, START * 0]), (0, 1, 1, 0), (0.1, 0.9, 0.5, 0.0), STD, 7)


def shifted(k: int, rows: Tensor) -> Tensor:
    return rows + k


EVERY: dict[str, Points] = {
    "at": At(X),
    "along": Along(START, X, T),
    "around": Around(X, STD, 5, 3),
    "around, a level for each row": Around(X, draw(BATCH, 1, 1, 1, seed=5), 4, 3),
    "between": BETWEEN,
    "between, one background for all rows": replace(BETWEEN, starts=draw(2, 1, *SHAPE), std=STD * 0),
    "span": Span(BETWEEN),
    "masked": Masked(X, HIDDEN, PARTS, FILL),
    "masked, with parts of its own for each row": Masked(X, HIDDEN, PARTS_OF_EACH, START),
    "built": Built(X, ("shifted",), 4, shifted),
}
NAMES = pytest.mark.parametrize("name", EVERY)


def whole(points: Points) -> Tensor:
    """All points as [points, batch, ...]."""
    return points.rows(0, points.count, 0, BATCH).view(points.count, BATCH, *SHAPE)


@NAMES
@given(cuts=st.data())
@settings(deadline=None, max_examples=15)
def test_any_block_is_that_part_of_the_whole(name: str, cuts: st.DataObject) -> None:
    points = EVERY[name]
    k0 = cuts.draw(st.integers(0, points.count - 1))
    k1 = cuts.draw(st.integers(k0 + 1, points.count))
    b0 = cuts.draw(st.integers(0, BATCH - 1))
    b1 = cuts.draw(st.integers(b0 + 1, BATCH))
    block = points.rows(k0, k1, b0, b1)
    assert block.shape == ((k1 - k0) * (b1 - b0), *SHAPE)
    assert torch.equal(block.view(k1 - k0, b1 - b0, *SHAPE), whole(points)[k0:k1, b0:b1])


@NAMES
def test_there_is_a_point_like_for_every_clean_row(name: str) -> None:
    assert EVERY[name].like.shape == (BATCH, *SHAPE)


def test_at_is_the_rows_themselves() -> None:
    assert torch.equal(whole(At(X))[0], X)


def test_along_goes_from_start_to_end() -> None:
    wanted = np.stack([START.numpy() + t * (X.numpy() - START.numpy()) for t in T])
    assert torch.equal(whole(Along(START, X, T)), torch.from_numpy(wanted))


def test_around_adds_noise_times_the_level() -> None:
    wanted = torch.stack([X + STD * normal(SHAPE, 3, k, like=X) for k in range(5)])
    assert torch.equal(whole(Around(X, STD, 5, 3)), wanted)


def test_between_lies_on_the_way_from_its_background_to_a_noisy_input() -> None:
    for k, (which, t) in enumerate(zip(BETWEEN.which, BETWEEN.t, strict=True)):
        end = X + STD * normal(SHAPE, 7, k, like=X)
        start = START if which == 0 else torch.zeros_like(X)
        assert torch.equal(whole(BETWEEN)[k], start + t * (end - start))
        assert torch.equal(whole(Span(BETWEEN))[k], end - start)


@pytest.mark.parametrize("parts", [PARTS, PARTS_OF_EACH], ids=["same for all", "of each row"])
def test_masked_shows_the_fill_where_a_part_is_hidden(parts: Tensor) -> None:
    got = whole(Masked(X, HIDDEN, parts, FILL))
    for k in range(6):
        for b in range(BATCH):
            of = parts if parts.ndim == 2 else parts[b]
            for i in range(4):
                for j in range(5):
                    wanted = FILL[0, :, i, j] if HIDDEN[k, of[i, j]] else X[b, :, i, j]
                    assert torch.equal(got[k, b, :, i, j], wanted)


def test_built_is_what_its_function_makes() -> None:
    assert torch.equal(whole(Built(X, ("shifted",), 4, shifted)), torch.stack([X + k for k in range(4)]))


# -- equality ----------------------------------------------------------------------------------------------------

REBUILT: dict[str, Callable[[], Points]] = {
    "at": lambda: At(X.clone()),
    "along": lambda: Along(START.clone(), X.clone(), T),
    "around": lambda: Around(X.clone(), STD.clone(), 5, 3),
    "between": lambda: replace(BETWEEN, x=X.clone()),
    "span": lambda: Span(replace(BETWEEN, x=X.clone())),
    "masked": lambda: Masked(X.clone(), HIDDEN.clone(), PARTS.clone(), FILL.clone()),
    "built": lambda: Built(X.clone(), ("shifted",), 4, lambda k, rows: rows + k),
}


@pytest.mark.parametrize("name", REBUILT)
def test_points_are_equal_by_value(name: str) -> None:
    assert REBUILT[name]() == EVERY[name]
    assert hash(REBUILT[name]()) == hash(EVERY[name])


OTHERS: Sequence[tuple[Points, Points]] = (
    (At(X), At(START)),
    (At(X), At(X.float())),
    (At(X), At(X[:1])),
    (At(X), Along(X, X, (1.0,))),
    (Along(START, X, T), Along(START, X, T[:-1])),
    (Around(X, STD, 5, 3), Around(X, STD, 5, 4)),
    (Around(X, STD, 5, 3), Around(X, STD, 6, 3)),
    (Around(X, STD, 5, 3), Around(X, 2 * STD, 5, 3)),
    (Masked(X, HIDDEN, PARTS, FILL), Masked(X, ~HIDDEN, PARTS, FILL)),
    (Built(X, ("a",), 2, shifted), Built(X, ("b",), 2, shifted)),
    (Built(X, ("a",), 2, shifted), Built(START, ("a",), 2, shifted)),
    (BETWEEN, Span(BETWEEN)),
)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_other_points_are_not_equal(one: Points, other: Points) -> None:
    assert one != other
    assert other != one


# -- noise -------------------------------------------------------------------------------------------------------


def test_a_draw_depends_on_the_seed_and_its_number_alone() -> None:
    many, few = Around(X, STD, 9, 3), Around(X[1:2], STD, 4, 3)
    assert torch.equal(few.rows(2, 3, 0, 1), many.rows(2, 3, 1, 2))


def test_other_seeds_and_numbers_give_other_draws() -> None:
    draws = [normal(SHAPE, seed, k, like=X) for seed in range(3) for k in range(3)]
    assert len({tuple(one.flatten().tolist()) for one in draws}) == 9


def test_noise_is_standard_normal() -> None:
    many = torch.stack([normal((100,), 0, k, like=X) for k in range(400)])
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_noise_has_the_dtype_of_the_rows(dtype: torch.dtype) -> None:
    assert normal(SHAPE, 0, 0, like=X.to(dtype)).dtype == dtype


def test_the_global_random_state_does_not_move() -> None:
    before = torch.get_rng_state()
    for points in EVERY.values():
        whole(points)
    generator("any", 1)
    assert torch.equal(torch.get_rng_state(), before)
