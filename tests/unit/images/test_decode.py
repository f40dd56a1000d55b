"""Files: every mode, depth and orientation read right; everything broken refused with an ImageError."""

from __future__ import annotations

import io
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from pellucid.core.errors import ImageError
from pellucid.images import read

from .corpus import ALPHA, GREY, RGB, bmp, chunk, encoded, gif, jpeg, orientation, png, tiff, webp, whole

LOSSLESS = ("PNG", "BMP", "TIFF")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_eight_bit_colour_is_exact(kind: str) -> None:
    photo = read(encoded(Image.fromarray(RGB), kind))
    assert np.array_equal(photo.uint8(), RGB)
    assert photo.pixels.dtype == np.float32
    assert np.array_equal(photo.pixels, (RGB / 255).astype(np.float32))
    assert photo.notes == ()


@pytest.mark.parametrize("kind", [*LOSSLESS, "GIF"])
def test_grey_is_replicated(kind: str) -> None:
    photo = read(encoded(Image.fromarray(GREY), kind))
    assert np.array_equal(photo.uint8(), np.stack([GREY] * 3, 2))


def test_one_bit() -> None:
    bits = Image.fromarray(GREY > 100)
    photo = read(encoded(bits, "PNG"))
    assert np.array_equal(photo.uint8()[..., 1], np.where(GREY > 100, 255, 0))
    assert any("1 bit" in note for note in photo.notes)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_every_bit(bands: int) -> None:
    values = np.random.default_rng(bands).integers(0, 65536, (5, 7, bands), dtype=np.uint16)
    if bands in (2, 4):
        values[..., -1] = 65535
    photo = read(png(values if bands > 1 else values[..., 0]))
    colour = values[..., : 3 if bands > 2 else 1]
    assert np.allclose(photo.pixels, np.broadcast_to(colour, (5, 7, 3)) / 65535, atol=1e-7)
    assert any("16 bit" in note for note in photo.notes)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bit_tiff_keeps_every_bit(order: str, compression: str | None, bands: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(3).integers(0, 65536, (5, 7, 3)[: 1 + bands // 2 + 1], dtype=np.uint16)
    out = io.BytesIO()
    kind = "rgb" if bands == 3 else "minisblack"
    tifffile.imwrite(out, values, compression=compression, byteorder=order, photometric=kind)
    expected = values if bands == 3 else np.stack([values] * 3, 2)
    assert np.allclose(read(out.getvalue()).pixels, expected / 65535, atol=1e-7)


def test_sixteen_bit_grey_is_not_white() -> None:
    """Pillow's own convert("RGB") turns such a picture white."""
    ramp = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    assert abs(float(read(png(ramp)).pixels.mean()) - 0.5) < 0.01


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None].astype(float) / 255
    return share * colour + (1 - share) * 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_goes_over_white(kind: str) -> None:
    photo = read(encoded(Image.fromarray(np.dstack([RGB, ALPHA])), kind))
    assert np.abs(photo.uint8() - over_white(RGB, ALPHA)).max() <= 0.5 + 1e-3
    assert "alpha put over white" in photo.notes


def test_grey_with_alpha() -> None:
    photo = read(encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "PNG"))
    assert np.abs(photo.uint8() - over_white(np.stack([GREY] * 3, 2), ALPHA)).max() <= 0.5 + 1e-3


def test_another_background() -> None:
    hidden = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    assert (read(encoded(hidden, "PNG")).uint8() == 255).all(), "the hidden red must not appear"
    assert (read(encoded(hidden, "PNG"), background=(0, 1, 0)).uint8() == (0, 255, 0)).all()


def test_opaque_alpha_changes_nothing() -> None:
    photo = read(encoded(Image.fromarray(np.dstack([RGB, np.full_like(ALPHA, 255)])), "PNG"))
    assert np.array_equal(photo.uint8(), RGB)
    assert photo.notes == ()


def test_palette_with_and_without_transparency() -> None:
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    want = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]], np.uint8)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.array_equal(read(encoded(indexed, kind)).uint8(), want), kind
    want[:, 1] = 255
    for kind in ("PNG", "GIF"):
        photo = read(encoded(indexed, kind, transparency=1))
        assert np.array_equal(np.delete(photo.uint8(), 0, 1), want[:, 1:]), kind
        assert "alpha put over white" in photo.notes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_colour_of_a_png(dtype: type) -> None:
    top = np.iinfo(dtype).max
    values = (RGB.astype(np.uint16) * (257 if dtype is np.uint16 else 1)).astype(dtype)
    key = chunk(b"tRNS", b"".join(int(v).to_bytes(2, "big") for v in values[2, 3]))
    shown = read(png(values, key)).pixels
    want = np.where((values == values[2, 3]).all(2, keepdims=True), top, values) / top
    assert np.allclose(shown, want, atol=1e-6)


def test_cmyk() -> None:
    full = Image.new("CMYK", (3, 2), (255, 0, 0, 0))
    photo = read(encoded(full, "TIFF"))
    assert (photo.uint8() == (0, 255, 255)).all()
    assert any("CMYK" in note for note in photo.notes)
    near = read(encoded(full, "JPEG", quality=100)).uint8().astype(int)
    assert np.abs(near - (0, 255, 255)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(kind: str, value: int) -> None:
    data = encoded(Image.fromarray(RGB), kind, exif=orientation(value))
    oracle = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    photo = read(data)
    assert np.array_equal(photo.uint8(), oracle)
    assert any("upright" in note for note in photo.notes) == (value != 1)
    opened = Image.open(io.BytesIO(data))
    assert np.array_equal(read(opened).uint8(), oracle), "an image that Pillow has opened is turned as well"
    assert np.array_equal(read(ImageOps.exif_transpose(opened)).uint8(), oracle), "and not turned twice"


@pytest.mark.parametrize("value", [3, 6])
def test_orientation_behind_the_pixels_of_a_png(value: int) -> None:
    exif = chunk(b"eXIf", orientation(value).tobytes()[6:])
    data = png(RGB)
    late = data[:-12] + exif + data[-12:]
    assert np.array_equal(read(late).uint8(), np.rot90(RGB, -1 if value == 6 else 2))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_meaningless_orientation_is_ignored(value: int) -> None:
    assert np.array_equal(read(encoded(Image.fromarray(RGB), "PNG", exif=orientation(value))).uint8(), RGB)


def test_damaged_exif_leaves_the_pixels() -> None:
    data = encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0nonsense")
    photo = read(data)
    assert np.array_equal(photo.uint8(), RGB)
    assert any("EXIF" in note for note in photo.notes)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 128, 255)]
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (photo.uint8() == 0).all()
    assert "first frame of several" in photo.notes


def test_wrong_suffix_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(Image.fromarray(RGB), "BMP"))
    photo = read(path)
    assert np.array_equal(photo.uint8(), RGB)
    assert "named .png but is a BMP" in photo.notes


@pytest.mark.parametrize("name", whole())
def test_cut_anywhere_is_refused_or_loses_nothing(name: str) -> None:
    data = whole()[name]
    exact = read(data).uint8()
    refused = 0
    for end in sorted({*range(0, len(data), max(1, len(data) // 60)), len(data) - 1, len(data) - 2}):
        try:
            assert np.array_equal(read(data[:end]).uint8(), exact), f"cut at {end} of {len(data)}"
        except ImageError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("make", [bmp, gif, jpeg, tiff, webp])
def test_huge_is_refused_from_the_header(make) -> None:  # type: ignore[no-untyped-def]
    size = (16000, 5000)
    start = time.perf_counter()
    with pytest.raises(ImageError, match="decoded" if make is webp else "megapixels"):  # libwebp sees the lie itself
        read(make(size))
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 10000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("action", ["ignore", "error", "default"])
def test_bombs_do_not_depend_on_warning_filters(size: tuple[int, int], action: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with pytest.raises(ImageError, match="megapixels"):
            read(png(RGB, size=size))
    assert not seen


def test_the_limit_is_an_argument() -> None:
    data = png(RGB)
    assert read(data, limit=35).width == 7
    with pytest.raises(ImageError, match="limit=35"):
        read(data, limit=34)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not a picture"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded|truncated"),
    ],
)
def test_not_a_picture(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(data)


def test_global_settings_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for data in whole().values():
        read(data)
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


FILES = tuple(whole().values())


@settings(max_examples=400, deadline=1000)
@given(
    data=st.sampled_from(FILES),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 3000),
)
@pytest.mark.filterwarnings("ignore")
def test_only_image_errors_escape(data: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(data)
    for at, value in edits:
        damaged[at % len(damaged)] = value
    try:
        photo = read(bytes(damaged[: max(1, cut)] if cut < 1000 else damaged), limit=1_000_000)
    except ImageError:
        return
    assert photo.height * photo.width <= 1_000_000
