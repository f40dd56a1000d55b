"""What is drawn is what the numbers say."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.unit.views.planted import planted

from pellucid.core.errors import FileExists, InputError, ParameterError
from pellucid.core.explanation import Kind
from pellucid.views import LOOKS, Look, draw, look_for, palette, shared_scale
from pellucid.views.drawing import look_of


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread_out(*shape: int, seed: int = 0) -> torch.Tensor:
    """Numbers that all differ visibly."""
    n = int(np.prod(shape))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).double()
    return (order - n / 2 + 0.25).reshape(shape)


def place_of(rgb: torch.Tensor, name: str) -> torch.Tensor:
    """Where on the palette every pixel lies."""
    distance = (rgb[..., None, :].double() - palette(name).table.double()).abs().sum(-1)
    assert distance.min(-1).values.max() == 0
    return distance.argmin(-1)


@pytest.mark.parametrize("seed", range(5))
def test_the_strongest_colour_is_at_the_largest_value(seed):
    e = planted(spread_out(1, 12, 12, seed=seed))
    picture = draw(e, Look(clip=100), size=(12, 12))[0]
    place = place_of(picture.rgb, picture.palette.name)
    value = e.values[0]
    strength = (place - 127.5).abs()
    assert strength.flatten()[value.abs().argmax()] == strength.max()
    assert (place[value > 1] > 127).all() and (place[value < -1] < 128).all()
    order = value.flatten().argsort()
    assert (place.flatten()[order].diff() >= 0).all()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("seed", range(3))
def test_every_preset_puts_its_end_colour_at_the_largest_value(kind, seed):
    values = noise(1, 3, 24, 24, seed=seed).abs() if kind is not Kind.CAM else noise(1, 24, 24, seed=seed).abs()
    look = replace(look_for(kind), overlay=0.0)
    picture = draw(planted(values, kind), look)[0]
    reduced = values[0] if kind is Kind.CAM else (values.norm(dim=1) if kind is Kind.SENSITIVITY else values.sum(1))[0]
    assert place_of(picture.rgb, look.palette).flatten()[reduced.argmax()] == 255


def test_the_scale_says_what_the_ends_mean():
    e = planted(torch.tensor([[[-4.0, 1.0], [0.0, 2.0]]]), side=2)
    picture = draw(e, Look(clip=100, palette="gray"))[0]
    assert picture.scale == (-4.0, 4.0)
    assert picture.rgb[..., 0].tolist() == [[0, round(255 * 5 / 8)], [128, round(255 * 6 / 8)]]
    assert draw(e, Look(clip=100, scale="extrema", palette="gray"))[0].scale == (-4.0, 2.0)
    zero = draw(e, Look(clip=100, scale="zero", palette="gray"))[0]
    assert zero.scale == (0.0, 2.0) and zero.rgb[0, 0].tolist() == [0, 0, 0]
    assert "below 0 (down to −4)" in zero.note


@given(seed=st.integers(0, 1000))
def test_turning_all_signs_turns_the_colours(seed):
    x = noise(1, 5, 5, seed=seed)
    place = [place_of(draw(planted(v), Look(), size=(5, 5))[0].rgb, "PuOr9_r") for v in (x, -x)]
    assert ((place[0] + place[1] - 255).abs() <= 1).all()


@pytest.mark.parametrize("look", [None, *LOOKS])
def test_numbers_are_never_changed(look):
    e = planted(noise(2, 3, 8, 8).requires_grad_(), side=8)
    before, photo = e.values.detach().clone(), e.inputs.picture.clone()
    draw(e, look)
    assert torch.equal(e.values.detach(), before) and e.values.requires_grad
    assert torch.equal(e.inputs.picture, photo)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5, 1e-30])
@pytest.mark.parametrize("kind", Kind)
def test_a_constant_map_is_flat_and_says_so(kind, value):
    e = planted(torch.full((1, 6, 6), value, dtype=torch.float64), kind, pictures=False)
    picture = draw(e)[0]
    assert picture.rgb.flatten(0, 1).unique(dim=0).shape[0] == 1
    assert picture.note.startswith("flat: all values")
    assert picture.scale == (value, value) or kind is Kind.SENSITIVITY


def test_rounding_noise_on_a_constant_is_not_stretched():
    picture = draw(planted(1 + 1e-7 * noise(1, 6, 6), pictures=False), Look(scale="extrema", palette="gray"))[0]
    assert picture.rgb.unique().numel() == 1 and "up to rounding" in picture.note


def test_tiny_numbers_are_not_flat():
    picture = draw(planted(1e-30 * noise(1, 6, 6), pictures=False))[0]
    assert not picture.note.startswith("flat") and 0 < picture.scale[1] < 1e-28


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_not_drawn_as_if_they_were(bad):
    x = noise(1, 6, 6)
    x[0, 2, 3] = bad
    picture = draw(planted(x, pictures=False))[0]
    assert picture.rgb.flatten(0, 1).unique(dim=0).shape[0] == 1
    assert "1 of 36 values" in picture.note and "not finite" in picture.alt


def test_a_flat_overlay_is_the_photo_alone():
    e = planted(torch.zeros(1, 4, 4), Kind.CAM)
    grey = draw(e)[0].rgb
    assert torch.equal(grey[..., 0], grey[..., 1]) and grey.unique().numel() > 20


def test_an_overlay_without_a_picture_says_so():
    assert draw(planted(noise(1, 4, 4), Kind.CAM, pictures=False))[0].note == "no picture to lie over"
    assert draw(planted(noise(1, 4, 4), Kind.CAM))[0].note == ""


def test_the_photo_stays_visible_under_the_strongest_colour():
    e = planted(torch.cat([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)], 2), Kind.CAM)
    strong = draw(e)[0].rgb[:, :6]
    assert strong.double().std() > 5


def test_rows_do_not_depend_on_each_other():
    e = planted(noise(3, 3, 8, 8) * torch.tensor([1.0, 50.0, -3.0])[:, None, None, None], Kind.SENSITIVITY)
    for i, picture in enumerate(draw(e)):
        alone = draw(e[i])[0]
        assert torch.equal(picture.rgb, alone.rgb) and picture == alone


def test_a_shared_scale_makes_pictures_comparable():
    small, large = planted(noise(1, 8, 8)), planted(4 * noise(1, 8, 8))
    look = Look(clip=100)
    ends = shared_scale([small, large], look)
    assert ends == draw(large, look)[0].scale
    a, b = (draw(e, look, scale=ends, size=(8, 8))[0] for e in (small, large))
    assert a.scale == b.scale == ends
    strength = [float((place_of(p.rgb, "PuOr9_r") - 127.5).abs().max()) for p in (a, b)]
    assert strength[0] == pytest.approx(strength[1] / 4, rel=0.05)


def test_a_given_scale_that_cuts_is_reported():
    note = draw(planted(torch.tensor([[[3.0, -1.0]]])), scale=2.0)[0].note
    assert note == "clipped at the given scale, the largest magnitude is 3"


def test_clipping_is_reported_with_what_it_hides():
    x = torch.ones(1, 20, 20, dtype=torch.float64) * 0.5
    x[0, 0, 0], x[0, 0, 1] = 7.0, 0.1
    picture = draw(planted(x), Look(clip=99.0))[0]
    assert picture.scale == (-0.5, 0.5)
    assert "99th percentile" in picture.note and "7" in picture.note


def test_axes_in_any_order():
    x = noise(1, 3, 8, 6)
    e = planted(x, Kind.SENSITIVITY)
    turned = replace(e, values=x.permute(0, 3, 1, 2), dims=("batch", "width", "channel", "height"))
    assert torch.equal(draw(e)[0].rgb, draw(turned)[0].rgb)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_every_kind_of_number_can_be_drawn(dtype):
    assert draw(planted((8 * noise(1, 8, 8)).to(dtype)))[0].rgb.shape == (24, 24, 3)


def test_a_class_activation_map_with_both_signs_shows_both():
    assert draw(planted(noise(1, 7, 7), Kind.CAM))[0].palette.diverging
    assert not draw(planted(noise(1, 7, 7).abs(), Kind.CAM))[0].palette.diverging


def test_the_rgb_look_scales_three_channels_together():
    x = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    x[0, :, 0, 0] = torch.tensor([-4.0, 2.0, 1.0])
    picture = draw(planted(x, Kind.SENSITIVITY, side=2), replace(look_for("rgb"), clip=100))[0]
    assert picture.rgb[0, 0].tolist() == [255, 128, 64]


def test_the_grayscale_look_is_the_sum_of_magnitudes():
    x = noise(1, 3, 6, 6)
    picture = draw(planted(x, Kind.SENSITIVITY, side=6), replace(look_for("grayscale"), clip=100))[0]
    wanted = x.abs().sum(1)[0]
    assert torch.equal(picture.rgb[..., 0], (wanted / wanted.max() * 255).round().to(torch.uint8))


def test_sizes():
    e = planted(noise(1, 7, 7), Kind.CAM)
    assert draw(e)[0].size == (24, 24)
    assert draw(e, size=(50, 30))[0].size == (50, 30)
    assert draw(planted(noise(1, 7, 7), pictures=False))[0].size == (7, 7)


def test_what_is_no_map_is_refused():
    e = planted(noise(1, 4, 4))
    with pytest.raises(InputError, match="is no map"):
        draw(replace(e, values=torch.zeros(1, 5), dims=("batch", "axis_1")))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"reduce": "sun"}, "'sum'"),
        ({"palette": "Purple"}, "palette"),
        ({"clip": 0}, "percentile"),
        ({"overlay": 1.5}, "overlay"),
        ({"scale": "log"}, "centred"),
        ({"scale": "zero", "palette": "bwr"}, "middle does not mean 0"),
        ({"resize": "cubic"}, "bilinear"),
        ({"underlay": "none"}, "grey"),
        ({"reduce": "rgb", "scale": "zero", "palette": "gray", "overlay": 0.5}, "rgb"),
        ({"reduce": "rgb", "palette": "gray"}, "rgb"),
    ],
)
def test_a_look_that_cannot_be_drawn_is_refused(wrong, says):
    with pytest.raises(ParameterError, match=says):
        Look(**wrong)


def test_an_unknown_look_gets_the_nearest():
    with pytest.raises(ParameterError, match="grayscale"):
        draw(planted(noise(1, 4, 4)), "greyscale")


def test_jet_comes_with_a_remark():
    assert "jet" in draw(planted(noise(1, 4, 4)), Look(palette="jet"))[0].note


def test_a_picture_is_a_png_that_says_what_it_shows(tmp_path):
    picture = draw(planted(noise(1, 6, 6)))[0]
    read = Image.open(BytesIO(picture.png()))
    assert np.array_equal(np.asarray(read), picture.rgb.numpy())
    assert read.text["Description"] == picture.alt
    assert picture._repr_png_() == picture.png()
    path = picture.save(tmp_path / "a.png")
    assert path.read_bytes() == picture.png()
    with pytest.raises(FileExists):
        picture.save(path)
    picture.save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_part_is_seen_in_its_colours_and_the_rest_is_pale_and_grey():
    share = torch.tensor([[0.0, 0.25], [0.5, 1.0]], dtype=torch.float64)[None]
    e = planted(share, Kind.PART, side=2)
    p = e.inputs.picture[0].double()
    rgb = draw(e)[0].rgb.double()
    assert torch.equal(rgb[1, 1], p[1, 1])
    weights = torch.tensor([0.299, 0.587, 0.114]).double()
    pale = 0.8 * torch.tensor([246.0, 247, 249]).double() + 0.2 * (p @ weights)[..., None]
    wanted = pale + share[0][..., None] * (p - pale)
    assert (rgb - wanted).abs().max() <= 0.5 + 1e-9


def test_a_part_without_a_picture_has_the_colours_of_its_palette():
    e = planted(noise(1, 6, 6).abs(), Kind.PART, pictures=False)
    picture = draw(e)[0]
    place_of(picture.rgb, "magma")
    assert "no picture to lie over" in picture.note


@pytest.mark.parametrize("kind", [Kind.CONTRIBUTION, Kind.SPREAD])
def test_numbers_of_regions_lie_over_the_picture_if_there_is_one(kind):
    regions = {"regions": torch.zeros(1, 4, 4, dtype=torch.int64)}
    values = noise(1, 4, 4) if kind is Kind.CONTRIBUTION else noise(1, 4, 4).abs()
    own, cut = planted(values, kind), replace(planted(values, kind), extras=regions)
    bare = replace(planted(values, kind, pictures=False), extras=regions)
    assert look_of(own).overlay == look_of(bare).overlay == 0
    assert look_of(cut).overlay > 0 and look_of(cut).clip == 100
    assert look_of(cut, "contribution") == LOOKS["contribution"]
    assert (look_of(cut) == LOOKS["regions"]) is (kind is Kind.CONTRIBUTION)


def test_only_a_scale_from_zero_reveals():
    with pytest.raises(ParameterError, match="zero"):
        Look(underlay="revealed")
