"""Pure tensor functions against closed forms and slow second derivations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.ops.checks import completeness
from pellucid.ops.quadrature import RULES, gauss_legendre, left, midpoint, right, trapezoid
from pellucid.ops.resize import resize
from pellucid.ops.windows import pair, starts, windows

# -- quadrature --------------------------------------------------------------------------------------------------

STEPS = pytest.mark.parametrize("steps", [1, 2, 3, 7, 32])


def integral(rule: str, steps: int, degree: int) -> float:
    t, w = RULES[rule](steps)
    return float(np.dot(w, np.power(np.array(t), degree)))


@STEPS
@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one_and_nodes_ascend_inside_the_interval(rule: str, steps: int) -> None:
    t, w = RULES[rule](steps)
    assert len(t) == len(w) == steps
    assert sum(w) == pytest.approx(1, abs=1e-12)
    assert list(t) == sorted(t)
    assert 0 <= t[0] <= t[-1] <= 1


@STEPS
def test_gauss_legendre_is_exact_up_to_its_degree_and_not_beyond(steps: int) -> None:
    for degree in range(2 * steps):
        assert integral("gauss_legendre", steps, degree) == pytest.approx(1 / (degree + 1), rel=1e-10)
    if steps < 7:  # beyond, the error is below rounding
        assert integral("gauss_legendre", steps, 2 * steps) != pytest.approx(1 / (2 * steps + 1), rel=1e-10)


@STEPS
@pytest.mark.parametrize(("rule", "degree"), [("midpoint", 1), ("trapezoid", 1), ("left", 0), ("right", 0)])
def test_simple_rules_are_exact_up_to_their_degree(rule: str, degree: int, steps: int) -> None:
    for d in range(degree + 1):
        assert integral(rule, steps, d) == pytest.approx(1 / (d + 1), rel=1e-12)


@pytest.mark.parametrize(("rule", "order"), [("midpoint", 2), ("trapezoid", 2), ("left", 1), ("right", 1)])
def test_the_error_falls_with_the_order_of_the_rule(rule: str, order: int) -> None:
    few, many = (abs(integral(rule, n, 3) - 0.25) for n in (33, 65))
    assert few / many == pytest.approx(2**order, rel=0.1)


def test_the_trapezoid_counts_nodes_not_panels() -> None:
    assert trapezoid(3) == ((0.0, 0.5, 1.0), (0.25, 0.5, 0.25))
    assert trapezoid(2) == ((0.0, 1.0), (0.5, 0.5))
    assert trapezoid(1) == midpoint(1) == ((0.5,), (1.0,))


def test_the_ends_that_rules_include() -> None:
    assert left(4)[0] == (0.0, 0.25, 0.5, 0.75)
    assert right(4)[0] == (0.25, 0.5, 0.75, 1.0)
    assert midpoint(2)[0] == (0.25, 0.75)
    assert gauss_legendre(1) == ((0.5,), (1.0,))


# -- windows -----------------------------------------------------------------------------------------------------


@st.composite
def slides(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    window = tuple(draw(st.integers(1, n)) for n in size)
    stride = tuple(draw(st.integers(1, n)) for n in window)
    return size, window, stride  # pyright: ignore


@given(given=slides())
@settings(deadline=None, max_examples=60)
def test_windows_are_those_of_two_loops(given: tuple[Any, Any, Any]) -> None:
    size, window, stride = given
    hidden, parts = windows(size, window, stride)
    wanted: list[Tensor] = []
    for i in starts(size[0], window[0], stride[0]):
        for j in starts(size[1], window[1], stride[1]):
            mask = torch.zeros(size, dtype=torch.bool)
            mask[i : i + window[0], j : j + window[1]] = True
            wanted.append(mask)
    assert torch.equal(hidden[:, parts], torch.stack(wanted))


@given(given=slides())
@settings(deadline=None, max_examples=60)
def test_every_place_is_covered_and_parts_are_numbered_without_gaps(given: tuple[Any, Any, Any]) -> None:
    hidden, parts = windows(*given)
    assert bool(hidden[:, parts].any(0).all())
    assert sorted(set(parts.flatten().tolist())) == list(range(hidden.shape[1]))


@given(given=slides())
@settings(deadline=None, max_examples=30)
def test_no_two_parts_are_hidden_by_the_same_windows_unless_apart(given: tuple[Any, Any, Any]) -> None:
    """Parts are as large as can be: neighbours differ in some window."""
    hidden, parts = windows(*given)
    for one, other in ((parts[1:], parts[:-1]), (parts[:, 1:], parts[:, :-1])):
        apart = one != other
        assert bool((hidden[:, one[apart]] != hidden[:, other[apart]]).any(0).all())


def test_the_last_window_is_flush_with_the_end() -> None:
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 1) == [0]


@pytest.mark.parametrize(
    ("window", "stride", "says"),
    [
        (9, 1, "fits into the model's view"),
        ((3, 9), 1, "fits into the model's view"),
        (3, 4, "no larger than the window"),
        (3, (1, 4), "no larger than the window"),
        (0, 1, "window=0"),
        (3, 0, "stride=0"),
        (2.5, 1, "window=2.5"),
        ("big", 1, "window='big'"),
        ((1, 2, 3), 1, "window"),
        (True, 1, "window=True"),
        (None, 1, "window=None"),
    ],
)
def test_windows_that_do_not_fit_are_refused(window: Any, stride: Any, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        windows((8, 8), window, stride)


def test_a_pair_is_one_number_or_two() -> None:
    assert pair(3, "window") == pair((3, 3), "window") == pair([3, 3], "window") == (3, 3)  # pyright: ignore


# -- resize ------------------------------------------------------------------------------------------------------


def by_hand(line: list[float], size: int) -> list[float]:
    """Linear interpolation of one line with pixel centres aligned."""
    n = len(line)
    out: list[float] = []
    for i in range(size):
        at = min(max((i + 0.5) * n / size - 0.5, 0), n - 1)
        k = min(int(at), n - 2) if n > 1 else 0
        out.append(line[k] if n == 1 else line[k] * (k + 1 - at) + line[k + 1] * (at - k))
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("line", [[1.0], [1.0, 3.0], [0.0, 2.0, -4.0]])
def test_bilinear_aligns_the_centres_of_pixels(line: list[float], size: int) -> None:
    got = resize(torch.tensor([line], dtype=torch.float64), (1, size))
    assert got[0].tolist() == pytest.approx(by_hand(line, size))


@pytest.mark.parametrize("how", ["bilinear", "nearest"])
def test_leading_axes_are_kept(how: Any) -> None:
    maps = torch.rand(2, 3, 4, 5)
    mode = "bilinear" if how == "bilinear" else "nearest-exact"
    assert torch.equal(resize(maps, (7, 6), how), F.interpolate(maps, (7, 6), mode=mode))
    assert torch.equal(resize(maps[0, 0], (7, 6), how), resize(maps, (7, 6), how)[0, 0])


def test_the_same_size_is_left_alone() -> None:
    maps = torch.rand(4, 5)
    assert resize(maps, (4, 5)) is maps


def test_nearest_repeats() -> None:
    assert resize(torch.tensor([[1.0, 2.0]]), (2, 4), "nearest").tolist() == [[1, 1, 2, 2]] * 2


# -- completeness ------------------------------------------------------------------------------------------------


def test_the_gap_is_relative_to_the_difference_of_scores() -> None:
    values = torch.tensor([[[[1.0, 2.0]], [[0.5, 0.5]]]])  # sums 3 and 1
    check = completeness(values, torch.tensor([[4.0, -1.0]]), limit=0.3)
    assert check.value.tolist() == [[0.25, 2.0]]
    assert check.passed.tolist() == [[True, False]]


def test_nothing_to_explain_and_nothing_explained_is_complete() -> None:
    check = completeness(torch.zeros(1, 2, 3), torch.tensor([[0.0, 0.0]]))
    assert check.value.tolist() == [[0.0, 0.0]]


def test_something_explained_where_nothing_is_to_be_is_not() -> None:
    check = completeness(torch.ones(1, 1, 3), torch.tensor([[0.0]]))
    assert check.passed.tolist() == [[False]]


def test_a_broken_value_is_not_complete() -> None:
    check = completeness(torch.full((1, 1, 3), torch.nan), torch.tensor([[1.0]]))
    assert check.passed.tolist() == [[False]]
