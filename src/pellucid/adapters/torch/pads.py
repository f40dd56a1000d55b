"""Zero paddings in front of a convolution: found in one pass, and made the convolution's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[str, str]
"""Names of a padding and of the convolution behind it."""


class Pads:
    """Notes during one pass which modules pad with zeros, evenly on both sides, and who reads what they make."""

    def __init__(self, root: nn.Module) -> None:
        self._owners: dict[int, list[str]] = {}
        for name, module in root.named_modules():
            if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
                self._owners.setdefault(id(module.weight), []).append(name)
        self._made: dict[int, tuple[Tensor, str]] = {}
        self._readers: dict[str, list[str | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._made)

    def made(self, name: str, module: nn.Module, output: Any) -> None:
        """To be told of the output of every module."""
        if id(output) in self._made:  # a module that hands on what another has padded shows it too
            self._readers.setdefault(self._made[id(output)][1], []).append(None)
        elif _even(module) is not None and isinstance(output, Tensor):
            self._made[id(output)] = output, name

    def read(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], tensor: Tensor
    ) -> None:
        """To be told of every tensor that an operator reads."""
        made = self._made.get(id(tensor))
        if made is not None:
            alone = function is torch.conv2d and len(args) > 1 and args[0] is tensor and _bare(args, kwargs)
            owners = self._owners.get(id(args[1]), []) if alone else []
            self._readers.setdefault(made[1], []).append(owners[0] if len(owners) == 1 else None)

    def pairs(self, calls: Mapping[str, Sequence[Any]]) -> tuple[Pair, ...]:
        """Paddings that only one convolution reads, where both run once."""
        alone = [(pad, readers[0]) for pad, readers in self._readers.items() if len(readers) == 1]
        return tuple((p, c) for p, c in alone if c is not None and len(calls[p]) == len(calls.get(c, ())) == 1)


def within(form: nn.Module, pairs: Iterable[Pair]) -> None:
    """Make each padding part of its convolution, in place on this private copy."""
    for pad_name, conv_name in pairs:
        conv: Any = form.get_submodule(conv_name)
        conv.padding = _even(form.get_submodule(pad_name))
        parent, _, child = pad_name.rpartition(".")
        setattr(form.get_submodule(parent) if parent else form, child, nn.Identity())


def _even(module: nn.Module) -> tuple[int, int] | None:
    """Height and width that a module pads with zeros on both sides; None for any other module."""
    if not (type(module) is nn.ZeroPad2d or (type(module) is nn.ConstantPad2d and module.value == 0)):
        return None
    left, right, top, bottom = module.padding
    return (top, left) if left == right >= 0 and top == bottom >= 0 else None


def _bare(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a convolution is called without padding of its own."""
    padding = args[4] if len(args) > 4 else kwargs.get("padding", 0)
    return padding == "valid" or not any(padding if isinstance(padding, (tuple, list)) else (padding,))
