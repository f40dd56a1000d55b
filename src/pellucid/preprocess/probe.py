"""Finding out what somebody's own preprocessing does to pixel values, by asking it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import InputError
from pellucid.images.photo import Photo

LEVELS = (64, 128, 255)
LUMA = (0.299, 0.587, 0.114)
_ROUNDING = 0.51 / 255  # half an 8 bit level: grey conversion rounds
_PROBE = (512, 512)  # large, so that a crop without a resize does not show its padding

ToRow = Callable[[Photo], Tensor]


@dataclass(frozen=True, slots=True)
class Link:
    """row = gain · pixel + offset for each channel of the row, channels in `order`."""

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    order: Literal["rgb", "bgr"]


def adapted(function: Callable[..., Any], size: tuple[int, int] | None) -> ToRow:
    """A function from photo to row [channel, height, width], whatever kind of picture the user's function takes.

    Tried in turn: Hugging Face's `images=` convention if the object says so, a Pillow image, a numpy array.
    Errors: InputError if none of them works, or the same picture gives two different rows.
    """
    picture = _noise(size or _PROBE)
    failures: list[str] = []
    for kind, feed in _feeds(function):

        def to_row(photo: Photo, feed: Callable[[Photo], Any] = feed) -> Tensor:
            return _row(feed(photo))

        try:
            row = to_row(picture)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - anything: it is somebody else's function, and is reported below
            failures.append(f"with {kind}: {type(error).__name__}: {error}")
            continue
        _same_twice(row, to_row(picture))
        return to_row
    raise InputError(
        f"The preprocessing {function!r} fails on a photo ({'; '.join(failures)}).",
        "a function from a Pillow image or a uint8 array [height, width, 3] to a tensor [channel, height, width].",
        "wrap it: Preprocess.from_callable(lambda image: ...).",
    )


def measured(to_row: ToRow, size: tuple[int, int] | None) -> tuple[int, Link | None]:
    """Channels of the row and, if each of them is an affine function of one colour or of luma, that function.

    Pictures of one colour are shown at the levels 0, 64, 128 and 255 of each channel and of grey, then one picture of
    two colours, which exposes preprocessing that looks at the whole picture (standardising each photo, say).
    """
    shape = size or _PROBE

    def response(colour: tuple[int, int, int]) -> NDArray[np.float64]:
        row = to_row(_flat(colour, shape)).double().numpy()
        return row[:, row.shape[1] // 2, row.shape[2] // 2]

    offset = response((0, 0, 0))
    axes = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    curves = np.array([[response((r * v, g * v, b * v)) for v in LEVELS] for r, g, b in axes]) - offset
    link = _link(curves, offset)
    if link is None or not _local(to_row, link, shape):
        return len(offset), None
    return len(offset), link


def _link(curves: NDArray[np.float64], offset: NDArray[np.float64]) -> Link | None:
    """`curves` [red, green, blue, grey; level; channel of the row], zero at black."""
    gain = curves[3, -1]
    if not np.isfinite(curves).all() or not np.isfinite(offset).all() or (gain == 0).any():
        return None
    line = curves[:, -1:, :] * (np.array(LEVELS) / 255)[None, :, None]
    mix = curves[:3, -1, :] / gain
    for order, want in _mixes(len(offset)):
        if (np.abs(mix - want) <= 2 * _ROUNDING).all() and (np.abs(curves - line) <= 2 * _ROUNDING * abs(gain)).all():
            return Link(tuple(gain.tolist()), tuple(offset.tolist()), order)
    return None


def _mixes(channels: int) -> list[tuple[Literal["rgb", "bgr"], NDArray[np.float64]]]:
    if channels == 3:
        return [("rgb", np.eye(3)), ("bgr", np.eye(3)[::-1])]
    return [("rgb", np.array(LUMA)[:, None])] if channels == 1 else []


def _local(to_row: ToRow, link: Link, shape: tuple[int, int]) -> bool:
    left, right = 40, 200
    pixels = np.full((*shape, 3), left, np.uint8)
    pixels[:, shape[1] // 2 :] = right
    row = to_row(Photo(pixels)).double().numpy()
    gain, offset = np.array(link.gain), np.array(link.offset)
    for where, level in ((1, left), (3, right)):
        seen = row[:, row.shape[1] // 2, where * row.shape[2] // 4]
        if (np.abs(seen - (gain * level / 255 + offset)) > 2 * _ROUNDING * np.abs(gain)).any():
            return False
    return True


def _feeds(function: Callable[..., Any]) -> list[tuple[str, Callable[[Photo], Any]]]:
    if "pixel_values" in (getattr(function, "model_input_names", None) or ()):
        return [("images=", lambda photo: function(images=photo.image(), return_tensors="pt"))]
    return [
        ("a Pillow image", lambda photo: function(photo.image())),
        ("a numpy array", lambda photo: function(photo.uint8())),
    ]


def _row(answer: Any) -> Tensor:
    value = answer["pixel_values"] if isinstance(answer, Mapping) and "pixel_values" in answer else answer
    value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    tensor = torch.as_tensor(np.array(value)) if isinstance(value, np.ndarray) else value
    if not isinstance(tensor, Tensor):
        raise InputError(
            f"The preprocessing returns {type(answer).__name__}.",
            "a tensor or array [channel, height, width], or a mapping with 'pixel_values'.",
            "add the step that makes a tensor, for example torchvision.transforms.v2.ToImage and ToDtype(scale=True).",
        )
    row = tensor.detach().cpu()
    row = row[0] if row.ndim == 4 and row.shape[0] == 1 else row
    if row.ndim != 3 or row.shape[0] not in (1, 3) or not row.dtype.is_floating_point:
        raise InputError(
            f"The preprocessing returns shape {tuple(row.shape)} of {row.dtype}.",
            "floats [channel, height, width] with 1 or 3 channels.",
            "permute the channels to the front, and convert to float, inside the function.",
        )
    return row


def _same_twice(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or not torch.equal(first, second):
        raise InputError(
            "The preprocessing gives two different rows for the same photo.",
            "a deterministic function.",
            "pass the evaluation transform, without random crops, flips or colour changes.",
        )


def _flat(colour: tuple[int, int, int], shape: tuple[int, int]) -> Photo:
    return Photo(np.broadcast_to(np.array(colour, np.uint8), (*shape, 3)).copy())


def _noise(shape: tuple[int, int]) -> Photo:
    return Photo(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
