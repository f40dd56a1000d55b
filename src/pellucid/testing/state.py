"""Everything that an explanation must leave as it was, looked at before and after."""

# Hooks, version counters and switches of torch are private, and what must not change.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as _module

TABLES = ("_parameters", "_buffers", "_modules")
GLOBAL_HOOKS = tuple(name for name in dir(_module) if name.startswith("_global_") and name.endswith("_hooks"))


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A module, some tensors and the process at one moment. `changes()` says what is different now."""

    module: nn.Module
    tensors: tuple[Tensor, ...]
    seen: dict[str, Any]

    @classmethod
    def of(cls, module: nn.Module, *tensors: Tensor) -> Snapshot:
        """Look now. module: the user's model; tensors: the caller's."""
        return cls(module, tensors, dict(_looked(module, tensors)))

    def changes(self) -> tuple[str, ...]:
        """What differs from the moment of the snapshot; empty when nothing does."""
        now = dict(_looked(self.module, self.tensors))
        keys = [*self.seen, *(k for k in now if k not in self.seen)]
        return tuple(key for key in keys if not _same(self.seen.get(key), now.get(key)))


def _looked(module: nn.Module, tensors: tuple[Tensor, ...]) -> Iterator[tuple[str, Any]]:
    for name, each in module.named_modules(remove_duplicate=False):
        yield from _looked_at_module(f"module {name!r}", each)
    for i, tensor in enumerate(tensors):
        yield from _looked_at_tensor(f"tensor {i}", tensor)
    yield from process().items()


def _looked_at_module(where: str, module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield f"{where}: identity", (id(module), type(module))
    yield f"{where}: attributes", tuple(module.__dict__)
    for name, value in module.__dict__.items():
        if name.endswith("_hooks"):
            yield f"{where}: {name}", (id(value), tuple(value))
        elif name not in TABLES:
            yield f"{where}: {name}", value if isinstance(value, (bool, int, float, str)) else id(value)
    for table in TABLES:
        yield f"{where}: {table}", tuple((k, id(v)) for k, v in module.__dict__[table].items())
    for name, tensor in module._parameters.items():
        if tensor is not None:
            yield from _looked_at_tensor(f"{where}: {name}", tensor)
    for name, tensor in module._buffers.items():
        if tensor is not None:
            yield f"{where}: {name} (value)", tensor.detach().clone()


def _looked_at_tensor(where: str, tensor: Tensor) -> Iterator[tuple[str, Any]]:
    yield f"{where} (value)", tensor.detach().clone()
    yield f"{where} (flags)", (tensor.requires_grad, tuple(tensor.shape), tensor.stride(), tensor.dtype)
    if not tensor.is_inference():
        yield f"{where} (version)", tensor._version
    if tensor.is_leaf:
        yield f"{where} (grad)", None if tensor.grad is None else (id(tensor.grad), tensor.grad.clone())


def process() -> dict[str, Any]:
    """The global state of torch, numpy, Python's random numbers and the warnings."""
    return {
        "torch random state": torch.get_rng_state(),
        "numpy random state": repr(np.random.get_state()),  # noqa: NPY002 - looked at, not moved
        "python random state": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.is_autocast_cache_enabled(),
        ),
        "warning filters": tuple(map(repr, warnings.filters)),
        "warning printer": id(warnings.showwarning),
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.enabled,
        ),
        "matmul precision": torch.get_float32_matmul_precision(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "attention fast path": torch.backends.mha.get_fastpath_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "global module hooks": tuple((name, len(getattr(_module, name))) for name in GLOBAL_HOOKS),
    }


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(_bits(a), _bits(b))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _bits(tensor: Tensor) -> Tensor:
    """NaN equals itself, and 0.0 differs from −0.0."""
    return tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1).view(torch.uint8)
