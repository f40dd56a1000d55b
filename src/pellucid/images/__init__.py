"""The front door for pictures: files, folders, bytes, Pillow images and arrays become photos, or an ImageError.

Every decision on the way (turned upright, alpha put over white, 16 bit scaled, ...) is a note on the photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pellucid.core.errors import ImageError, nearest
from pellucid.images.decode import NAMES, SUFFIXES, adopt, check_size, decode
from pellucid.images.photo import Photo
from pellucid.images.samples import WHITE, Background, settle

__all__ = ["LIMIT", "SUFFIXES", "WHITE", "Photo", "Source", "count", "read", "read_each", "read_many"]

Source = str | Path | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | torch.Tensor | Photo
"""One picture. A tensor must be uint8 [height, width, channel]: float tensors are model rows, not pictures."""

LIMIT = 64_000_000
"""Most pixels of one picture: 64 megapixels, 192 MB once decoded."""

_CHANNELS = (1, 3, 4)


def read(source: Source, *, limit: int = LIMIT, background: Background = WHITE, name: str | None = None) -> Photo:
    """Read one picture, upright and opaque, in three channels.

    source      a path, the bytes of a file, a Pillow image, an array [height, width] or [height, width, 1 | 3 | 4]
                (bool, uint8, uint16, or floats in [0, 1]), or a photo, which is returned as it is
    limit       most pixels; compared with the file's header before anything is decoded
    background  sRGB in [0, 1], shown through transparent pixels; white, because pages are
    name        what to call it; the file's name if None
    Errors: ImageError for anything that is not a whole picture.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | Path):
        path = _path(source)
        return decode(_bytes_of(path, limit), name or path.name, limit, background)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(bytes(source), name or "image", limit, background)
    if isinstance(source, Image.Image):
        own = Path(str(getattr(source, "filename", "") or "")).name
        return adopt(source, name or own or "image", limit, background)
    if isinstance(source, torch.Tensor):
        source = _pixels_of(source, name or "image")
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "image", limit, background)
    raise ImageError(
        f"{name or 'image'} is of type {type(source).__name__}.",
        "a path, bytes, a Pillow image or a numpy array.",
        "convert it first; for several pictures use read_many.",
    )


def read_many(sources: Source | Iterable[Source], *, limit: int = LIMIT, background: Background = WHITE) -> list[Photo]:
    """Read all pictures of a path, a folder, a list or an array [picture, height, width, channel]; see `read`.

    A folder gives its picture files sorted by name, without its subfolders and hidden files.
    Errors: ImageError for the first picture that cannot be read, and for a folder without pictures.
    """
    return list(read_each(sources, limit=limit, background=background))


def read_each(
    sources: Source | Iterable[Source], *, limit: int = LIMIT, background: Background = WHITE
) -> Iterator[Photo]:
    """Like `read_many`, one photo at a time, so that any number of files fits into memory.

    The iterator survives a damaged file: `next` raises its ImageError, and the following `next` gives the next photo.
    """

    def one(item: tuple[Source, str | None]) -> Photo:
        return read(item[0], limit=limit, background=background, name=item[1])

    return map(one, _items(sources))  # not a generator, which would end at its first exception


def count(sources: Source | Iterable[Source]) -> int | None:
    """How many pictures `read_each` would read, without reading any; None for what goes through its items to tell."""
    ready = (str, bytes, bytearray, memoryview, list, tuple, np.ndarray, torch.Tensor)
    return sum(1 for _ in _flat(sources)) if isinstance(sources, ready) or not isinstance(sources, Iterable) else None


def _items(sources: Source | Iterable[Source]) -> Iterator[tuple[Source, str | None]]:
    """Each picture and, if it has no name of its own, a number to call it by."""
    for number, source in enumerate(_flat(sources), start=1):
        named = isinstance(source, str | Path | Photo) or bool(getattr(source, "filename", ""))
        yield source, None if named else f"image {number}"


def _flat(sources: Any) -> Iterator[Any]:
    if isinstance(sources, np.ndarray | torch.Tensor):
        yield from sources if sources.ndim == 4 else (sources,)
    elif isinstance(sources, str | Path | bytes | bytearray | memoryview | Image.Image | Photo):
        yield from _files(sources)
    elif isinstance(sources, Iterable):
        for source in sources:
            yield from _files(source)
    else:
        yield sources


def _files(source: Any) -> Iterable[Any]:
    """The picture files of a folder; anything else, and a folder without pictures, is left for `read` to judge."""
    return (isinstance(source, str | Path) and _pictures_in(source)) or (source,)


def _pictures_in(source: str | Path) -> list[Path]:
    try:
        inside = list(_path(source).iterdir())
    except (ImageError, OSError):
        return []
    return sorted(path for path in inside if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _path(source: str | Path) -> Path:
    text = str(source)
    if "://" in text[:12]:
        raise ImageError(f"{text[:80]!r} is an address.", "a file.", "download it first; nothing here uses a network.")
    if "\0" in text or not text:
        raise ImageError(f"{text[:80]!r} is not a path.", "the path of a picture file.")
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise ImageError(f"{text[:80]!r} names no home folder.", "the path of a picture file.") from error


def _bytes_of(path: Path, limit: int) -> bytes:
    most = 8 * limit + 2**24  # 16 bit RGBA, uncompressed, and its metadata
    try:
        if path.is_file():
            if path.stat().st_size <= most:
                return path.read_bytes()
            got = f"{path.name} is {path.stat().st_size / 1e6:.0f} MB."
            raise ImageError(got, f"at most {most / 1e6:.0f} MB.", "scale it down, or raise limit=.")
        kind = "a folder" if path.is_dir() else "not a file" if path.exists() else ""
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be read ({error}).", "a readable file.") from error
    if kind == "a folder" and not _pictures_in(path):
        do = "name the folder that holds them; subfolders are not searched."
        raise ImageError(f"The folder {str(path)!r} has no pictures.", f"files of the formats {NAMES}.", do)
    if kind:
        raise ImageError(f"{str(path)!r} is {kind}.", "one picture file.", "use read_many for a folder.")
    alike = [name for name in _names_beside(path) if nearest(path.stem, [Path(name).stem])]  # all end in .png
    near = nearest(path.name, alike)
    raise ImageError(f"There is no file {str(path)!r}.", "", f"did you mean {near}?" if near else "check the path.")


def _names_beside(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir()]
    except OSError:
        return []


def _pixels_of(tensor: torch.Tensor, name: str) -> NDArray[Any]:
    if tensor.dtype == torch.uint8:
        return tensor.detach().cpu().numpy()
    raise ImageError(
        f"{name} is a tensor of type {tensor.dtype}.",
        "a picture; only uint8 tensors [height, width, channel] are taken as one.",
        "pass preprocessed tensors as model rows, or pictures as files, Pillow images or numpy arrays.",
    )


def _from_array(array: NDArray[Any], name: str, limit: int, background: Background) -> Photo:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise ImageError(
            f"{name} is an array of shape {array.shape}.",
            "[height, width] or [height, width, 1 | 3 | 4].",
            _layout_advice(array),
        )
    check_size(array.shape[1], array.shape[0], name, limit)
    stored, notes = settle(array if array.ndim == 3 else array[..., None], name, background)
    return Photo(stored, name, notes)


def _layout_advice(array: NDArray[Any]) -> str:
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        return "the channels seem to come first: pass numpy.moveaxis(array, 0, -1)."
    if array.ndim == 4:
        return "this is a batch: use read_many, with the channels last."
    return "select three channels, or reshape."
