"""Where height, width and channels are in an activation, and how to bring it to [rows, channel, height, width]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import SiteError

MOST_PREFIX = 16
"""Class and register tokens in front of the patches, at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One way of reading an activation.

    kind: `channels_first`, `channels_last`, `tokens`, `attention` or `none` (left as it is); prefix: class and register
    tokens in front of the grid; grid: height and width of the tokens; maps: attention matrices of one row.
    """

    kind: str
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)
    maps: int = 1

    def take(self, raw: Tensor) -> Tensor:
        """Raw activation [rows, ...] -> [rows, channel, height, width]; also for its gradient."""
        if self.kind == "channels_last":
            return raw.movedim(-1, 1)
        if self.kind == "tokens":
            patches = raw[:, self.prefix :]
            return patches.transpose(1, 2).reshape(len(raw), raw.shape[2], *self.grid)
        if self.kind == "attention":
            return raw.reshape(-1, self.maps, *raw.shape[-2:])
        return raw

    def put(self, raw: Tensor, new: Tensor) -> Tensor:
        """The inverse: a raw activation that shows `new`; class and register tokens stay those of `raw`."""
        if self.kind == "channels_last":
            return new.movedim(1, -1)
        if self.kind == "tokens":
            patches = new.flatten(2).transpose(1, 2)
            kept = raw[:, : self.prefix].expand(len(patches), -1, -1)
            return torch.cat([kept, patches], 1) if self.prefix else patches
        if self.kind == "attention":
            return new.reshape(raw.shape)
        return new

    def over(self, raw: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """`change` on everything, class and register tokens included: they come as places of a column."""
        new = self.put(raw, change(self.take(raw)))
        if self.kind != "tokens" or not self.prefix:
            return new
        first = change(raw[:, : self.prefix].transpose(1, 2)[..., None])
        return torch.cat([first[..., 0].transpose(1, 2), new[:, self.prefix :]], 1)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one row after `take`."""
        if self.kind == "channels_last":
            return (raw[-1], *raw[:-1])
        if self.kind == "tokens":
            return (raw[1], *self.grid)
        return raw

    @property
    def says(self) -> str:
        if self.kind == "tokens":
            extra = f" behind {self.prefix} class/register token(s)" if self.prefix else ""
            return f"tokens read as a {self.grid[0]} × {self.grid[1]} grid{extra}"
        return {"channels_last": "channels are the last axis"}.get(self.kind, "")


def read(
    shape: tuple[int, ...],
    image: tuple[int, int] | None,
    patch_grid: tuple[int, int] | None,
    channels_last: bool = False,
) -> Plan | None:
    """How to read one row's activation of this shape, or None when it has no height and width.

    shape: without the batch; image: height and width of the model's input; patch_grid: the grid into which the model
    cut its input, where a convolution without overlap showed one; channels_last: whether it is known to be so.
    """
    if image is None:
        return None
    if len(shape) == 3 and not _attention(shape, patch_grid):
        first, last = _fits(shape[1:], image), _fits(shape[:2], image)
        if first and not channels_last:
            return Plan("channels_first")
        return Plan("channels_last") if last else None
    if len(shape) == 2:
        return tokens_of(shape[0], image, patch_grid)
    return None


def _attention(shape: tuple[int, ...], patch_grid: tuple[int, int] | None) -> bool:
    """Whether this is a matrix from tokens to tokens, [heads, tokens, tokens], and no picture."""
    if patch_grid is None or shape[1] != shape[2]:
        return False
    return 0 <= shape[1] - patch_grid[0] * patch_grid[1] <= MOST_PREFIX


def _fits(grid: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Whether a grid may be a smaller picture of the image: more than one place, same aspect within rounding."""
    h, w = grid
    if h * w <= 1 or h > image[0] * 2 or w > image[1] * 2:
        return False
    return abs(h * image[1] - w * image[0]) <= max(image) * 1.0 + 0.5 * max(h, w)


def tokens_of(count: int, image: tuple[int, int], patch_grid: tuple[int, int] | None) -> Plan | None:
    """A grid of tokens with a few others in front, or None."""
    if patch_grid is not None and 0 <= count - patch_grid[0] * patch_grid[1] <= MOST_PREFIX:
        return Plan("tokens", count - patch_grid[0] * patch_grid[1], patch_grid)
    for prefix in (0, 1, 2, 5):
        for h in range(2, int(max(count - prefix, 0) ** 0.5 * 4) + 1):
            if (count - prefix) % h == 0 and h * image[1] == ((count - prefix) // h) * image[0]:
                return Plan("tokens", prefix, (h, (count - prefix) // h))
    return None


def refuse(name: str, shape: tuple[int, ...]) -> SiteError:
    """The error for an activation in which no height and width can be found."""
    return SiteError(
        f"the output of {name!r} has shape {shape} per row, with no height and width that fit the input",
        "a layer with a feature map or a grid of tokens",
        "see pellucid layers MODEL; or say how to read it: Site(name, layout='channels_last' | 'tokens' | 'none')",
    )
