"""From an explanation to pictures, one per row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.core.errors import InputError
from pellucid.core.explanation import CHANNEL, HEIGHT, TOKEN, WIDTH, Explanation, Kind
from pellucid.core.players import FEATURE
from pellucid.views.heat import Clip, Colour, Overlay, Reduce, Resize, Revealed, Scale
from pellucid.views.look import Look, look_for
from pellucid.views.palette import palette
from pellucid.views.picture import Picture
from pellucid.views.words import describe, number

Ends = tuple[float, float]
_ROUNDING = 1e-6
"""A map whose values differ by less than this part of their magnitude is flat: float32 rounding, not structure."""


def draw(
    explanation: Explanation,
    look: Look | str | None = None,
    *,
    scale: float | Ends | None = None,
    size: tuple[int, int] | None = None,
) -> list[Picture]:
    """Pictures of an explanation, one per row. The explanation stays as it is.

    look   how to draw, or the name of a preset; None chooses by kind and by whether both signs occur in the row.
    scale  what the ends of the palette mean: a pair, or the largest magnitude; None takes it from each row.
           `shared_scale` gives one for several explanations.
    size   height and width of the pictures; None takes those of the explained picture, else of the map.
    Raises InputError where the values have no height and width, ParameterError for an unknown look.
    """
    return [_draw_row(row, look, scale, size) for row in explanation]


def shared_scale(explanations: Iterable[Explanation], look: Look | str | None = None) -> Ends:
    """One scale that suits all rows of all explanations: the widest of their own scales."""
    own = [
        ends_of(reduced, chosen)
        for e in explanations
        for row in e
        for chosen in [look_of(row, look)]
        for reduced in [Reduce(chosen.reduce)(plane(row))]
        if bool(reduced.isfinite().all())
    ]
    if not own:
        return (0.0, 1.0)
    return min(low for low, _ in own), max(high for _, high in own)


def look_of(row: Explanation, look: Look | str | None = None) -> Look:
    """The look that a row is drawn with: the one given, the preset of that name, its own, or the one for its kind.

    Behind letters and bars nothing is light: palettes that begin dark are turned around.
    """
    look = look or row.look
    if isinstance(look, Look):
        return look
    chosen = look_for(look) if look else _own(row)
    if (TOKEN not in row.dims and FEATURE not in row.dims) or look:
        return chosen
    dark = chosen.scale == "zero" and not chosen.palette.endswith("_r")
    return replace(chosen, overlay=0.0, clip=100.0, palette=f"{chosen.palette}_r" if dark else chosen.palette)


def _own(row: Explanation) -> Look:
    """The look of a row's kind; numbers of regions lie over the picture, if it is there, for they have no shape."""
    chosen = look_for(row.kind, signed=bool((row.values < 0).any()))
    if "regions" not in row.extras or HEIGHT not in row.dims or row.inputs.picture is None:
        return chosen
    if row.kind is Kind.CONTRIBUTION:
        return look_for("regions")
    return replace(chosen, overlay=0.8, clip=100.0) if row.kind is Kind.SPREAD else chosen


def plane(row: Explanation) -> Tensor:
    """float64 [channel, height, width]: the numbers of a single row, its channel axis being 1 if there is none.

    Tokens and columns are a single line, [channel, 1, tokens], without padding.
    """
    names = row.dims[1:]
    if TOKEN in names and not set(names) - {CHANNEL, TOKEN}:
        line = row.values[0].detach().to("cpu", torch.float64)
        line = line.movedim(names.index(TOKEN), -1) if CHANNEL in names else line[None]
        return line[:, None, : len(row.inputs.tokens[0]) if row.inputs.tokens else None]
    if names == (FEATURE,):
        return row.values.detach().to("cpu", torch.float64)[None]
    if HEIGHT not in names or WIDTH not in names or set(names) - {CHANNEL, HEIGHT, WIDTH}:
        raise InputError(
            f"an explanation with the axes {', '.join(row.dims)} is no map", "axes height and width, perhaps channel"
        )
    order = [names.index(axis) for axis in (CHANNEL, HEIGHT, WIDTH) if axis in names]
    x = row.values[0].detach().to("cpu", torch.float64).permute(order)
    return x if x.ndim == 3 else x[None]


def ends_of(x: Tensor, look: Look) -> Ends:
    """What the two ends of the palette mean for the reduced map x, after clipping."""
    clipped = Clip(look.clip)(x)
    low, high = float(clipped.min()), float(clipped.max())
    if look.scale == "centred":
        high = max(abs(low), abs(high))
        return -high, high
    return (min(low, high), high) if look.scale == "extrema" else (0.0, max(high, 0.0))


def flatness(x: Tensor) -> str:
    """Why a map has nothing to show, or an empty string."""
    bad = int((~x.isfinite()).sum())
    if bad:
        return f"not finite: {bad} of {x.numel()} values are NaN or infinite"
    low, high = float(x.min()), float(x.max())
    if low == high:
        return f"flat: all values {number(low)}"
    if high - low <= _ROUNDING * max(abs(low), abs(high)):
        return f"flat: all values {number(low)}, up to rounding"
    return ""


@dataclass(frozen=True, slots=True)
class _Map:
    """A map on its way to colours: its place on the palette at every pixel, and what is to be said about it."""

    unit: Tensor
    ends: Ends
    note: str


def _draw_row(
    row: Explanation, look: Look | str | None, scale: float | Ends | None, size: tuple[int, int] | None
) -> Picture:
    chosen = look_of(row, look)
    colours = palette(chosen.palette)
    reduced = Reduce(chosen.reduce)(plane(row))
    found = _placed(reduced, chosen, scale)
    unit = Resize(size or _size_of(row, reduced), chosen.resize)(found.unit)
    rgb = Colour(chosen.palette)(unit)
    alone = bool(chosen.overlay) and row.inputs.picture is None
    if chosen.overlay and row.inputs.picture is not None:
        rgb = _over(_resized(row.inputs.picture[0], unit.shape), rgb, unit, chosen)
    parts = (found.note, colours.remark, "no picture to lie over" if alone else "")
    note = "; ".join(part for part in parts if part)
    return Picture(rgb=rgb, scale=found.ends, palette=colours, note=note, alt=describe(row))


def _over(photo: Tensor, rgb: Tensor, unit: Tensor, look: Look) -> Tensor:
    if look.underlay == "revealed":
        return Revealed(photo, look.overlay)(unit)
    strength = (2 * unit - 1).abs() if look.scale == "centred" else unit
    return Overlay(photo, look.overlay, look.underlay)(rgb, strength)


def _placed(x: Tensor, look: Look, scale: float | Ends | None) -> _Map:
    """Numbers to 0..1. A flat map without a given scale gets the colour of nothing: there is nothing to stretch."""
    flat = flatness(x)
    middle = 0.5 if look.scale == "centred" else 0.0
    if flat.startswith("not finite"):
        return _Map(torch.full_like(x, middle), _given(scale, look) or (0.0, 0.0), flat)
    ends = _given(scale, look) or ends_of(x, look)
    if flat and (scale is None or ends[0] == ends[1]):
        only = float(x.flatten()[0])
        return _Map(torch.full_like(x, middle), (only, only), flat)
    if ends[0] >= ends[1]:
        return _Map(torch.full_like(x, middle), ends, _all_below(x))
    return _Map(Scale(*ends)(x), ends, flat or _clipped(x, ends, look, scale is not None))


def _given(scale: float | Ends | None, look: Look) -> Ends | None:
    if scale is None or isinstance(scale, tuple):
        return scale
    return (-abs(scale), abs(scale)) if look.scale == "centred" else (0.0, abs(scale))


def _all_below(x: Tensor) -> str:
    return f"all values are at or below 0 (down to {number(float(x.min()))}) and drawn as 0"


def _clipped(x: Tensor, ends: Ends, look: Look, given: bool) -> str:
    """What the palette's ends leave out."""
    low, high = float(x.min()), float(x.max())
    largest = max(abs(low), abs(high))
    if low < ends[0] == 0.0:
        return f"values below 0 (down to {number(low)}) are drawn as 0"
    if low < ends[0] or high > ends[1]:
        where = "at the given scale" if given else f"at the {number(look.clip)}th percentile"
        return f"clipped {where}, the largest magnitude is {number(largest)}"
    return ""


def _size_of(row: Explanation, x: Tensor) -> tuple[int, int]:
    if row.inputs.picture is not None:
        return row.inputs.picture.shape[1], row.inputs.picture.shape[2]
    return x.shape[-2], x.shape[-1]


def _resized(picture: Tensor, size: torch.Size) -> Tensor:
    """A photo uint8 [height, width, 3] on another grid."""
    planes = picture.cpu().double().movedim(-1, 0)
    return Resize((size[0], size[1]))(planes).round().clamp(0, 255).to(torch.uint8).movedim(0, -1)
