"""The declared way: equal to torchvision and timm, invertible, and clear about what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.errors import ImageError, InputError
from pellucid.images import Photo, read
from pellucid.preprocess import INTERPOLATIONS, Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(300, 451), (451, 300), (256, 256), (257, 255), (37, 41), (224, 900)]


def photo(height: int, width: int, seed: int = 0) -> Photo:
    return read(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_equals_torchvision(size: tuple[int, int], interpolation: str) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    theirs = v2.Compose(
        [
            v2.Resize(64, interpolation=v2.InterpolationMode(interpolation)),
            v2.CenterCrop(56),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    mine = Preprocess(resize=64, crop=56, interpolation=interpolation, mean=MEAN, std=STD)
    shot = photo(*size)
    assert torch.allclose(mine.rows([shot])[0], theirs(shot.image()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crop", [(50, 60), 300])
def test_exact_resize_and_padding_equal_torchvision(size: tuple[int, int], crop: int | tuple[int, int]) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    theirs = v2.Compose([v2.Resize((91, 120)), v2.CenterCrop(crop), v2.PILToTensor()])
    shot = photo(*size)
    mine = Preprocess(resize=(91, 120), crop=crop)
    assert np.array_equal(mine.view(shot), theirs(shot.image()).permute(1, 2, 0).numpy())
    assert mine.size == ((crop, crop) if isinstance(crop, int) else crop)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("percent", [0.875, 0.95, 1.0])
def test_equals_timm(size: tuple[int, int], percent: float) -> None:
    data = pytest.importorskip("timm.data")
    theirs = data.create_transform(
        (3, 224, 224), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=percent, crop_mode="center"
    )
    mine = Preprocess(resize=int(224 / percent), crop=224, interpolation="bicubic", mean=MEAN, std=STD)
    shot = photo(*size)
    assert torch.allclose(mine.rows([shot])[0], theirs(shot.image()), rtol=0, atol=1e-6)


def test_grey_models_see_luma() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose([transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor()])
    mine = Preprocess(resize=(28, 28), channels=1)
    shot = photo(40, 61)
    assert torch.allclose(mine.rows([shot])[0], theirs(shot.image()), rtol=0, atol=1e-6)
    assert mine.view(shot).shape == (28, 28, 3)
    pixels = torch.from_numpy(shot.pixels.copy()).permute(2, 0, 1)
    luma = Preprocess(channels=1).rows([shot])[0]
    assert (Preprocess(channels=1).to_rows(pixels) - luma).abs().max() <= 0.51 / 255


def test_lists_and_single_numbers_are_taken() -> None:
    assert Preprocess(mean=list(MEAN), std=0.5) == Preprocess(mean=MEAN, std=(0.5,))  # type: ignore[arg-type]


def test_blue_first() -> None:
    shot = read(np.full((2, 3, 3), (10, 20, 30), np.uint8))
    caffe = Preprocess(order="bgr", scale=255, mean=(30 / 255, 20 / 255, 10 / 255))
    assert caffe.rows([shot]).abs().max() < 1e-4
    way = Preprocess(order="bgr", scale=255, mean=(0.1, 0.2, 0.3))
    row = way.rows([shot])[0, :, 0, 0]
    assert torch.allclose(row, torch.tensor([30.0, 20.0, 10.0]) - 255 * torch.tensor([0.1, 0.2, 0.3]), atol=1e-4)
    assert np.array_equal(way.shown(way.rows([shot]))[0], shot.uint8())


def test_float_photos_keep_their_precision() -> None:
    level = 0.5 + 0.2 / 255
    deep = read(np.full((40, 50), level))
    row = Preprocess(resize=32, crop=28).rows([deep])
    assert torch.allclose(row, torch.full_like(row, level), atol=1e-6)
    shot = read(photo(40, 61).uint8() // 4 + 96)  # in the middle, where no overshoot is clipped
    for interpolation in INTERPOLATIONS:
        way = Preprocess(resize=30, crop=28, interpolation=interpolation)
        gap = way.rows([read(shot.pixels)]) - way.rows([shot])
        assert gap.abs().max() <= 1.01 / 255, interpolation


@settings(deadline=None, max_examples=60)
@given(
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    scale=st.sampled_from([1.0, 255.0]),
    order=st.sampled_from(["rgb", "bgr"]),
)
def test_pixels_and_rows_are_inverse_and_linear(mean: list[float], std: list[float], scale: float, order: str) -> None:
    way = Preprocess(mean=tuple(mean), std=tuple(std), scale=scale, order=order)  # type: ignore[arg-type]
    pixels = torch.rand(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = way.to_rows(pixels)
    assert torch.allclose(way.to_pixels(rows), pixels, atol=1e-12)
    step = torch.full_like(pixels, 0.25)
    assert torch.allclose(way.to_rows(pixels + step) - rows, 0.25 * way.gain(rows).expand_as(rows), rtol=1e-9)
    assert way.affine is not None
    gain, offset = (rows.new_tensor(values).view(-1, 1, 1) for values in way.affine)
    ordered = pixels.flip(-3) if order == "bgr" else pixels
    assert torch.allclose(gain * ordered + offset, rows, rtol=1e-9, atol=1e-9)


def test_rows_are_differentiable_in_pixels() -> None:
    pixels = torch.rand(3, 4, 4, requires_grad=True)
    Preprocess(mean=MEAN, std=STD).to_rows(pixels).sum().backward()
    assert pixels.grad is not None
    assert torch.allclose(pixels.grad[:, 0, 0], 1 / torch.tensor(STD))


def test_view_is_what_the_row_shows() -> None:
    way = Preprocess(resize=64, crop=56, interpolation="bicubic", mean=MEAN, std=STD)
    shot = photo(90, 70)
    assert np.array_equal(way.view(shot), way.shown(way.rows([shot]))[0])


def test_identity_feeds_pixels_and_leaves_any_tensor() -> None:
    way = Preprocess.identity()
    shot = photo(5, 6)
    assert np.array_equal(way.rows([shot])[0].permute(1, 2, 0).numpy(), shot.pixels)
    many = torch.randn(2, 7, 3, 3)
    assert torch.equal(way.to_rows(many), many)
    assert torch.equal(way.to_pixels(many), many)


def test_dtypes() -> None:
    way = Preprocess(resize=32, crop=28, mean=MEAN, std=STD)
    exact = way.rows([photo(40, 40)], torch.float64)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
        rows = way.rows([photo(40, 40)], dtype)
        assert rows.dtype == dtype
        assert (rows.double() - exact).abs().max() < tolerance


def test_batches() -> None:
    way = Preprocess(resize=32, crop=28)
    assert way.rows([photo(40, 60), photo(90, 33)]).shape == (2, 3, 28, 28)
    with pytest.raises(ImageError, match="different sizes"):
        Preprocess(resize=32).rows([photo(40, 60), photo(90, 33)])
    with pytest.raises(ImageError, match="No photos"):
        way.rows([])


@pytest.mark.parametrize(
    "bad",
    [
        {"resize": 0},
        {"crop": (3, -1)},
        {"crop": 2.5},
        {"crop": (1, 2, 3)},
        {"interpolation": "cubic"},
        {"mean": (0.1, 0.2)},
        {"std": (0.0,)},
        {"std": (1.0, float("nan"), 1.0)},
        {"scale": 0},
        {"channels": 4},
        {"order": "brg"},
        {"channels": 1, "mean": MEAN},
    ],
)
def test_nonsense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Preprocess(**bad)  # type: ignore[arg-type]
