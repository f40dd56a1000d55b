"""Addresses inside a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pellucid.core.errors import SiteError

Layout = Literal["auto", "channels_first", "channels_last", "tokens", "none", "attention"]


@dataclass(frozen=True, slots=True)
class Site:
    """The output of one layer, in one of its calls.

    name: path of the layer, as in `named_modules()`; `auto` is the last layer that still has height and width.
    call: which call, when a layer runs several times; None demands that it runs once.
    layout: where height, width and channels are. `auto` finds out from the shapes and says what it decided;
        activations are always answered as [batch, channel, height, width] (or [batch, ...] with layout `none`).
        `attention` means the weights of the call-th attention in the layer, [batch, heads, queries, keys].
    """

    name: str = "auto"
    call: int | None = None
    layout: Layout = "auto"

    def __str__(self) -> str:
        return self.name if self.call is None else f"{self.name}[{self.call}]"


AUTO = Site()


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention of a model: the site of its weights, and what its tokens are.

    site     where its weights are read
    heads    number of heads
    queries  number of tokens that look
    keys     number of tokens that are looked at
    windows  number of windows into which the tokens of one row are cut; 1 where every token sees all others
    prefix   class and register tokens in front of the picture's
    grid     height and width of the picture's tokens; None where they are no picture
    """

    site: Site
    heads: int
    queries: int
    keys: int
    windows: int = 1
    prefix: int = 0
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """Where the tokens of a picture can be taken out: behind their positions, before they meet.

    site  the layer that gives them; class and register tokens stay
    grid  height and width of the tokens
    """

    site: Site
    grid: tuple[int, int]


def as_site(at: Any) -> Site:
    """What users may write: a Site, a layer's name, or the layer itself (resolved by the model later)."""
    if isinstance(at, Site):
        return at
    if isinstance(at, str):
        name, bracket, call = at.partition("[")
        if bracket and not re.fullmatch(r"-?[0-9]{1,9}\]", call):
            raise SiteError(f"layer name {at!r}", "a name such as 'layer4', or 'layer4[1]' for its second call")
        return Site(name, int(call[:-1]) if call else None)
    if callable(at):  # a module: the adapter knows its name
        return Site(ModuleName(at))
    raise SiteError(f"{at!r} of type {type(at).__name__} as a layer", "a layer's name, the layer, or a Site")


class ModuleName(str):
    """Stands for a layer given as an object until the model's adapter looks its name up."""

    __slots__ = ("module",)
    module: Any

    def __new__(cls, module: Any) -> ModuleName:
        self = super().__new__(cls, f"<{type(module).__name__}>")
        self.module = module
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModuleName) and other.module is self.module

    def __hash__(self) -> int:
        return id(self.module)
