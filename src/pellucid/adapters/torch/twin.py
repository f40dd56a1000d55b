"""A private copy of somebody's module: the tree copied, the weights shared. The original is never touched."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

FLAGS_OFF = ("gradient_checkpointing", "grad_checkpointing", "checkpoint_activations", "use_checkpoint")
"""Attributes by which models switch activation checkpointing on."""


def unwrap(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The module inside DataParallel, DistributedDataParallel and torch.compile wrappers, and what was unwrapped."""
    notes: list[str] = []
    while True:
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            inside: Any = module._orig_mod
            module, note = inside, "ran the compiled model eagerly"
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            note, module = f"unwrapped {type(module).__name__}", module.module
        else:
            return module, tuple(notes)
        notes.append(note)


def signature(module: nn.Module) -> tuple[Any, ...]:
    """Changes whenever the module does: its tree, its plain attributes, the identity and version of its tensors."""
    parts: list[Any] = []
    for each in module.modules():
        parts.append(id(each))
        for name, value in each.__dict__.items():
            if isinstance(value, (int, float, str)) and name != "training":
                parts.append(value)
        parts.extend((id(tensor), tensor._version, tensor.data_ptr()) for tensor in _tensors(each))
    return tuple(parts)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for held in (module._parameters, module._buffers):
        for tensor in held.values():
            if tensor is not None and not tensor.is_inference():
                yield tensor


def make(module: nn.Module) -> nn.Module:
    """The twin, in eval mode with frozen parameters and checkpointing off.

    Parameters share storage with the original, buffers are copied (some models write to them while they run).
    Raises whatever the module's own copying raises.
    """
    memo: dict[int, Any] = {}
    for each in module.modules():
        for parameter in each._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = _alias(parameter)
        for buffer in each._buffers.values():
            if buffer is not None:
                memo[id(buffer)] = buffer.detach().clone()
        for value in each.__dict__.values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    twin = copy.deepcopy(module, memo)
    return quiet(twin)


def _alias(parameter: nn.Parameter) -> nn.Parameter:
    data = parameter.clone() if parameter.is_inference() else parameter.detach()
    return nn.Parameter(data, requires_grad=False)


def quiet(twin: nn.Module) -> nn.Module:
    """Eval mode, no activation checkpointing, no compiled call."""
    twin.eval()
    for each in twin.modules():
        for flag in FLAGS_OFF:
            if getattr(each, flag, False) is True:
                setattr(each, flag, False)
        if getattr(each, "_compiled_call_impl", None) is not None:
            each._compiled_call_impl = None
    return twin


def again(twin: nn.Module) -> nn.Module:
    """Another copy of a twin that shares all its tensors."""
    memo: dict[int, Any] = {
        id(t): t
        for each in twin.modules()
        for held in (each._parameters, each._buffers)
        for t in held.values()
        if t is not None
    }
    return copy.deepcopy(twin, memo)


def scripted(module: nn.Module) -> list[str]:
    """Names of TorchScript modules inside, whose operators nobody can see."""
    return [name or "the model" for name, each in module.named_modules() if isinstance(each, torch.jit.ScriptModule)]
