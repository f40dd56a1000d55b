"""Paths, folders, arrays, Pillow images and tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pellucid.core.errors import ImageError
from pellucid.images import Photo, count, read, read_each, read_many

from .corpus import GREY, RGB, encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, level in (("b.png", 20), ("a.JPG", 10), ("c.webp", 30)):
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name[2:].lower()]
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (8, 8), (level,) * 3), kind))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._a.jpg").write_text("a leftover of macOS")
    return tmp_path


def test_folder_is_sorted_and_holds_pictures_only(folder: Path) -> None:
    assert [photo.name for photo in read_many(folder)] == ["a.JPG", "b.png", "c.webp"]
    assert [photo.name for photo in read_many(str(folder))] == ["a.JPG", "b.png", "c.webp"]


def test_pictures_are_counted_without_being_read(folder: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    assert [count(it) for it in (folder, [folder, "missing.png"], picture, picture[None], b"no picture")] == [
        3,
        4,
        1,
        1,
        1,
    ]
    unread = iter([picture])
    assert count(unread) is None
    assert len(list(unread)) == 1


def test_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no pictures"):
        read_many(tmp_path)


def test_one_photo_from_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ImageError, match="read_many"):
        read(folder)


def test_lists_may_mix_everything(folder: Path) -> None:
    photos = read_many([folder / "b.png", RGB, Image.fromarray(GREY), encoded(Image.fromarray(RGB), "PNG"), folder])
    assert [photo.name for photo in photos] == ["b.png", "image 2", "image 3", "image 4", "a.JPG", "b.png", "c.webp"]
    assert read_many(photos) == photos


def test_one_is_many_of_one(folder: Path) -> None:
    for one in (RGB, Image.fromarray(RGB), encoded(Image.fromarray(RGB), "PNG"), folder / "b.png"):
        assert len(read_many(one)) == 1


def test_batches_and_nothing() -> None:
    batch = np.stack([RGB, 255 - RGB])
    assert [np.array_equal(photo.uint8(), want) for photo, want in zip(read_many(batch), batch, strict=True)]
    assert len(read_many(torch.from_numpy(batch))) == 2
    assert read_many([]) == []


def test_a_damaged_file_does_not_end_the_iteration(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    each = read_each([folder, folder / "missing.png", RGB])
    names, errors = [], 0
    while True:
        try:
            names.append(next(each).name)
        except ImageError:
            errors += 1
        except StopIteration:
            break
    assert (names, errors) == (["a.JPG", "b.png", "c.webp", "image 6"], 2)


def test_each_is_lazy(folder: Path) -> None:
    each = read_each(path for path in (folder / "a.JPG", folder / "never made.png"))
    assert next(each).name == "a.JPG"


@pytest.mark.parametrize("bad", ["https://x.org/cat.png", "", "a\0b.png", "~nobody-here/cat.png", "/dev/null"])
def test_what_is_not_a_path(bad: str) -> None:
    with pytest.raises(ImageError):
        read(bad)


def test_misspelt_names_get_the_nearest(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"c\.webp"):
        read(folder / "cc.webp")


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.bmp"
    with path.open("wb") as sparse:
        sparse.truncate(2**30)
    with pytest.raises(ImageError, match="MB"):
        read(path)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float32, np.float64, bool])
def test_arrays(shape: tuple[int, ...], dtype: object) -> None:
    unit = np.random.default_rng(0).random(shape)
    if shape[-1] == 4:
        unit[..., 3] = 1
    top = {"u": np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 0, "f": 1, "b": 1}[np.dtype(dtype).kind]
    array = (unit * top).round().astype(dtype) if np.dtype(dtype).kind != "f" else unit.astype(dtype)
    colour = array.reshape(5, 7, -1)[..., :3].astype(np.float64) / top
    kept = array.copy()
    photo = read(array)
    assert np.allclose(photo.pixels, np.broadcast_to(colour, (5, 7, 3)), atol=1e-6)
    assert np.array_equal(array, kept)
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (RGB.transpose(2, 0, 1), "moveaxis"),
        (RGB.astype(np.int64), "int64"),
        (RGB.astype(np.float32), "255"),
        (RGB.astype(np.float32) / 127.5 - 1, "rows"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.where(np.arange(48).reshape(4, 4, 3) == 5, np.inf, 0.5), "1 values"),
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros(4), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "0 pixels|at least one"),
        (np.zeros((2, 4, 4, 3), np.uint8), "read_many"),
        (np.array([["a", "b"]]), "type"),
        (np.zeros((4, 4), complex), "complex"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(array)


def test_small_overshoot_is_clipped_and_said() -> None:
    photo = read(np.array([[-0.001, 0.5, 1.001]]))
    assert photo.uint8()[0, :, 0].tolist() == [0, 128, 255]
    assert any("clipped" in note for note in photo.notes)


@pytest.mark.parametrize("value", [0.25, 2.0])
def test_pillow_float_images(value: float) -> None:
    image = Image.new("F", (3, 2), value)
    if value > 1:
        with pytest.raises(ImageError):
            read(image)
    else:
        assert np.allclose(read(image).pixels, value)


def test_pillow_32_bit_and_unknown_modes() -> None:
    assert np.allclose(read(Image.new("I", (3, 2), 65535)).pixels, 1)
    for image in (Image.new("I", (3, 2), 70000), Image.new("LAB", (3, 2))):
        with pytest.raises(ImageError):
            read(image)


def test_pillow_image_is_not_changed() -> None:
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = 6
    read(image)
    assert image.size == (7, 5)
    assert np.array_equal(np.asarray(image), RGB)


def test_tensors_are_rows_unless_bytes() -> None:
    assert np.array_equal(read(torch.from_numpy(RGB.copy())).uint8(), RGB)
    with pytest.raises(ImageError, match="rows"):
        read(torch.zeros(4, 4, 3))
    with pytest.raises(ImageError, match="come first"):
        read(torch.zeros(3, 9, 9, dtype=torch.uint8))


@pytest.mark.parametrize("thing", [None, 5, object(), [[1, 2]], {"a": 1}])
def test_other_things_are_refused(thing: object) -> None:
    with pytest.raises(ImageError):
        read(thing)  # type: ignore[arg-type]


def test_photos_are_values() -> None:
    photo = read(RGB)
    assert read(photo) is photo
    with pytest.raises(ValueError, match="read-only"):
        photo.stored[0, 0, 0] = 1
    with pytest.raises(ImageError):
        Photo(np.zeros((4, 4), np.uint8))
    assert "7x5" in repr(photo)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_float_and_bytes_agree(array: np.ndarray) -> None:
    assert np.array_equal(read(array / 255).uint8(), read(array).uint8())


@given(st.integers(0, 255), st.integers(0, 255))
def test_alpha_is_monotone_in_the_share(colour: int, alpha: int) -> None:
    pixel = np.array([[[colour] * 3 + [alpha]]], np.uint8)
    assert colour <= int(read(pixel).uint8()[0, 0, 0]) <= 255
