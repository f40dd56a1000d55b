"""Reference inputs and noise levels: said in pixels, meant in rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid import images
from pellucid.core.errors import InputError, ParameterError
from pellucid.ops.reference import NAMES, References, blurred, reference, spread_to_std
from pellucid.preprocess import Preprocess

MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.4, 0.5)
NORMALISE = Preprocess(mean=MEAN, std=STD)
CAFFE = Preprocess(mean=MEAN, std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")
IDENTITY = Preprocess.identity()
WAYS = pytest.mark.parametrize("way", [NORMALISE, CAFFE, IDENTITY], ids=["normalise", "caffe", "identity"])

PIXELS = torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def shown(spec: Any, way: Preprocess) -> Tensor:
    """The reference input in pixels, for the rows of PIXELS."""
    got = References(way.to_rows(PIXELS), way).baseline(spec)
    assert got.shape == PIXELS.shape
    return way.to_pixels(got)


@WAYS
@pytest.mark.parametrize(("spec", "level"), [("black", 0.0), ("white", 1.0), ("gray", 0.5), (0.3, 0.3), (1, 1.0)])
def test_a_level_is_that_level_in_pixels(way: Preprocess, spec: Any, level: float) -> None:
    torch.testing.assert_close(shown(spec, way), torch.full_like(PIXELS, level))


def test_black_through_a_normalisation_by_hand() -> None:
    rows = References(NORMALISE.to_rows(PIXELS), NORMALISE).baseline("black")
    wanted = -torch.tensor(MEAN, dtype=torch.float64) / torch.tensor(STD, dtype=torch.float64)
    torch.testing.assert_close(rows, wanted.view(1, 3, 1, 1).expand_as(PIXELS))


@WAYS
def test_zero_is_zero_in_rows(way: Preprocess) -> None:
    assert not References(way.to_rows(PIXELS), way).baseline("zero").any()


@WAYS
def test_mean_is_the_mean_colour_of_every_picture(way: Preprocess) -> None:
    torch.testing.assert_close(shown("mean", way), PIXELS.mean((2, 3), keepdim=True).expand_as(PIXELS))


@WAYS
def test_blur_is_the_blurred_picture(way: Preprocess) -> None:
    torch.testing.assert_close(shown("blur", way), blurred(PIXELS))


def test_blur_keeps_constants() -> None:
    flat = torch.full((1, 3, 9, 7), 0.37, dtype=torch.float64)
    torch.testing.assert_close(blurred(flat), flat)


def test_blur_is_a_gaussian_of_a_tenth_of_the_shorter_side() -> None:
    """Far from the borders, against the formula."""
    spike = torch.zeros(1, 1, 41, 61, dtype=torch.float64)
    spike[0, 0, 20, 30] = 1
    got = blurred(spike)[0, 0]
    i, j = np.mgrid[-20:21, -30:31]
    wanted = np.exp(-(i**2 + j**2) / (2 * 4.1**2))
    wanted[(abs(i) > 13) | (abs(j) > 13)] = 0
    np.testing.assert_allclose(got.numpy(), wanted / wanted.sum(), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)])
def test_blur_of_tiny_pictures(size: tuple[int, int]) -> None:
    flat = torch.ones(1, 2, *size)
    torch.testing.assert_close(blurred(flat), flat)


@WAYS
def test_noise_is_uniform_in_pixels_and_the_same_for_every_picture_and_call(way: Preprocess) -> None:
    got = shown("noise", way)
    assert torch.equal(got, shown("noise", way))
    torch.testing.assert_close(got[0], got[2])
    assert float(got.min()) + 1e-9 >= 0
    assert float(got.max()) <= 1 + 1e-9
    assert 0.4 < float(got.mean()) < 0.6


def test_noise_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    shown("noise", IDENTITY)
    assert torch.equal(torch.get_rng_state(), before)


@WAYS
@pytest.mark.parametrize("shape", [(3, 3, 8, 10), (1, 3, 8, 10), (3, 8, 10), (8, 10), (3, 1, 1), (1, 3, 1, 1), ()])
def test_a_tensor_is_taken_in_pixels_and_broadcast(way: Preprocess, shape: tuple[int, ...]) -> None:
    given = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(shown(given, way), given.expand_as(PIXELS))


def test_a_tensor_takes_the_dtype_of_the_rows() -> None:
    assert References(PIXELS, IDENTITY).baseline(torch.zeros(3, 8, 10)).dtype == torch.float64


@WAYS
def test_a_function_gets_pixels_and_gives_pixels(way: Preprocess) -> None:
    torch.testing.assert_close(shown(lambda pixels: 1 - pixels, way), 1 - PIXELS)


@pytest.mark.parametrize("shape", [(2, 3, 8, 10), (4, 8, 10), (3, 8, 9), (1, 1, 3, 8, 10)])
def test_a_tensor_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="a baseline of shape"):
        shown(torch.zeros(shape), IDENTITY)


def test_a_baseline_for_every_image_says_how_far_it_goes() -> None:
    with pytest.raises(ParameterError, match="a function of the pixels"):
        shown(torch.zeros(len(PIXELS) + 1, *PIXELS.shape[1:]), IDENTITY)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match="perhaps 'black'"):
        shown("blak", IDENTITY)


@pytest.mark.parametrize("spec", [None, [0.0, 0.0, 0.0], {}, np.float32(0.5), b"black"])
def test_what_is_no_baseline_is_refused(spec: Any) -> None:
    with pytest.raises(ParameterError, match=f"a {type(spec).__name__} as a baseline"):
        shown(spec, IDENTITY)


def test_blur_of_rows_that_are_no_pictures_is_refused() -> None:
    with pytest.raises(ParameterError, match="rows with height and width"):
        reference("blur", torch.rand(2, 5), IDENTITY)


def test_pixel_units_are_refused_where_the_preprocessing_is_not_affine() -> None:
    strange = Preprocess(call=lambda photo: torch.zeros(3, 4, 4), linked=False)
    with pytest.raises(InputError, match="affine"):
        reference("black", PIXELS, strange)


@pytest.mark.parametrize("spec", ["black", "zero", "mean", "noise", 0.5])
def test_rows_of_numbers_have_references_too(spec: Any) -> None:
    rows = torch.rand(2, 5)
    assert References(rows, IDENTITY).baseline(spec).shape == rows.shape


@pytest.mark.parametrize("spec", [*NAMES, 0.5, torch.zeros(3, 8, 10)])
def test_every_reference_is_made_once(spec: Any) -> None:
    references = References(PIXELS, IDENTITY)
    assert references.baseline(spec) is references.baseline(spec)


# -- noise levels ------------------------------------------------------------------------------------------------


@WAYS
def test_a_spread_is_that_fraction_of_every_pictures_range(way: Preprocess) -> None:
    """In pixels the standard deviation is spread × (max − min), of the row, not of its channels."""
    pixels = PIXELS * torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64).view(3, 1, 1, 1)
    rows = way.to_rows(pixels)
    std = spread_to_std(0.2, rows, way)
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = way.to_pixels(rows + std * noise) - pixels
    span = pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1)
    wanted = 0.2 * span.view(3, 1, 1, 1) * (noise.flip(1) if way.order == "bgr" else noise)
    torch.testing.assert_close(moved, wanted)


def test_a_spread_by_hand() -> None:
    pixels = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    std = spread_to_std(0.5, NORMALISE.to_rows(pixels), NORMALISE)
    assert std[0, :, 0, 1].tolist() == pytest.approx([0.5 * 0.4 / s for s in STD])


def test_a_flat_picture_gets_no_noise() -> None:
    assert not spread_to_std(0.2, torch.full((1, 3, 4, 4), 0.3), IDENTITY).any()


@WAYS
def test_a_colour_has_a_number_for_every_channel(way: Preprocess) -> None:
    wanted = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)[:, None, None].expand_as(PIXELS)
    for spec in (torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64), np.array([0.2, 0.9, 0.4])):
        torch.testing.assert_close(shown(spec, way), wanted)


def test_another_picture_is_seen_as_the_model_sees_photos(tmp_path: Path) -> None:
    way = Preprocess(resize=8, crop=(8, 10), mean=MEAN, std=STD)
    level = (np.arange(20 * 25 * 3).reshape(20, 25, 3) % 251).astype(np.uint8)
    photo = images.read(level)
    photo.image().save(tmp_path / "other.png")
    wanted = way.rows([photo], torch.float64)
    references = References(way.to_rows(PIXELS), way)
    for spec in (photo, level, photo.image(), tmp_path / "other.png", str(tmp_path / "other.png")):
        torch.testing.assert_close(references.baseline(spec), wanted.expand_as(PIXELS))
    with pytest.raises(ParameterError, match="bring it to that size"):
        References(IDENTITY.to_rows(PIXELS), IDENTITY).baseline(photo)
    with pytest.raises(ParameterError, match="rows that are pictures"):
        References(PIXELS.flatten(1), IDENTITY).baseline(photo)
    with pytest.raises(ParameterError, match=r"baseline 'nothere\.png'"):
        References(PIXELS, IDENTITY).baseline("nothere.png")
