"""Pillow's modes, each to samples by one rule; nothing is guessed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pellucid.core.errors import ImageError
from pellucid.images.samples import Samples

_CONVERT: dict[str, tuple[str, str]] = {
    "1": ("L", "1 bit scaled to black and white"),
    "L": ("L", ""),
    "LA": ("LA", ""),
    "La": ("LA", ""),
    "RGB": ("RGB", ""),
    "RGBX": ("RGB", ""),
    "RGBA": ("RGBA", ""),
    "RGBa": ("RGBA", ""),
    "P": ("RGB", "palette expanded"),
    "PA": ("RGBA", "palette expanded"),
    "CMYK": ("RGB", "CMYK converted to RGB without a colour profile"),
    "YCbCr": ("RGB", "YCbCr converted to RGB"),
    "HSV": ("RGB", "HSV converted to RGB"),
}
_SIXTEEN = {"I;16": "=u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}
ORIENTATION = 0x0112


def samples_of(image: Image.Image, name: str) -> tuple[Samples, tuple[str, ...]]:
    """[height, width, channel] of a loaded Pillow image, and what was decided.

    Errors: ImageError for a mode whose meaning is not known (LAB, BGR;15, ...) or 32 bit values out of range.
    """
    if image.mode in _SIXTEEN:
        return keyed(np.asarray(image, np.uint16)[..., None], image.info.get("transparency")), ()
    if image.mode == "I":
        return _from_32_bit(np.asarray(image), name), ()
    if image.mode == "F":
        return np.asarray(image)[..., None], ()
    if image.mode not in _CONVERT:
        raise ImageError(
            f"{name} has the Pillow mode {image.mode!r}.",
            f"one of {', '.join([*_CONVERT, *_SIXTEEN, 'I', 'F'])}.",
            "convert it yourself with image.convert('RGB') if that means what you want.",
        )
    mode, note = _CONVERT[image.mode]
    target = "RGBA" if image.has_transparency_data and mode not in ("LA", "RGBA") else mode
    array = np.asarray(image if image.mode == target else image.convert(target))
    return (array if array.ndim == 3 else array[..., None]), ((note,) if note else ())


def keyed(samples: Samples, key: object) -> Samples:
    """Add alpha 0 where a sample equals the transparent colour of a PNG's tRNS chunk."""
    if key is None:
        return samples
    shown = (samples != np.asarray(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([samples, shown * np.uint16(65535)], axis=2, dtype=np.uint16)


def _from_32_bit(values: Samples, name: str) -> Samples:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name} holds 32 bit integers from {low} to {high}.",
            "0..65535, the range of 16 bit pictures.",
            "scale it to floats in [0, 1] by a range that you know, and pass the array.",
        )
    return values.astype(np.uint16)[..., None]


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 where none is given. A damaged EXIF block raises what Pillow raises."""
    value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def upright(samples: Samples, orientation: int) -> Samples:
    """Undo the camera's rotation and mirroring (EXIF 2.32, tag 0x0112)."""
    match orientation:
        case 2:
            return samples[:, ::-1]
        case 3:
            return samples[::-1, ::-1]
        case 4:
            return samples[::-1]
        case 5:
            return samples.swapaxes(0, 1)
        case 6:
            return np.rot90(samples, -1)
        case 7:
            return samples[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(samples, 1)
        case _:
            return samples
