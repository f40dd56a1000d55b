"""From samples of any depth and channel count to three opaque channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import ImageError
from pellucid.images.photo import Stored

Samples = NDArray[Any]
"""[height, width, channel] with channel = grey, grey + alpha, RGB or RGBA; bool, uint8, uint16 or float."""

Background = tuple[float, float, float]
WHITE: Background = (1.0, 1.0, 1.0)

_HALF_A_STEP = 0.5 / 255


def settle(samples: Samples, name: str, background: Background = WHITE) -> tuple[Stored, tuple[str, ...]]:
    """Scale to [0, 1] or 8 bit, put alpha over the background, replicate grey; with a note for each decision.

    samples     [height, width, 1..4], see `Samples`
    name        for error messages
    background  what shines through transparent pixels, sRGB in [0, 1]; white, as on a page
    """
    scaled, depth = _scaled(samples, name)
    opaque, alpha = _opaque(scaled, background)
    grey = ("grey replicated to three channels",) if opaque.shape[2] == 1 else ()
    colour = np.repeat(opaque, 3, axis=2) if opaque.shape[2] == 1 else opaque
    return np.ascontiguousarray(colour), depth + alpha + grey


def _scaled(samples: Samples, name: str) -> tuple[Stored, tuple[str, ...]]:
    if samples.dtype == np.uint8:
        return samples.copy(), ()
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255), ("1 bit scaled to black and white",)
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:  # of either byte order
        return (samples / np.float32(65535)).astype(np.float32), ("16 bit scaled by 1/65535",)
    if np.issubdtype(samples.dtype, np.floating):
        return _checked_range(samples, name)
    raise ImageError(
        f"{name} holds numbers of type {samples.dtype}.",
        "bool, uint8 (0..255), uint16 (0..65535) or floats in [0, 1].",
        "convert first, for example array.astype(numpy.uint8) if the values are 0..255.",
    )


def _checked_range(samples: Samples, name: str) -> tuple[Stored, tuple[str, ...]]:
    bad = int(samples.size - np.isfinite(samples).sum())
    if bad:
        raise ImageError(
            f"{name} has {bad} values that are NaN or infinite, of {samples.size}.",
            "finite numbers in [0, 1].",
            "find out where they come from; replacing them would explain another picture.",
        )
    low, high = float(samples.min()), float(samples.max())
    if low < -_HALF_A_STEP or high > 1 + _HALF_A_STEP:
        raise ImageError(f"{name} has floats from {low:.4g} to {high:.4g}.", "floats in [0, 1].", _advice(low, high))
    clipped = low < 0 or high > 1
    note = (f"floats from {low:.4g} to {high:.4g} clipped to [0, 1]",) if clipped else ()
    return np.clip(samples, 0, 1).astype(np.float32), note


def _advice(low: float, high: float) -> str:
    if low < 0:
        return "if these are normalised model inputs, pass them as a torch tensor of rows, not as a picture."
    if high <= 255 + 0.5:
        return "divide by 255 if the values are 0..255, or pass uint8."
    if high <= 65535 + 0.5:
        return "divide by 65535 if the values are 16 bit, or pass uint16."
    return "scale the values to [0, 1] by a range that you know."


def _opaque(scaled: Stored, background: Background) -> tuple[Stored, tuple[str, ...]]:
    """c = α c + (1 - α) b: the `over` operator on an opaque background (Porter and Duff 1984)."""
    if scaled.shape[2] in (1, 3):
        return scaled, ()
    full = 255 if scaled.dtype == np.uint8 else 1
    colour, alpha = scaled[..., :-1], scaled[..., -1:]
    if bool((alpha == full).all()):
        return colour, ()
    note = (f"alpha put over {'white' if background == WHITE else f'the background {background}'}",)
    if colour.shape[2] == 1 and len(set(background)) > 1:
        colour = np.repeat(colour, 3, axis=2)
    shine = np.asarray(background[: colour.shape[2]], np.float32) * full
    share = alpha / np.float32(full)
    mixed = share * colour + (1 - share) * shine
    return (np.rint(mixed).astype(np.uint8) if full == 255 else mixed.astype(np.float32)), note
