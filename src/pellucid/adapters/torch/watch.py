"""Look at one pass of a twin: what it gives, which layers run, what memory they take, which norms can be folded."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.adapters.torch.outputs import Selector, scores
from pellucid.adapters.torch.pads import Pads
from pellucid.adapters.torch.tokens import Entrance, enters
from pellucid.core.errors import NonFinite, UnsupportedModel
from pellucid.core.target import CLASSES

SOFTMAX = {torch.softmax, torch.nn.functional.softmax, Tensor.softmax}
SIGMOID = {torch.sigmoid, torch.nn.functional.sigmoid, Tensor.sigmoid, torch.special.expit}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

NOT_ROWS = (-1,)
"""The shape noted for outputs whose first axis is not the batch, such as windows of attention."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it ran."""

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]
    """Shape of one row's output, per call."""
    last: bool = False
    """Whether its channels are the last axis, as the model says itself."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one pass showed."""

    outputs: int
    emits: str
    head: int | None
    """Which softmax call, counted from 0, gives the model's output; None when none does."""
    layers: tuple[Layer, ...]
    """In the order in which they finished first."""
    order: tuple[tuple[str, int], ...]
    """Every call of every layer, (name, call), in the order in which they finished."""
    bytes_all: int
    """Size of everything computed for one row: what a backward pass may keep."""
    bytes_largest: int
    folds: tuple[tuple[str, str], ...]
    """Pairs (convolution or linear, batch-norm) of which the norm alone reads the convolution."""
    pads: tuple[tuple[str, str], ...]
    """Pairs (zero padding, convolution) of which the convolution alone reads the padding."""
    convolutions: int
    patch_grid: tuple[int, int] | None
    """Grid into which a convolution without overlap cut the input."""
    draws: frozenset[str]
    """Global random states that the model consumed although it is in eval mode: `torch`, `python`, `numpy`, `keras`."""
    entrance: Entrance | None = None
    """Where rows of token ids become vectors; None for other rows."""


def watch(twin: nn.Module, row: Tensor, select: Selector, emits: str | None) -> Facts:
    """Run one row [1, ...] and report. Raises UnsupportedModel, NonFinite, or what the model itself raises."""
    eye = _Eye(twin, None if row.is_floating_point() else row)
    before = Randomness.now()
    with torch.no_grad(), eye:
        raw = twin(row.clone())
        out = scores(raw, select)
    draws = before.moved() | getattr(twin, "drew", frozenset())
    before.restore()
    if len(out) != 1:
        raise UnsupportedModel(
            f"one row in, {len(out)} rows out",
            "one row of scores per input row",
            "wrap(model, outputs=lambda raw: ...)",
        )
    if not bool(torch.isfinite(out).all()):
        raise NonFinite(
            f"the model gives {int((~torch.isfinite(out)).sum())} values that are not finite",
            "finite scores at the clean input",
            "check the input's range and the preprocessing",
        )
    head, last = eye.head(out), getattr(twin, "channels_last", frozenset[str]())
    return Facts(
        outputs=out.shape[1],
        emits=_emits(out, head, eye.last_is_sigmoid(out), emits == CLASSES) if emits in (None, CLASSES) else emits,
        head=head if emits in (None, CLASSES) else None,
        layers=tuple(Layer(n, eye.types[n], tuple(s), n in last) for n, s in eye.shapes.items()),
        order=tuple(eye.order),
        bytes_all=eye.bytes_all,
        bytes_largest=eye.bytes_largest,
        folds=eye.folds(),
        pads=eye.pads.pairs(eye.shapes),
        convolutions=eye.convolutions,
        patch_grid=eye.patch_grid((row.shape[-2], row.shape[-1])) if row.ndim == 4 else None,
        draws=draws,
        entrance=eye.entrance,
    )


def _emits(out: Tensor, head: int | None, sigmoid: bool, classes: bool) -> str:
    """What the outputs are, by what they do: rows that sum to one are probabilities, whatever made them.

    classes: they are known to belong to classes, so that a single one is a logit.
    """
    if head is not None:
        return "logits"
    low, high, total = float(out.min()), float(out.max()), float(out.sum())
    if out.shape[1] > 1 and low >= 0 and abs(total - 1) < 1e-3:
        return "probabilities"
    if sigmoid and low >= 0 and high <= 1:
        return "probabilities"
    return "logits" if out.shape[1] > 1 else "sigmoid_logits" if classes else "values"


class _Eye(TorchFunctionMode):
    """Sees every operator of one pass; hooks on the twin name the layers."""

    def __init__(self, twin: nn.Module, ids: Tensor | None) -> None:
        super().__init__()
        self.twin, self.ids = twin, ids
        self.entrance: Entrance | None = None
        self.shapes: dict[str, list[tuple[int, ...]]] = {}
        self.types: dict[str, str] = {}
        self.order: list[tuple[str, int]] = []
        self.bytes_all = self.bytes_largest = self.convolutions = 0
        self.softmaxes: list[Tensor] = []
        self.sigmoids: list[Tensor] = []
        self.pads = Pads(twin)
        self.made_by: dict[int, str] = {}
        self.kept: list[Tensor] = []
        self.read: dict[int, int] = {}
        self.norm_of: dict[str, str] = {}
        self.patches: list[tuple[int, int]] = []
        self.handles: list[Any] = []

    def __enter__(self) -> _Eye:
        for name, module in self.twin.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if isinstance(module, NORMS):
                self.handles.append(module.register_forward_pre_hook(self._before_norm(name)))
            self.handles.append(module.register_forward_hook(self._after(name)))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for handle in self.handles:
            handle.remove()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (self.made_by or self.pads) and first_tensor(out) is not None:
            for tensor in tensors((args, kwargs)):
                self.pads.read(func, args, kwargs or {}, tensor)
                if id(tensor) in self.made_by:
                    self.read[id(tensor)] = self.read.get(id(tensor), 0) + 1
        if not isinstance(out, Tensor) or getattr(func, "__name__", "") == "__get__":
            return out
        size = out.numel() * out.element_size()
        if not any(isinstance(a, Tensor) and a.data_ptr() == out.data_ptr() for a in args):
            self.bytes_all += size
            self.bytes_largest = max(self.bytes_largest, size)
        if func in SOFTMAX:
            self.softmaxes.append(out)
        elif func in SIGMOID:
            self.sigmoids.append(out)
        return out

    def _before_norm(self, name: str) -> Callable[..., None]:
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor) and id(args[0]) in self.made_by:
                self.norm_of.setdefault(name, self.made_by[id(args[0])])

        return before

    def _after(self, name: str) -> Callable[..., None]:
        def after(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            first = first_tensor(out)
            if first is None:
                return
            batched = first.ndim > 0 and first.shape[0] == 1
            self.shapes.setdefault(name, []).append(tuple(first.shape[1:]) if batched else NOT_ROWS)
            self.order.append((name, len(self.shapes[name]) - 1))
            self.types[name] = type(module).__name__
            self.pads.made(name, module, out)
            if self.ids is not None and self.entrance is None and enters(module, args, self.ids):
                self.entrance = (name, len(self.shapes[name]) - 1)
            if isinstance(module, CONVS):
                self.convolutions += 1
                if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride and max(module.stride) > 2:
                    self.patches.append((int(first.shape[-2]), int(first.shape[-1])))
            if isinstance(module, CONVS) or (isinstance(module, nn.Linear) and first.ndim == 2):
                self.made_by[id(first)] = name
                self.kept.append(first)

        return after

    def folds(self) -> tuple[tuple[str, str], ...]:
        """Pairs where both layers run once and the norm is the only reader."""
        kept = {self.made_by[id(t)]: t for t in self.kept}
        return tuple(
            (conv, norm)
            for norm, conv in self.norm_of.items()
            if len(self.shapes[conv]) == len(self.shapes[norm]) == 1 and self.read.get(id(kept[conv])) == 1
        )

    def patch_grid(self, image: tuple[int, int]) -> tuple[int, int] | None:
        return self.patches[0] if self.patches and self.patches[0] < image else None

    def head(self, out: Tensor) -> int | None:
        """The number of the softmax call whose result is the model's output, over its classes."""
        if not bool((out.sum(1) - 1).abs().max() < 1e-2):
            return None
        for i, made in enumerate(self.softmaxes):
            if made is out or (made.data_ptr() == out.data_ptr() and made.shape == out.shape):
                return i
        return None

    def last_is_sigmoid(self, out: Tensor) -> bool:
        return any(made.data_ptr() == out.data_ptr() and made.shape == out.shape for made in self.sigmoids)


def tensors(nested: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and mappings."""
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, (tuple, list)):
        for one in nested:
            yield from tensors(one)
    elif isinstance(nested, dict):
        yield from tensors(tuple(nested.values()))


def first_tensor(out: Any) -> Tensor | None:
    """The tensor in a layer's output: itself, or the first of a tuple, list or mapping."""
    if isinstance(out, Tensor):
        return out
    if isinstance(out, (tuple, list)) and out:
        return first_tensor(out[0])
    if isinstance(out, dict) and out:
        return first_tensor(next(iter(out.values())))
    return None


def replaced(out: Any, new: Tensor) -> Any:
    """A layer's output with its first tensor replaced."""
    if isinstance(out, Tensor):
        return new
    if isinstance(out, tuple) and hasattr(out, "_fields"):
        return type(out)(replaced(out[0], new), *out[1:])
    if isinstance(out, (tuple, list)):
        return type(out)([replaced(out[0], new), *out[1:]])
    first = next(iter(out))
    changed = copy_of(out)
    changed[first] = replaced(out[first], new)
    return changed


def copy_of(mapping: Any) -> Any:
    """A shallow copy of a mapping or Hugging Face ModelOutput."""
    return copy.copy(mapping)


class Randomness:
    """The global random states at one moment."""

    def __init__(self, python: Any, numpy: Any, torch_cpu: Tensor) -> None:
        self.python, self.numpy, self.torch = python, numpy, torch_cpu

    @classmethod
    def now(cls) -> Randomness:
        return cls(random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state())  # noqa: NPY002

    def moved(self) -> frozenset[str]:
        """Which states have changed since."""
        now = Randomness.now()
        mine, theirs = self.numpy["state"], now.numpy["state"]
        moved = {"torch": not torch.equal(self.torch, now.torch), "python": self.python != now.python}
        moved["numpy"] = mine["pos"] != theirs["pos"] or not np.array_equal(mine["key"], theirs["key"])
        return frozenset(name for name, did in moved.items() if did)

    def restore(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)


class Headless(TorchFunctionMode):
    """Run a model without its last softmax: call number `head` gives its input back."""

    def __init__(self, head: int) -> None:
        super().__init__()
        self.head, self.seen = head, -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SOFTMAX:
            self.seen += 1
            if self.seen == self.head:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


def by_rows(net: nn.Module, run: Callable[[], Any], rows: int) -> frozenset[tuple[str, int]]:
    """The calls of layers, by name and number, whose output has one part for each row.

    Others answer the same for all rows, such as embeddings of positions, or fold rows into other axes.

    run  evaluates the net on so many rows, more than one
    """
    calls, found = Counter[str](), set[tuple[str, int]]()

    def after(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, out: Any) -> None:
            first = first_tensor(out)
            if first is None:
                return
            if first.ndim > 0 and first.shape[0] == rows:
                found.add((name, calls[name]))
            calls[name] += 1

        return note

    seen = ((name, module) for name, module in net.named_modules() if not isinstance(module, torch.jit.ScriptModule))
    handles = [module.register_forward_hook(after(name)) for name, module in seen]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(found)
