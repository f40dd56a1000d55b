"""Models of token ids: ids have no slope, so their vectors are explained, put in place where they are looked up."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Entrance = tuple[str, int]
"""Name of the layer that turns a row's ids into vectors, and which of its calls does."""


def enters(module: nn.Module, args: tuple[Any, ...], ids: Tensor) -> bool:
    """Whether this call of a layer looks up the vectors of the row's own ids, not those of places or kinds."""
    if not isinstance(module, nn.Embedding) or not args or not isinstance(args[0], Tensor):
        return False
    return args[0].shape == ids.shape and bool(torch.equal(args[0].to(ids), ids))


@contextmanager
def entering(net: nn.Module, entrance: Entrance, vectors: Tensor) -> Generator[None]:
    """While it lasts, the private twin goes on with these vectors instead of those of its ids."""
    name, wanted = entrance
    calls = -1

    def after(module: nn.Module, args: Any, out: Any) -> Tensor | None:
        nonlocal calls
        calls += 1
        return vectors if calls == wanted else None

    handle = net.get_submodule(name).register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


class Fed(nn.Module):
    """A module of ids and attention mask, as one that takes ids alone: what is padding is not attended to.

    Its layers are those of the module, under the same names. Ids equal to `pad` are padding; None for no mask.
    """

    def __init__(self, module: nn.Module, pad: int | None) -> None:
        super().__init__()
        self.inner, self.pad = (module,), pad
        known = _arguments(module)
        self.by_name, self.masked = "input_ids" in known, pad is not None and "attention_mask" in known
        for name, child in module._modules.items():  # None is kept too
            self.add_module(name, child)
        for name, parameter in module._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in module._buffers.items():
            self.register_buffer(name, buffer, name not in module._non_persistent_buffers_set)
        self.training = module.training

    def forward(self, ids: Tensor) -> Any:
        module = self.inner[0]
        more = {"attention_mask": (ids != self.pad).to(ids.dtype)} if self.masked else {}
        mode, module.training = module.training, self.training
        try:
            return module(input_ids=ids, **more) if self.by_name else module(ids, **more)
        finally:
            module.training = mode


def _arguments(module: nn.Module) -> Mapping[str, Any]:
    return inspect.signature(module.forward).parameters
