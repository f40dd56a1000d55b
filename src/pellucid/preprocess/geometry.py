"""Resize and centre crop as the evaluation transforms of torchvision and timm do it with Pillow, to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid.images.photo import Photo

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

Size = tuple[int, int]
Planes = NDArray[np.uint8 | np.float32]
"""[height, width, channel], 8 bit levels or floats in [0, 1]."""


def planes(photo: Photo, channels: int) -> Planes:
    """The photo's samples: colour as it is, or luma by ITU-R BT.601, L = 0.299 R + 0.587 G + 0.114 B."""
    if channels == 3:
        return photo.stored
    if photo.stored.dtype == np.uint8:
        return np.asarray(photo.image().convert("L"))[..., None]
    weights = np.array([[0.299], [0.587], [0.114]], np.float32)
    return (photo.stored @ weights).astype(np.float32)


def resized(source: Planes, size: Size, interpolation: str) -> Planes:
    """[size[0], size[1], channel]; 8 bit stays 8 bit, as in the pipelines that models are trained with.

    Floats are resized without rounding; what overshoots [0, 1] is clipped, as 8 bit levels are.
    """
    if source.shape[:2] == size:
        return source
    how = INTERPOLATIONS[interpolation]
    shape = (size[1], size[0])  # Pillow counts width first
    if source.dtype == np.uint8:
        image = Image.fromarray(source if source.shape[2] == 3 else source[..., 0])
        return np.asarray(image.resize(shape, how)).reshape(*size, -1)
    each = [Image.fromarray(source[..., c]).resize(shape, how) for c in range(source.shape[2])]
    return np.clip(np.stack([np.asarray(one) for one in each], axis=2), 0, 1)


def target_size(source: Size, resize: int | Size) -> Size:
    """Both sides after a resize of the shorter side (the other rounded down, as in torchvision), or the exact size."""
    if isinstance(resize, tuple):
        return resize
    height, width = source
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def centre_cropped(source: Planes, size: Size) -> Planes:
    """The middle of a picture; one that is too small is padded with black on both sides first."""
    short = [max(0, want - have) for want, have in zip(size, source.shape[:2], strict=True)]
    padded = np.pad(source, [(n // 2, (n + 1) // 2) for n in short] + [(0, 0)]) if any(short) else source
    top, left = (round((have - want) / 2) for have, want in zip(padded.shape[:2], size, strict=True))
    return padded[top : top + size[0], left : left + size[1]]
