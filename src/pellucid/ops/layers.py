"""What class activation maps share: one layer or several, and their maps as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import HEIGHT, WIDTH
from pellucid.ops.checks import with_places
from pellucid.ops.resize import resize

CHANNEL, PLACES = -3, (-2, -1)


def each(at: Any) -> tuple[Any, ...]:
    """The layers that `at` names: a layer, several in a tuple or list, or text with commas.

    Raises ParameterError for none.
    """
    if isinstance(at, str) and "," in at:
        at = tuple(part.strip() for part in at.split(",") if part.strip())
    layers = tuple(at) if isinstance(at, (tuple, list)) else (at,)
    if not layers:
        raise ParameterError("at=() for a class activation map", "at least one layer", "at='auto' finds the last one")
    return layers


async def slopes(q: Query, at: Any) -> list[tuple[Tensor, Tensor]]:
    """A = activation [batch, channel, height, width] and G = ∂s/∂A [target, batch, ...] of every layer, in one round.

    Raises SiteError for a layer without height and width.
    """
    layers = each(at)
    answers = await together(*(q.site(layer) for layer in layers))
    return [(with_places(act, layer), grad) for (act, grad), layer in zip(answers, layers, strict=True)]


def fused(maps: Sequence[Tensor], at: Any, relu: bool, extras: dict[str, Tensor] | None = None) -> Attribution:
    """One map [target, batch, height, width] of those of the layers `at`, as an attribution at all of them.

    A single map stays as it is. Of several, each is divided by its own largest absolute value, for the sizes of
    activations and gradients differ from layer to layer; then they are enlarged to the finest grid and averaged.
    relu: negative values are set to zero before.
    """
    layers = each(at)
    maps = [cam.relu() for cam in maps] if relu else list(maps)
    values = maps[0]
    if len(maps) > 1:
        height, width = max((cam.shape[-2:] for cam in maps), key=lambda size: size[0] * size[1])
        values = torch.stack([resize(of_one(cam), (height, width)) for cam in maps]).mean(0)
    return attribution(values, dims=(HEIGHT, WIDTH), at=layers[0] if len(layers) == 1 else layers, extras=extras)


def of_one(cam: Tensor) -> Tensor:
    """Every map divided by its largest absolute value; a map of zeros stays one."""
    top = cam.abs().amax(PLACES, keepdim=True)
    return (cam / top).where(top != 0, cam)


def numbers(q: Query, which: Sequence[Tensor], at: Any, targets: int) -> dict[str, Tensor]:
    """The numbers of channels as extras, [target, batch, n]: `channels`, or `channels <layer>` of each of several."""
    layers = each(at)
    names = ["channels"] if len(layers) == 1 else [f"channels {q.address(layer)}" for layer in layers]
    return {name: found.expand(targets, *found.shape) for name, found in zip(names, which, strict=True)}


def strongest(act: Tensor, most: int | None) -> Tensor:
    """Which channels vary most over the places, in the order of their numbers: int64 [batch, at most `most`].

    act: [batch, channel, height, width]; most: None for all channels.
    """
    batch, count = act.shape[:2]
    if most is None or most >= count:
        return torch.arange(count, device=act.device).expand(batch, count)
    spread = act.flatten(2).var(2, unbiased=False)
    return spread.argsort(dim=1, descending=True, stable=True)[:, :most].sort(dim=1).values


def chosen(act: Tensor, which: Tensor) -> Tensor:
    """The channels `which` [batch, n] of an activation: [batch, n, height, width]."""
    return act.gather(1, which[..., None, None].expand(*which.shape, *act.shape[2:]))


def weighted(weights: Tensor, act: Tensor) -> Tensor:
    """Σ_k w_k A_k, [target, batch, height, width].  weights: [target, batch, n]; act: [batch, n, height, width]."""
    return torch.einsum("tbk,bkij->tbij", weights, act)
