"""Each stage against its definition, written a second time and slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pellucid.core.errors import ParameterError
from pellucid.views.heat import REDUCTIONS, Clip, Colour, Overlay, Pipeline, Reduce, Resize, Scale

maps = arrays(
    np.float64, st.tuples(st.just(3), st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-9, 9, width=32)
)
planes = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-9, 9, width=32))


def slow(how: str, channels: list[float]) -> float:
    match how:
        case "sum":
            return math.fsum(channels)
        case "norm":
            return math.hypot(*channels)
        case "max_abs":
            return max(channels, key=abs)
        case "sum_abs":
            return math.fsum(map(abs, channels))
        case "abs_sum":
            return abs(math.fsum(channels))
    raise AssertionError(how)


@pytest.mark.parametrize("how", [name for name in REDUCTIONS if name != "rgb"])
@given(x=maps)
def test_reductions(how, x):
    got = Reduce(how)(torch.from_numpy(x)).numpy()
    for place in np.ndindex(x.shape[1:]):
        channels = x[(slice(None), *place)].tolist()
        wanted = slow(how, channels)
        if how == "max_abs":  # two channels of equal magnitude and other sign: either
            assert abs(got[place]) == abs(wanted) and got[place] in channels
        else:
            assert got[place] == pytest.approx(wanted, abs=1e-12)


def test_the_magnitude_of_a_sum_is_not_a_pairwise_magnitude():
    assert Reduce("abs_sum")(torch.tensor([3.0, -1.0, -1.0])[:, None, None]).item() == 1.0


@given(x=planes, p=st.floats(1, 100))
def test_clip_is_a_quantile_of_the_magnitudes(x, p):
    limit = Clip(p).limit(torch.from_numpy(x))
    wanted = np.sort(np.abs(x), axis=None)[max(1, math.ceil(p / 100 * x.size)) - 1]
    assert limit == (wanted if wanted > 0 else np.abs(x).max())
    got = Clip(p)(torch.from_numpy(x)).numpy()
    assert np.array_equal(got, np.clip(x, -limit, limit))
    assert (np.abs(x) <= limit).mean() >= p / 100 - 1e-9


def test_a_few_spots_are_not_clipped_away():
    x = torch.zeros(100, 100)
    x[3, 4], x[50, 60] = 2.0, -5.0
    assert torch.equal(Clip(99.0)(x), x)


def test_clipping_a_picture_larger_than_torchs_own_quantile_can():
    x = torch.zeros(4100, 4100)
    x[0, :] = 1.0
    assert Clip(99.99).limit(x) == 1.0


@given(x=planes, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_nearest_repeats_whole_cells(x, rows, columns):
    size = (x.shape[0] * rows, x.shape[1] * columns)
    assert np.array_equal(Resize(size, "nearest")(torch.from_numpy(x)).numpy(), np.kron(x, np.ones((rows, columns))))


@given(x=planes)
def test_bilinear_interpolates_between_the_middles_of_cells(x):
    size = (x.shape[0] * 3, x.shape[1] * 2)
    got = Resize(size)(torch.from_numpy(x)).numpy()

    def along(n: int, m: int) -> np.ndarray:
        at = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(m)))

    assert np.allclose(got, along(size[0], x.shape[0]) @ x @ along(size[1], x.shape[1]).T, atol=1e-12)


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_a_smaller_grid_leaves_no_number_out(how):
    x = torch.rand(64, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for place in ((0, 0), (13, 7), (31, 46), (63, 47)):
        y = x.clone()
        y[place] += 10
        assert not torch.equal(Resize((16, 12), how)(x), Resize((16, 12), how)(y))


def test_resizing_to_the_same_grid_changes_nothing():
    x = torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    assert Resize((5, 7))(x) is x


def test_a_pipeline_is_its_stages_one_after_the_other():
    x = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    a, b, c, d = Reduce("sum"), Clip(90), Scale(-2, 2), Resize((12, 12))
    assert torch.equal((a | b | c | d)(x), d(c(b(a(x)))))
    assert (a | b) | (c | d) == Pipeline((a, b, c, d)) == a | (b | c) | d


@given(x=maps)
def test_no_stage_changes_what_it_is_given(x):
    t = torch.from_numpy(x.copy())
    (Reduce("max_abs") | Clip(80) | Scale(-1, 1) | Resize((4, 4)) | Colour("PuOr"))(t)
    assert np.array_equal(t.numpy(), x)


def test_three_planes_are_red_green_and_blue():
    x = torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    assert Colour("gray")(x).tolist() == [[[255, 128, 0]]]


def test_an_overlay_of_no_strength_is_the_picture():
    picture = torch.arange(48, dtype=torch.uint8).reshape(4, 4, 3)
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(4, 4, 3)
    over = Overlay(picture, 0.6, "colour")
    assert torch.equal(over(red, torch.zeros(4, 4)), picture)
    full = over(red, torch.ones(4, 4)).double()
    assert torch.equal(full, (0.4 * picture.double() + 0.6 * red.double()).round())


def test_a_grey_underlay_has_no_colour():
    picture = torch.randint(0, 255, (4, 4, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    grey = Overlay(picture, 0.5, "grey")(torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(4, 4))
    assert torch.equal(grey[..., 0], grey[..., 1]) and torch.equal(grey[..., 1], grey[..., 2])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Reduce("summ"),
        lambda: Clip(0),
        lambda: Clip(101),
        lambda: Clip(math.nan),
        lambda: Resize((2, 2), "cubic"),
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ParameterError, match="Wanted"):
        wrong()


def test_two_channels_have_no_red_green_and_blue():
    with pytest.raises(ParameterError, match="2 channels"):
        Reduce("rgb")(torch.zeros(2, 4, 4))
