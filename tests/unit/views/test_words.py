"""Sentences about planted maps are true to their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.views.planted import planted

from pellucid.core.explanation import Check, Kind
from pellucid.views.words import describe, number, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.03412, "0.0341"),
        (-12.0, "−12"),
        (1234.56, "1235"),
        (99999.0, "99999"),
        (1.2e-7, "1.2 × 10⁻⁷"),
        (-3e12, "−3 × 10¹²"),
        (99999.7, "1 × 10⁵"),
        (float("nan"), "not a number"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_numbers_keep_three_digits(value):
    digits = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")
    back = float(number(value).replace(" × 10", "e").translate(digits))
    assert back == pytest.approx(value, rel=0.00501, abs=1e-300)


def test_shares():
    assert [percent(p) for p in (0.0, 0.004, 0.624, 1.0)] == ["0 %", "< 1 %", "62 %", "100 %"]
    odd = (-0.4, -0.001, 3.2, 11.0, -11.0, float("nan"))
    shown = ["−40 %", "> −1 %", "320 %", "over 1000 %", "below −1000 %", "not a number"]
    assert [percent(p) for p in odd] == shown


def test_the_sentence():
    x = torch.zeros(1, 24, 24)
    x[0, 9, 3], x[0, 20, 20] = 3.0, -1.0
    words = describe(planted(x, title="Integrated Gradients"))
    assert words == (
        "Integrated Gradients for ‘tabby’ (probability 0.41): 75 % of the mass lies in the middle left third; "
        "strongest at row 10 of 24, column 4 of 24. 25 % of the mass counts against."
    )


def test_a_coarse_map_is_told_in_pixels_of_the_input():
    x = torch.zeros(1, 7, 7)
    x[0, 2, 4] = 1.0
    words = describe(planted(x, Kind.CAM, side=224))
    assert "row 81 of 224, column 145 of 224" in words  # the middles of [64, 96) and [128, 160), counted from 1
    assert "against" not in words


def test_the_middle_has_its_own_name():
    x = torch.zeros(1, 9, 9)
    x[0, 4, 4] = 1
    assert "100 % of the mass lies in the middle of the picture" in describe(planted(x))


@given(seed=st.integers(0, 10_000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_share_and_peak_agree_with_a_finer_grid(seed, height, width):
    x = np.random.default_rng(seed).normal(size=(1, 2, height, width))
    mass = np.abs(x[0]).sum(0)
    fine = np.kron(mass, np.ones((3, 3)))  # each third now begins at a cell
    parts = fine.reshape(3, height, 3, width).sum((1, 3)) / fine.sum()
    words = describe(planted(torch.from_numpy(x), Kind.SENSITIVITY))
    assert f"{percent(parts.max())} of the mass" in words
    i, j = np.unravel_index(mass.argmax(), mass.shape)
    pixels = 24 / height, 24 / width
    down, across = (int(part.split()[0]) for part in (words.split("row ")[1], words.split("column ")[1]))
    assert i * pixels[0] < down <= (i + 1) * pixels[0] + 1
    assert j * pixels[1] < across <= (j + 1) * pixels[1] + 1


def test_failed_checks_are_told():
    bad = Check(name="std_error", value=(0.5,), passed=(False,))
    good = Check(name="completeness", value=(0.0,), passed=(True,))
    assert describe(planted(torch.rand(1, 4, 4), checks=(bad, good))).endswith(" Failed check: std error.")


def test_flat_and_broken_maps():
    assert describe(planted(torch.full((1, 4, 4), 2.0))).endswith("the map is flat, all values are 2.")
    assert describe(planted(torch.full((1, 4, 4), float("nan")))).endswith("not finite.")


def test_what_is_no_map_is_still_described():
    e = planted(torch.rand(1, 4, 4))
    assert "5 numbers" in describe(replace(e, values=torch.zeros(1, 5), dims=("batch", "axis_1")))


def test_the_score_when_the_class_is_not_among_the_best():
    e = planted(torch.rand(1, 4, 4))
    assert "(logit 8.25)" in describe(replace(e, target=replace(e.target, index=(7,))))
    assert "(probability 0.13)" in describe(replace(e, target=replace(e.target, output="probability", score=(0.13,))))
