"""A drawn picture: colours, what they mean in numbers, and words for those who do not see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from pellucid.views.palette import Palette
from pellucid.views.write import write_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One drawn map.

    rgb      uint8 [height, width, 3].
    scale    what the two ends of the palette mean, in the unit of the explanation's numbers.
    palette  the colours used.
    note     what a reader must know: flat, clipped, not finite; empty if there is nothing.
    alt      a sentence that says what is to be seen.
    """

    rgb: Tensor = field(repr=False, compare=False)
    scale: tuple[float, float]
    palette: Palette
    note: str = ""
    alt: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def image(self) -> Image.Image:
        """The same as a Pillow image."""
        return Image.fromarray(self.rgb.numpy())

    def png(self) -> bytes:
        """A PNG file with the alt text in its description."""
        return png_bytes(self.image(), self.alt)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a PNG file. Raises FileExists if there is one and `overwrite` is False."""
        return write_bytes(Path(path), self.png(), overwrite)

    def _repr_png_(self) -> bytes:
        return self.png()


def png_bytes(image: Image.Image, description: str = "", density: float = 1.0) -> bytes:
    """The bytes of a PNG file.

    description  alt text, kept in the file.
    density      pixels per logical pixel (96 to the inch), kept in the file so that it is shown at its logical size.
    """
    words = PngInfo()
    if description:
        words.add_itxt("Description", description)
    out = BytesIO()
    image.save(out, "PNG", pnginfo=words, dpi=(96 * density, 96 * density), compress_level=6)
    return out.getvalue()
