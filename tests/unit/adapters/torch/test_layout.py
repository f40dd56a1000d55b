"""How activations are read: channels first, channels last, tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.adapters.torch.layout import Plan, read

SIDES = st.integers(1, 4)


@given(rows=SIDES, channels=SIDES, height=SIDES, width=SIDES, prefix=st.integers(0, 3), kind=st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_put_after_take_is_the_identity(
    rows: int, channels: int, height: int, width: int, prefix: int, kind: int
) -> None:
    raw = {
        0: torch.randn(rows, channels, height, width),
        1: torch.randn(rows, height, width, channels),
        2: torch.randn(rows, prefix + height * width, channels),
        3: torch.randn(rows, channels),
    }[kind]
    plan = Plan(("channels_first", "channels_last", "tokens", "none")[kind], prefix, (height, width))
    taken = plan.take(raw)
    assert torch.equal(plan.put(raw, taken), raw)
    assert plan.shape(tuple(raw.shape[1:])) == tuple(taken.shape[1:])
    if kind != 3:
        assert taken.shape == (rows, channels, height, width)


def test_tokens_are_read_row_by_row_behind_the_class_token() -> None:
    raw = torch.arange(7.0).view(1, 7, 1)
    assert Plan("tokens", 1, (2, 3)).take(raw).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


def test_put_keeps_the_class_token_and_spreads_it_over_more_rows() -> None:
    raw = torch.arange(5.0).view(1, 5, 1)
    put = Plan("tokens", 1, (2, 2)).put(raw, torch.full((3, 1, 2, 2), 9.0))
    assert put[:, :, 0].tolist() == [[0, 9, 9, 9, 9]] * 3


SQUARE, WIDE = (224, 224), (64, 128)


@pytest.mark.parametrize(
    ("shape", "image", "patches", "plan"),
    [
        ((512, 7, 7), SQUARE, None, Plan("channels_first")),
        ((7, 7, 768), SQUARE, None, Plan("channels_last")),
        ((32, 4, 8), WIDE, None, Plan("channels_first")),
        ((4, 8, 32), WIDE, None, Plan("channels_last")),
        ((197, 768), SQUARE, (14, 14), Plan("tokens", 1, (14, 14))),
        ((201, 768), SQUARE, (14, 14), Plan("tokens", 5, (14, 14))),
        ((198, 768), SQUARE, None, Plan("tokens", 2, (14, 14))),
        ((196, 768), SQUARE, None, Plan("tokens", 0, (14, 14))),
        ((33, 16), WIDE, (4, 8), Plan("tokens", 1, (4, 8))),
        ((33, 16), WIDE, None, Plan("tokens", 1, (4, 8))),
        ((512, 1, 1), SQUARE, None, None),
        ((1000,), SQUARE, None, None),
        ((10, 3), None, None, None),
        ((12, 40, 7), SQUARE, None, None),
    ],
)
def test_shapes_are_read_as(
    shape: tuple[int, ...], image: tuple[int, int] | None, patches: tuple[int, int] | None, plan: Plan | None
) -> None:
    assert read(shape, image, patches) == plan


def test_what_was_decided_about_tokens_is_said() -> None:
    assert Plan("tokens", 5, (14, 14)).says == "tokens read as a 14 × 14 grid behind 5 class/register token(s)"
    assert Plan("channels_first").says == ""
