"""Picture files made in code: every mode, depth, orientation, and every way to be broken."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RNG = np.random.default_rng(7)
HEIGHT, WIDTH = 5, 7
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = RGB[..., 0]
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
SMOOTH = np.stack([*np.meshgrid(np.arange(0, 192, 4), np.arange(0, 128, 4)), np.full((32, 48), 90)], 2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(tag: bytes, body: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(
    samples: NDArray[np.uint16] | NDArray[np.uint8], extra: bytes = b"", size: tuple[int, int] | None = None
) -> bytes:
    """A PNG written by hand, 8 or 16 bit, optionally lying about its size."""
    height, width = samples.shape[:2]
    bands = 1 if samples.ndim == 2 else samples.shape[2]
    depth = samples.dtype.itemsize * 8
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in samples)
    shown = size or (width, height)
    header = struct.pack(">IIBBBBB", *shown, depth, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def bmp(size: tuple[int, int]) -> bytes:
    """A bitmap's header alone."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, *size, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(size: tuple[int, int]) -> bytes:
    """A GIF of one frame that fills its screen and holds no data."""
    screen = b"GIF89a" + struct.pack("<HH", *size) + b"\x80\0\0" + bytes(6)
    return screen + b"," + struct.pack("<HHHH", 0, 0, *size) + b"\0\x02\x02D\x01\0;"


def jpeg(size: tuple[int, int]) -> bytes:
    """A JPEG whose frame header is edited."""
    data = bytearray(encoded(Image.fromarray(SMOOTH), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(data)


def tiff(size: tuple[int, int]) -> bytes:
    """A TIFF whose tags ImageWidth (256) and ImageLength (257) are edited."""
    data = bytearray(encoded(Image.fromarray(GREY), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (256, 257, 278):
            struct.pack_into("<HI", data, entry + 2, 4, 1)
            struct.pack_into("<I", data, entry + 8, size[0] if tag == 256 else size[1])
    return bytes(data)


def webp(size: tuple[int, int]) -> bytes:
    """An extended WebP whose canvas is edited."""
    data = bytearray(encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    data[24:27], data[27:30] = (size[0] - 1).to_bytes(3, "little"), (size[1] - 1).to_bytes(3, "little")
    return bytes(data)


def orientation(value: int) -> Image.Exif:
    """EXIF data with an orientation alone."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def whole() -> dict[str, bytes]:
    """Small complete files of all formats."""
    smooth = Image.fromarray(SMOOTH)
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 128, 255)]
    return {
        "png": encoded(smooth, "PNG"),
        "png16": png(RGB.astype(np.uint16) * 257),
        "jpeg": encoded(smooth, "JPEG", quality=90, exif=orientation(6)),
        "progressive": encoded(smooth, "JPEG", progressive=True),
        "webp": encoded(smooth, "WEBP", lossless=True),
        "webp lossy": encoded(smooth, "WEBP"),
        "bmp": encoded(smooth, "BMP"),
        "gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "tiff": encoded(smooth, "TIFF"),
        "tiff lzw": encoded(smooth, "TIFF", compression="tiff_lzw"),
    }
