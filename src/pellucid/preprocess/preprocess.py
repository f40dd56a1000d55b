"""The declared way from photo to row: resize, crop, scale, normalise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import ImageError, InputError
from pellucid.images.photo import Photo
from pellucid.preprocess.geometry import INTERPOLATIONS, Planes, Size, centre_cropped, planes, resized, target_size
from pellucid.preprocess.probe import LUMA, ToRow, adapted, measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """row = scale · (pixel - mean) / std, after resize and centre crop; pixels are sRGB in [0, 1].

    resize         pixels of the shorter side, or (height, width) exactly; None leaves the size
    crop           side, or (height, width), of the centre crop, smaller pictures padded with black; None for no crop
    interpolation  one of `INTERPOLATIONS`, all with antialiasing except "nearest"
    mean, std      one number, or one for each channel of the row, in pixel units
    scale          1 for models that take [0, 1] or normalised pixels, 255 for models that take 0..255
    channels       3, or 1 for grey models, which see luma
    order          "bgr" for models trained with OpenCV or Caffe; mean and std follow the row's order
    call           somebody's own function instead of resize, crop and normalisation; see `from_callable`
    linked         whether rows are an affine function of pixels; False only for a `call` where they are not
    """

    resize: int | Size | None = None
    crop: int | Size | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    channels: Literal[1, 3] = 3
    order: Literal["rgb", "bgr"] = "rgb"
    call: ToRow | None = None
    linked: bool = True

    def __post_init__(self) -> None:
        """Take lists and single numbers too, and refuse what cannot be meant, before any photo is read."""
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))
        pairs = [_pair(given) for given in (self.resize, self.crop) if given is not None]
        whole = all(len(pair) == 2 and all(isinstance(side, int) and side > 0 for side in pair) for pair in pairs)
        _check(whole, f"resize={self.resize}, crop={self.crop}", "pixels, > 0: one side or (height, width)")
        _check(self.interpolation in INTERPOLATIONS, f"interpolation={self.interpolation!r}", f"{list(INTERPOLATIONS)}")
        _check(self.channels in (1, 3), f"channels={self.channels}", "3 (colour) or 1 (luma)")
        _check(self.order in ("rgb", "bgr"), f"order={self.order!r}", "'rgb' or 'bgr'")
        fits = {len(self.mean), len(self.std)} <= {1, self.channels}
        _check(fits, f"mean={self.mean}, std={self.std}", f"1 or {self.channels} numbers")
        finite = bool(np.isfinite([*self.mean, *self.std, self.scale]).all())
        _check(finite and 0 not in (*self.std, self.scale), f"std={self.std}, scale={self.scale}", "finite, not zero")

    @classmethod
    def identity(cls) -> Preprocess:
        """Rows are pixels: for models that are fed with tensors, or that resize and normalise themselves."""
        return cls()

    @classmethod
    def from_callable(cls, function: Callable[..., Any], size: Size | None = None) -> Preprocess:
        """Wrap a torchvision or timm transform, a Hugging Face image processor, or any function of your own.

        function  takes a Pillow image or a uint8 array [height, width, 3], gives floats [channel, height, width]
        size      of the pictures it is tried with, if it accepts only one size
        Its effect on pixel values is found by showing it pictures of one colour. If that is not affine, the result
        still makes rows, but `affine` is None and what is given in pixel units is refused.
        Errors: InputError if it fails on a photo, is random, or returns something else.
        """
        to_row = adapted(function, size)
        channels, link = measured(to_row, size)
        known: Literal[1, 3] = 1 if channels == 1 else 3
        if link is None:
            return cls(call=to_row, channels=known, linked=False)
        mean = tuple(-offset / gain for gain, offset in zip(link.gain, link.offset, strict=True))
        std = tuple(1 / gain for gain in link.gain)
        return cls(call=to_row, channels=known, mean=mean, std=std, order=link.order)

    @property
    def size(self) -> Size | None:
        """(height, width) of every row, where it does not depend on the photo."""
        if self.crop is not None:
            return _pair(self.crop)
        return self.resize if isinstance(self.resize, tuple) else None

    @property
    def is_identity(self) -> bool:
        """Whether rows are pixels as they are, of any shape: nothing to resize, to scale, or to reorder."""
        return (
            self.call is None
            and self.resize is self.crop is None
            and self.scale == 1
            and self.order == "rgb"
            and self.channels == 3
            and self.mean == (0.0,)
            and self.std == (1.0,)
        )

    @property
    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """(gain, offset) of row = gain · pixel + offset, one number or one for each channel; None if not affine."""
        if not self.linked:
            return None
        gain = tuple(self.scale / std for std in self.std)
        return gain, tuple(np.multiply(gain, np.negative(self.mean)).tolist())

    def rows(self, photos: Sequence[Photo], dtype: torch.dtype = torch.float32) -> Tensor:
        """[batch, channel, height, width], what the model is fed with.

        photos  of any sizes if the preprocessing ends in one size, else all of one size
        dtype   of the rows; half precisions are computed in float32 and rounded once
        Errors: ImageError for no photos, or for rows of different sizes.
        """
        if not photos:
            raise ImageError("No photos.", "at least one.")
        exact = dtype if dtype in (torch.float32, torch.float64) else torch.float32
        made = [self._row(photo, exact) for photo in photos]
        sizes = sorted({tuple(row.shape[-2:]) for row in made})
        if len(sizes) > 1:
            raise ImageError(
                f"The photos give rows of different sizes (height, width): {', '.join(map(str, sizes))}.",
                "one size for a batch.",
                "give Preprocess a crop, or an exact resize=(height, width).",
            )
        return torch.stack(made).to(dtype)

    def view(self, photo: Photo) -> NDArray[np.uint8]:
        """[height, width, 3], what the model sees of a photo, in pixels; to draw on.

        Errors: InputError if rows cannot be turned into pixels (see `from_callable`).
        """
        if self.call is not None:
            return self.shown(self._row(photo, torch.float32))
        seen = self._seen(photo)
        level = seen if seen.dtype == np.uint8 else np.rint(seen * np.float32(255)).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(level, 3, axis=2) if self.channels == 1 else level).astype(np.uint8)

    def shown(self, rows: Tensor) -> NDArray[np.uint8]:
        """[..., height, width, 3], rows [..., channel, height, width] as pixels, clipped to what a screen can show."""
        pixels = self.to_pixels(rows.detach().to("cpu", torch.float32))
        level = pixels.clamp(0, 1).mul_(255).round_().to(torch.uint8)
        colour = level.expand(*level.shape[:-3], 3, *level.shape[-2:]) if level.shape[-3] == 1 else level
        return colour.movedim(-3, -1).contiguous().numpy()

    def decoded(self, rows: Tensor) -> Tensor:
        """Rows as a function takes them: they are."""
        return rows

    def to_rows(self, pixels: Tensor) -> Tensor:
        """Row units of pictures [..., channel, height, width] that already have the model's size; differentiable.

        pixels  in [0, 1], R G B; one channel stands for grey
        Errors: InputError if rows are not affine in pixels.
        """
        if self.is_identity:
            return pixels
        mean, std = self._normalisation(pixels)
        return (self._channels_of(pixels) - mean) / std * self.scale

    def to_pixels(self, rows: Tensor) -> Tensor:
        """Pixel units, R G B or grey, of rows [..., channel, height, width]: the inverse of `to_rows`; not clipped.

        Errors: InputError if rows are not affine in pixels.
        """
        if self.is_identity:
            return rows
        mean, std = self._normalisation(rows)
        pixels = rows / self.scale * std + mean
        return pixels.flip(-3) if self.order == "bgr" else pixels

    def gain(self, like: Tensor) -> Tensor:
        """[channel | 1, 1, 1], row units for one pixel unit: turns a noise level or a range in pixels into rows.

        like  rows, for device and dtype
        Errors: InputError if rows are not affine in pixels.
        """
        return self.scale / self._normalisation(like)[1]

    def describe(self) -> str:
        """One line for records and for people."""
        if self.call is not None:
            end = self._values() if self.linked else "not affine in pixels"
            return f"own function, {end}"
        steps = [
            f"resize {self.resize} {self.interpolation}" if self.resize else "",
            f"centre crop {self.crop}" if self.crop else "",
            self._values(),
        ]
        return ", ".join(step for step in steps if step)

    def _values(self) -> str:
        mean, std = ([float(f"{value:.4g}") for value in values] for values in (self.mean, self.std))
        kind = "luma" if self.channels == 1 else self.order
        return f"{kind}, scale {self.scale:g}, mean {mean}, std {std}"

    def _row(self, photo: Photo, dtype: torch.dtype) -> Tensor:
        if self.call is not None:
            return self.call(photo).to(dtype)
        seen = self._seen(photo)
        whole = 255 if seen.dtype == np.uint8 else 1
        pixels = torch.from_numpy(seen.transpose(2, 0, 1).copy()).to(dtype) / whole
        return self.to_rows(pixels)

    def _seen(self, photo: Photo) -> Planes:
        seen = planes(photo, self.channels)
        if self.resize is not None:
            size = target_size((photo.height, photo.width), self.resize)
            seen = resized(seen, size, self.interpolation)
        return seen if self.crop is None else centre_cropped(seen, _pair(self.crop))

    def _channels_of(self, pixels: Tensor) -> Tensor:
        if self.channels == 1 and pixels.shape[-3] == 3:
            return torch.einsum("...chw,c->...hw", pixels, pixels.new_tensor(LUMA)).unsqueeze(-3)
        if self.channels == 3 and pixels.shape[-3] == 1:
            return pixels.expand(*pixels.shape[:-3], 3, *pixels.shape[-2:])
        return pixels.flip(-3) if self.order == "bgr" else pixels

    def _normalisation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        if not self.linked:
            raise InputError(
                "This model's preprocessing is not an affine function of each pixel's value.",
                "something like (pixel - mean) / std, without which pixel units have no meaning in its rows.",
                "give baselines, fills and noise in row units, or a Preprocess(mean=..., std=...).",
            )
        mean, std = (like.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return mean, std


def _pair(side: int | Size) -> Size:
    return side if isinstance(side, tuple) else (side, side)


def _numbers(given: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in given) if isinstance(given, Sequence) else (float(given),)


def _check(good: bool, got: str, wanted: str) -> None:
    if not good:
        raise InputError(f"Preprocess({got}).", f"{wanted}.")
