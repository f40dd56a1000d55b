"""Somebody's own preprocessing: its effect on pixels is found, or said to be no simple one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pellucid.core.errors import InputError
from pellucid.images import Photo, read
from pellucid.preprocess import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photo() -> Photo:
    return read(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))


def unit(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((32, 32)), np.float32).transpose(2, 0, 1).copy() / 255)


AFFINE: dict[str, tuple[Callable[[Image.Image], Tensor], Preprocess]] = {
    "unit": (unit, Preprocess()),
    "levels": (lambda image: unit(image) * 255, Preprocess(scale=255)),
    "minus one to one": (lambda image: unit(image) * 2 - 1, Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3)),
    "bgr": (lambda image: unit(image).flip(0) * 255 - 100, Preprocess(order="bgr", scale=255, mean=(100 / 255,) * 3)),
    "inverted": (lambda image: 1 - unit(image), Preprocess(mean=(1.0,), std=(-1.0,))),
    "batch of one": (lambda image: unit(image)[None], Preprocess()),
    "double": (lambda image: unit(image).double() * 3, Preprocess(scale=3)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_functions_are_recognised(name: str) -> None:
    function, same = AFFINE[name]
    found = Preprocess.from_callable(function)
    pixels = torch.rand(3, 5, 5)
    assert found.linked
    assert torch.allclose(found.to_rows(pixels), same.to_rows(pixels), rtol=1e-5, atol=1e-4)
    row = found.rows([photo()])[0]
    assert torch.allclose(row, function(photo().image()).reshape(3, 32, 32).float())
    assert np.array_equal(found.view(photo()), np.asarray(photo().image().resize((32, 32))))


def test_grey_is_recognised() -> None:
    def grey(image: Image.Image) -> Tensor:
        return (torch.from_numpy(np.asarray(image.convert("L"), np.float32).copy())[None] / 255 - 0.1307) / 0.3081

    found = Preprocess.from_callable(grey)
    assert (found.channels, found.linked) == (1, True)
    assert found.mean[0] == pytest.approx(0.1307, abs=1e-6)
    assert found.std[0] == pytest.approx(0.3081, abs=1e-6)
    assert found.view(photo()).shape == (60, 80, 3)


NOT_AFFINE: dict[str, Callable[[Image.Image], Tensor]] = {
    "gamma": lambda image: unit(image) ** 2.2,
    "threshold": lambda image: (unit(image) > 0.5).float(),
    "standardised by photo": lambda image: (unit(image) - unit(image).mean()) / (unit(image).std() + 1e-5),
    "mean of photo removed": lambda image: unit(image) * 1.0 - unit(image).mean() / 2,
    "stretched by photo": lambda image: unit(image) / unit(image).max().clamp_min(1e-3),
    "luma in three channels": lambda image: unit(image.convert("L").convert("RGB")),
    "mixed channels": lambda image: unit(image) + 0.3 * unit(image).roll(1, 0),
    "constant": lambda image: unit(image) * 0,
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_other_functions_stay_usable_but_have_no_pixel_units(name: str) -> None:
    way = Preprocess.from_callable(NOT_AFFINE[name])
    assert way.affine is None
    row = way.rows([photo()])
    assert torch.equal(row[0], NOT_AFFINE[name](photo().image()))
    for use in (way.to_rows, way.to_pixels, way.gain, way.shown):
        with pytest.raises(InputError, match="affine"):
            use(row)
    assert "not affine" in way.describe()


def test_arrays_are_tried_after_pillow() -> None:
    def from_array(array: np.ndarray) -> np.ndarray:
        if not isinstance(array, np.ndarray):
            raise TypeError("arrays only")
        return np.moveaxis(array, -1, 0).astype(np.float32)

    found = Preprocess.from_callable(from_array)
    assert found.affine is not None
    assert np.allclose(found.affine, ([255] * 3, [0] * 3))


def test_a_size_can_be_demanded() -> None:
    def fussy(image: Image.Image) -> Tensor:
        if image.size != (48, 40):
            raise ValueError("only 48 x 40")
        return unit(image)

    with pytest.raises(InputError, match="only 48 x 40"):
        Preprocess.from_callable(fussy)
    assert Preprocess.from_callable(fussy, size=(40, 48)).linked


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda image: image, "Image"),
        (lambda image: torch.from_numpy(np.asarray(image).copy()).float(), "shape"),
        (lambda image: (unit(image) * 255).byte(), "uint8"),
        (lambda image: [1, 2], "list"),
        (lambda image: unit(image) + torch.rand(1, generator=GENERATOR), "two different"),
    ],
)
def test_functions_that_cannot_be_used(function: Callable[[Image.Image], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Preprocess.from_callable(function)


GENERATOR = torch.Generator().manual_seed(0)


def test_torchvision_and_timm_transforms() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    data = pytest.importorskip("timm.data")
    theirs = [
        v2.Compose(
            [
                v2.Resize(64),
                v2.CenterCrop(56),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        ),
        data.create_transform((3, 56, 56), crop_pct=0.875, mean=MEAN, std=STD),
        data.create_transform((3, 56, 40), crop_pct=0.9, mean=MEAN, std=STD, crop_mode="border"),
    ]
    for transform in theirs:
        way = Preprocess.from_callable(transform)
        assert way.mean == pytest.approx(MEAN, abs=1e-6)
        assert way.std == pytest.approx(STD, abs=1e-6)
        assert torch.equal(way.rows([photo()])[0], transform(photo().image()))


def test_hugging_face_processor() -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.ViTImageProcessor(size={"height": 48, "width": 48})
    way = Preprocess.from_callable(processor)
    assert way.mean == pytest.approx((0.5,) * 3, abs=1e-6)
    assert way.std == pytest.approx((0.5,) * 3, abs=1e-6)
    assert way.rows([photo()]).shape == (1, 3, 48, 48)
