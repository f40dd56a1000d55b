"""From the bytes of a file, or a Pillow image, to a photo. Whatever goes wrong inside leaves as an ImageError."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pellucid.core.errors import ImageError
from pellucid.images.modes import keyed, orientation_of, samples_of, upright
from pellucid.images.photo import Photo
from pellucid.images.samples import Background, Samples, settle


@dataclass(frozen=True, slots=True)
class Format:
    """A file format that is read: its first bytes, its suffixes, and Pillow's decoder."""

    name: str
    starts: Callable[[bytes], bool]
    suffixes: tuple[str, ...]
    decoder: Callable[[io.BytesIO, str], ImageFile.ImageFile]


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


FORMATS = (
    Format("PNG", _begins(b"\x89PNG\r\n\x1a\n"), (".png", ".apng"), PngImageFile),
    Format("JPEG", _begins(b"\xff\xd8\xff"), (".jpg", ".jpeg", ".jpe", ".jfif"), JpegImageFile),
    Format("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", (".webp",), WebPImageFile),
    Format("BMP", _begins(b"BM"), (".bmp", ".dib"), BmpImageFile),
    Format("TIFF", _begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), (".tif", ".tiff"), TiffImageFile),
    Format("GIF", _begins(b"GIF87a", b"GIF89a"), (".gif",), GifImageFile),
)
SUFFIXES = frozenset(suffix for known in FORMATS for suffix in known.suffixes)
NAMES = ", ".join(known.name for known in FORMATS)


def decode(data: bytes, name: str, limit: int, background: Background) -> Photo:
    """Read the first frame of a picture file.

    data   the whole file
    limit  most pixels allowed; compared with the header before anything is decoded
    Errors: ImageError, and nothing else, for anything that cannot be read to the end.
    """
    known = _format(data, name)

    def fresh() -> ImageFile.ImageFile:
        return known.decoder(io.BytesIO(data), name)

    return _guarded(lambda: _decoded(fresh, known, name, limit, background), name)


def adopt(image: Image.Image, name: str, limit: int, background: Background) -> Photo:
    """Read a Pillow image as it is: its first or current frame, turned upright if it still carries EXIF."""
    return _guarded(lambda: _settled(image, lambda: None, name, limit, background, ()), name)


def _guarded(make: Callable[[], Photo], name: str) -> Photo:
    try:
        return make()
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        said = str(error) or type(error).__name__
        truncated = isinstance(error, EOFError) or "truncated" in said.lower()
        what = "is truncated" if truncated else "cannot be decoded"
        raise ImageError(f"{name} {what} ({said}).", "a complete picture.", "fetch it or export it again.") from error


def _format(data: bytes, name: str) -> Format:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes).", "a picture.", "fetch or export the file again.")
    for known in FORMATS:
        if known.starts(data[:16]):
            return known
    raise ImageError(f"{name} is {_guess(data)}.", f"{NAMES}.", "convert it to PNG, which loses nothing.")


def _guess(data: bytes) -> str:
    head = data[:512].lstrip().lower()
    for magic, words in (
        (b"%pdf", "a PDF document"),
        (b"<svg", "an SVG drawing, which has no pixels"),
        (b"<!doctype", "a web page, perhaps an error page of a download"),
        (b"<html", "a web page, perhaps an error page of a download"),
        (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
        (b"simple  =", "a FITS file"),
        (b"\x93numpy", "a NumPy file; pass numpy.load(...) instead"),
    ):
        if head.startswith(magic):
            return words
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand:
        return f"a container of kind {brand.decode('ascii', 'replace')!r}, perhaps HEIC, AVIF or a film"
    return f"not a picture (it begins with {data[:8]!r})"


def _decoded(
    fresh: Callable[[], ImageFile.ImageFile], known: Format, name: str, limit: int, background: Background
) -> Photo:
    image = fresh()
    suffix = PurePath(name).suffix.lower()
    wrong = suffix in SUFFIXES and suffix not in known.suffixes
    notes = ((f"named {suffix} but is a {known.name}",) if wrong else ()) + _file_notes(image)
    return _settled(image, lambda: _sixteen_bit(fresh, image), name, limit, background, notes)


def _file_notes(image: ImageFile.ImageFile) -> tuple[str, ...]:
    frames = ("first frame of several",) if getattr(image, "is_animated", False) else ()
    profile: Any = image.info.get("icc_profile") or b"sRGB"
    colours = () if b"sRGB" in profile else ("colour profile not applied; values are taken as sRGB",)
    lax = ("Pillow is set to accept truncated files here; missing parts would not be noticed",)
    return frames + colours + (lax if ImageFile.LOAD_TRUNCATED_IMAGES else ())


def _settled(
    image: Image.Image,
    deep: Callable[[], Samples | None],
    name: str,
    limit: int,
    background: Background,
    notes: tuple[str, ...],
) -> Photo:
    check_size(image.width, image.height, name, limit)
    turn, by_loader, turned = _load(image)
    fine = deep()
    samples, colours = samples_of(image, name) if fine is None else (fine, ())
    stored, rest = settle(samples if by_loader else upright(samples, turn), name, background)
    return Photo(stored, name, notes + turned + colours + rest)


def _load(image: Image.Image) -> tuple[int, bool, tuple[str, ...]]:
    """Decode; say the EXIF orientation, whether the decoder itself has undone it (TIFF does), and a note on it."""
    if image.format == "TIFF":
        turn, note = _orientation(image)
        image.load()
        return turn, _orientation(image)[0] != turn, note
    image.load()  # before the EXIF data is read, because a PNG may carry it behind the pixels
    turn, note = _orientation(image)
    return turn, False, note


def _orientation(image: Image.Image) -> tuple[int, tuple[str, ...]]:
    try:
        turn = orientation_of(image)
    except Exception as error:  # noqa: BLE001 - any damage here leaves the pixels good, and is noted
        return 1, (f"EXIF data is damaged, orientation unknown ({error})",)
    return turn, ((f"turned upright (EXIF orientation {turn})",) if turn != 1 else ())


def check_size(width: int, height: int, name: str, limit: int) -> None:
    """Refuse a picture of no pixels, or of more than the limit."""
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width} x {height} pixels.", "at least one pixel.")
    if width * height > limit:
        raise ImageError(
            f"{name} says that it is {width} x {height} pixels ({width * height / 1e6:.1f} megapixels).",
            f"at most {limit / 1e6:g} megapixels, so that one file cannot fill the memory.",
            f"scale it down, or allow it with limit={width * height}.",
        )


_SWAP = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


def _sixteen_bit(fresh: Callable[[], ImageFile.ImageFile], image: Image.Image) -> Samples | None:
    """[height, width, 2..4] uint16 of a picture whose 16 bit samples Pillow would cut to 8, else None.

    Pillow keeps only the high byte of each such sample. Reading the file a second time with the byte order reversed
    gives the other one: v = 256 high + low. Grey with alpha is read as four channels of one byte instead.
    """
    again = fresh()
    bands, _, depth = _raw(again.tile[0][3] if again.tile else "").partition(";")
    if depth not in _SWAP or bands not in ("RGB", "RGBA", "LA"):
        return None
    raw = f"{bands};{_SWAP[depth]}" if bands != "LA" else "RGBA"
    again.tile = [_with_raw(tile, raw) for tile in again.tile]
    again.load()
    if bands == "LA":
        return np.ascontiguousarray(again).view(">u2").astype(np.uint16)
    high, low = np.asarray(image), np.asarray(again)
    return keyed(high.astype(np.uint16) << 8 | low, image.info.get("transparency"))


def _raw(args: Any) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _with_raw(tile: Any, raw: str) -> Any:
    args = raw if isinstance(tile[3], str) else (raw, *tile[3][1:])
    return (
        tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)
    )  # a plain tuple before Pillow 11
