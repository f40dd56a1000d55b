"""A picture as pellucid keeps it: sRGB, upright, opaque, three channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid.core.errors import ImageError

Stored = NDArray[np.uint8 | np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One picture, read and settled.

    stored  [height, width, 3] sRGB: uint8 if the source had 8 bits or fewer, else float32 in [0, 1]; read-only,
            because several explanations share it
    name    the file's name, or "image 3" for the third picture without one
    notes   what was decided on the way, in plain words: "turned upright (EXIF orientation 6)"
    """

    stored: Stored
    name: str = "image"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that `read` would never make, and lock the pixels."""
        shape, dtype = self.stored.shape, self.stored.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype not in (np.dtype(np.uint8), np.dtype(np.float32)):
            raise ImageError(
                f"A photo of shape {shape} and type {dtype}.",
                "[height, width, 3], uint8 or float32.",
                "make photos with pellucid.images.read(...), which accepts every common layout.",
            )
        self.stored.setflags(write=False)

    @property
    def height(self) -> int:
        """Number of pixel rows."""
        return int(self.stored.shape[0])

    @property
    def width(self) -> int:
        """Number of pixel columns."""
        return int(self.stored.shape[1])

    @property
    def pixels(self) -> NDArray[np.float32]:
        """[height, width, 3] float32 in [0, 1], at the precision of the source."""
        if self.stored.dtype == np.uint8:
            return np.divide(self.stored, 255, dtype=np.float32)
        return self.stored.astype(np.float32, copy=False)

    def uint8(self) -> NDArray[np.uint8]:
        """[height, width, 3] in 0..255, rounded to the nearest level; exact for 8 bit sources."""
        if self.stored.dtype == np.uint8:
            return self.stored.astype(np.uint8, copy=False)
        return np.rint(self.stored * np.float32(255)).astype(np.uint8)

    def image(self) -> Image.Image:
        """The same picture for Pillow, mode RGB, 8 bit."""
        return Image.fromarray(self.uint8())

    def __repr__(self) -> str:
        """Name and size, not a million numbers."""
        return f"Photo({self.name!r}, {self.width}x{self.height}, {self.stored.dtype}, notes={list(self.notes)})"
