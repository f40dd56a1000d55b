"""A private copy of somebody's module: the tree copied, the weights shared. The original is never touched."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.ask import Variant
from pellucid.core.errors import UnsupportedModel

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


class Watch:
    """Notices when a module is no longer what it was: its tree, attributes and hooks, its tensors and their versions.

    It keeps no module alive. Made once per twin; `same` is asked at every call and compares dictionaries at the speed
    of C. Changes through `.data`, which torch does not count, are noticed by a sample of every tensor's numbers. What
    it cannot see is a change inside an attribute that is an object of the user's own.
    """

    __slots__ = ("attributes", "empty", "held", "objects", "samples", "tables", "tensors", "thens")

    def __init__(self, module: nn.Module) -> None:
        borrows = getattr(module, "borrows", None)
        every = [each for each in module.modules() if each is not borrows]
        tables = [table for each in every for table in (each._modules, *(each.__dict__[name] for name in HOOKS))]
        holders = [held for each in every for held in (each._parameters, each._buffers)]
        self.empty = [table for table in (*tables, *holders) if not table]
        self.tables = [table for table in tables if table]
        self.held = [held for held in holders if held]
        self.attributes = [(each.__dict__, len(each.__dict__), _plain(each).items()) for each in every]
        self.objects = [(each.__dict__, name, value) for each in every for name, value in _objects(each)]
        found = [t for held in holders for t in held.values()] + [value for _, _, value in self.objects]
        strided = [t for t in found if isinstance(t, Tensor) and not t.is_inference() and t.layout is torch.strided]
        self.tensors = strided
        self.samples = [(views, torch.cat(views)) for views in _sampled(strided)]
        self.thens = self._now()

    def same(self) -> bool:
        """Whether nothing has changed."""
        return (
            not any(self.empty)
            and self._now() == self.thens
            and all([len(now) == count and then <= now.items() for now, count, then in self.attributes])  # noqa: C419 - a generator would cost more than it saves
            and all([now.get(name) is value for now, name, value in self.objects])  # noqa: C419 - a generator would cost more than it saves
            and all([torch.equal(torch.cat(views), then) for views, then in self.samples])  # noqa: C419 - a generator would cost more than it saves
        )

    def _now(self) -> tuple[list[Any], ...]:
        """What is there, by identity and version."""
        return (
            [(t._version, t.data_ptr()) for t in self.tensors],
            [[*table.items()] for table in self.tables],
            [[*map(id, held.values())] for held in self.held],
        )


def _sampled(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Up to SAMPLE numbers of every tensor, spread over it: views, together where they can be joined."""
    together: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel() and not tensor.is_quantized and tensor.device.type != "meta" and tensor.is_contiguous():
            flat = tensor.detach().view(-1)
            step = max(1, flat.numel() // SAMPLE)
            together.setdefault((tensor.dtype, tensor.device), []).append(flat[::step])
    return list(together.values())


SAMPLE = 32
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
KINDS = (int, float, str, bytes, type(None), torch.dtype, torch.device)
OWN = frozenset({*nn.Module().__dict__, "_is_full_backward_hook", "_non_persistent_buffers_set"})
"""What every module has."""


def _compared(value: Any) -> bool:
    """Whether an attribute can be compared by value: numbers, words, and tuples, lists and mappings of them."""
    parts = value.values() if type(value) is dict else value if type(value) in (tuple, list) else (value,)
    return all(isinstance(part, KINDS) for part in parts)


def _plain(module: nn.Module) -> dict[str, Any]:
    return {n: copy.copy(v) for n, v in module.__dict__.items() if n not in OWN and _compared(v)}


def _objects(module: nn.Module) -> list[tuple[str, Any]]:
    """All other attributes of a module's own, which are compared by identity: functions, tensors, settings."""
    return [(n, v) for n, v in module.__dict__.items() if n not in OWN and not _compared(v)]


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


def varied(twin: nn.Module, variant: Variant, name: str) -> nn.Module:
    """Another copy of a twin, with the weights of a variant. Raises UnsupportedModel where it cannot be copied."""
    try:
        net = again(twin)
    except Exception as error:
        raise UnsupportedModel(
            f"{name} cannot be copied ({type(error).__name__}: {error}), so it keeps its weights",
            "a model that copy.deepcopy accepts",
        ) from error
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    for path, value in variant.change({k: v.detach() for k, v in tensors.items()}).items():
        owner, _, last = path.rpartition(".")
        module = net.get_submodule(owner) if owner else net
        if last in module._parameters:
            module._parameters[last] = nn.Parameter(value.detach(), requires_grad=False)
        else:
            module._buffers[last] = value.detach()
    if variant.shift:
        net.register_forward_pre_hook(lambda _, given: (given[0] - variant.shift, *given[1:]))
    net.train()  # what modules work out once for eval mode belongs to the old weights; they forget it here
    return quiet(net)


def weighted(twin: nn.Module, order: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Names of the modules with weights of their own, in the order in which they finish first.

    order: every call of every layer, (name, call), as they finish. Weights of a module with others inside are taken to
    be used before those; modules that nobody calls stand beside the one that holds them.
    """
    at: dict[str, int] = {}
    for i, (name, _) in enumerate(order):
        at.setdefault(name, i)
    first: dict[str, int] = {}
    for name, module in twin.named_modules():  # those inside come after those around them
        calls = [at[inner] for inner, _ in module.named_modules(prefix=name) if inner in at]
        first[name] = min(calls, default=first.get(name.rpartition(".")[0], 0))
    own = [name for name, module in twin.named_modules() if module._parameters]
    return tuple(sorted(own, key=lambda name: first[name]))


def scripted(module: nn.Module) -> list[str]:
    """Names of TorchScript modules inside, whose operators nobody can see."""
    return [name or "the model" for name, each in module.named_modules() if isinstance(each, torch.jit.ScriptModule)]
