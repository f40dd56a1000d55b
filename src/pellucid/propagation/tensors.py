"""Tensors among arguments and outputs, and the state of autograd that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _autograd

from pellucid.core.errors import RuleError


def sequence_number() -> int:
    """The number that the next node of this thread's graph will have."""
    return _autograd._get_sequence_nr()


def checkpointing() -> bool:
    """Whether activation checkpointing keeps the tensors that are saved now."""
    hooks = _autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None and getattr(hooks[0], "__module__", "") == "torch.utils.checkpoint"


def carries(values: Iterable[Any]) -> bool:
    """Whether a gradient can flow through any of the arguments of a call."""
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                return True
        elif type(value) in (list, tuple) and carries(value):
            return True
    return False


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in a model's output: tuples, dictionaries, data classes and objects with attributes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dict__") and not isinstance(value, type | nn.Module):
        yield from tensors_in(list(vars(value).values()))


def entering(value: Any) -> Any:
    """An input as the model may use it: a plain tensor of its own, which may be changed in place."""
    if isinstance(value, Tensor):
        if type(value) is not Tensor and not isinstance(value, nn.Parameter):
            value = _as_plain(value)
        return value.clone() if value.requires_grad and torch.is_grad_enabled() else value
    if type(value) in (list, tuple):
        return type(value)(entering(item) for item in value)
    return {key: entering(item) for key, item in value.items()} if type(value) is dict else value


def _as_plain(value: Tensor) -> Tensor:
    if getattr(type(value), "__torch_dispatch__", None) is not torch._C._disabled_torch_dispatch_impl:
        raise RuleError(
            f"The input is a {type(value).__name__}, which computes in a way of its own",
            "a plain torch.Tensor",
            "hand over the local, dense tensor",
        )
    return value.as_subclass(Tensor)
