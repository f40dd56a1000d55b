"""Tensors among arguments and outputs, and the state of autograd that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _autograd

from pellucid.core.errors import RuleError

Function = Callable[..., Any]
Given = tuple[Any, ...]
Named = Mapping[str, Any]
"""A function, and its arguments by position and by name."""


def sequence_number() -> int:
    """The number that the next node of this thread's graph will have."""
    return _autograd._get_sequence_nr()


def checkpointing() -> bool:
    """Whether activation checkpointing keeps the tensors that are saved now."""
    hooks = _autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None and getattr(hooks[0], "__module__", "") == "torch.utils.checkpoint"


class Flow(Enum):
    """What a call's arguments depend on."""

    NOTHING = "constants"
    WEIGHTS = "weights that could be trained"
    TRACKED = "the model's input"


def flowing(tensor: Tensor) -> bool:
    """Whether a signal can flow to a tensor: it depends on the model's input. A parameter never does."""
    return tensor.requires_grad and type(tensor) is not nn.Parameter


def ends_in(args: Iterable[Any], kwargs: Mapping[str, Any]) -> int:
    """How many tensors among the arguments of a call depend on the model's input."""
    return sum([flowing(tensor) for tensor in tensors_among((*args, *kwargs.values()))])


def flow(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Flow:
    """What the arguments of a call depend on."""
    found = _flow(args)
    if found is not Flow.TRACKED and kwargs:
        more = _flow(kwargs.values())
        return found if more is Flow.NOTHING else more
    return found


def _flow(values: Iterable[Any]) -> Flow:
    found = Flow.NOTHING
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                if type(value) is not nn.Parameter:
                    return Flow.TRACKED
                found = Flow.WEIGHTS
        elif type(value) in (list, tuple):
            inside = _flow(value)
            if inside is Flow.TRACKED:
                return inside
            found = found if inside is Flow.NOTHING else inside
    return found


def constant(output: Any) -> Any:
    """What was computed from weights without gradients; views of parameters still say that they want some."""
    if type(output) in (tuple, list):
        return type(output)(constant(item) for item in output)
    return output.detach() if isinstance(output, Tensor) and flowing(output) else output


def tensors_among(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from tensors_among(value)


def nodes_of(output: Any) -> list[Any]:
    """The nodes of the graph that a call has made, each once."""
    if isinstance(output, Tensor):
        return [] if output.grad_fn is None else [output.grad_fn]
    if not isinstance(output, tuple | list):
        return []
    return list({t.grad_fn: None for t in output if isinstance(t, Tensor) and t.grad_fn is not None})


def alone(nodes: list[Any], before: int) -> bool:
    """Whether a call has one node only that signals pass: what it hands on goes to nodes older than `before`."""
    return len(nodes) == 1 and all(
        node is None or "AccumulateGrad" in node.name() or node._sequence_nr() < before
        for node, _ in nodes[0].next_functions
    )


def as_named(function: Callable[..., Any], output: tuple[Any, ...]) -> Any:
    """A plain tuple as what the function returns, for example `torch.return_types.max`."""
    named = getattr(torch.return_types, getattr(function, "__name__", ""), None)
    return output if named is None or named.n_fields != len(output) else named(output)


def positional(kwargs: Named) -> tuple[Given, Named]:
    """torch.relu(input=x) as torch.relu(x), and torch.where(condition=c, input=a, other=b) as torch.where(c, a, b)."""
    if "condition" in kwargs and len(kwargs) == 3:
        return (kwargs["condition"], kwargs["input" if "input" in kwargs else "self"], kwargs["other"]), {}
    for word in ("input", "self", "tensors"):
        if word in kwargs:
            return (kwargs[word],), {key: value for key, value in kwargs.items() if key != word}
    return (), kwargs


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
