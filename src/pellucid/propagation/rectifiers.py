"""Rectifiers in all their spellings: their slopes, and how to tell `x * (x > 0)` from any other product.

Where a rectifier bends, the smaller slope is taken (0 at x = 0 for a ReLU), so that every spelling of one function
has one derivative; torch itself says 0 for `relu`, 1 for `clamp` and 1/2 for `maximum` there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final
from weakref import ref

import torch
from torch import Tensor

from pellucid.core.errors import RuleError

Slope = Callable[..., Tensor]
Rectified = Callable[[tuple[Any, ...], Mapping[str, Any], "Signs"], Tensor | None]


class Signs:
    """Remembers which masks are the sign of which tensor, so that `where(x > 0, x, 0)` is known for what it is.

    Nothing is kept alive: masks and tensors are held by weak references.
    """

    __slots__ = ("_by_mask",)

    def __init__(self) -> None:
        self._by_mask: dict[int, tuple[ref[Tensor], ref[Tensor], int, bool]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_mask)

    def clear(self) -> None:
        """Forget everything."""
        self._by_mask.clear()

    @property
    def alive(self) -> bool:
        """Whether there is a mask that somebody may still ask about."""
        return any(mask() is not None and tensor() is not None for mask, tensor, _, _ in self._by_mask.values())

    def compare(self, name: str, args: tuple[Any, ...], mask: Tensor) -> None:
        """Note `mask = x > 0`, `x >= 0` (positive) or `x < 0`, `x <= 0` (negative)."""
        if len(args) == 2 and isinstance(args[0], Tensor) and args[0].requires_grad and is_zero(args[1]):
            positive = name.strip("_").startswith("g")
            self._by_mask[id(mask)] = (ref(mask), ref(args[0]), args[0]._version, positive)

    def cast(self, before: Any, after: Any) -> None:
        """Note that `after` is the mask `before` as numbers."""
        found = self._by_mask.get(id(before))
        if found is not None and found[0]() is before and isinstance(after, Tensor):
            self._by_mask[id(after)] = (ref(after), *found[1:])

    def of(self, mask: Any, x: Any) -> bool | None:
        """True for the mask of x's positive part, False for its negative part, None for any other mask."""
        found = self._by_mask.get(id(mask))
        if found is None or found[0]() is not mask or found[1]() is not x or found[2] != x._version:
            return None
        return found[3]


def is_zero(value: Any) -> bool:
    """Whether a constant is 0 everywhere."""
    if isinstance(value, Tensor):
        return not value.requires_grad and not bool(value.detach().any())
    return isinstance(value, int | float) and value == 0


def positive(x: Tensor, *_: Any, **__: Any) -> Tensor:
    """1[x > 0]."""
    return x > 0


def between(x: Tensor, low: float, high: float) -> Tensor:
    """1[low < x < high]."""
    return (x > low) & (x < high)


def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """1[0 < x < 6]."""
    return between(x, 0.0, 6.0)


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """1[min_val < x < max_val]."""
    return between(x, min_val, max_val)


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """1[min < x < max]."""
    return between(x, -inf if min is None else float(min), inf if max is None else float(max))


def threshold(x: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """1[x > threshold]."""
    return x > threshold


def leaky_relu(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """1 above zero, `negative_slope` below."""
    return torch.where(x > 0, torch.ones_like(x), negative_slope)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """1 above zero, the channel's learned weight below."""
    weight = weight.detach()
    if weight.numel() > 1 and x.dim() > 1:
        weight = weight.view(-1, *[1] * (x.dim() - 2))
    return torch.where(x > 0, torch.ones_like(x), weight)


def rrelu(
    x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """1 above zero, the mean of the bounds below; random slopes are refused."""
    if training:
        raise RuleError("rrelu draws its slopes at random while training", "a fixed slope", "call model.eval() first")
    return leaky_relu(x, (lower + upper) / 2)


def elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0, inplace: bool = False) -> Tensor:
    """`scale` above zero, scale * input_scale * alpha * exp(input_scale * x) below."""
    below = scale * input_scale * alpha * torch.exp(input_scale * x.clamp(max=0))
    return torch.where(x > 0, torch.full_like(x, scale), below)


def selu(x: Tensor, inplace: bool = False) -> Tensor:
    """The slope of ELU with the two constants of the paper."""
    return elu(x, alpha=1.6732632423543772, scale=1.0507009873554805)


def celu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """1 above zero, exp(x / alpha) below."""
    return torch.where(x > 0, torch.ones_like(x), torch.exp(x.clamp(max=0) / alpha))


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """sigmoid(beta * x), and 1 beyond the threshold."""
    return torch.where(beta * x > threshold, torch.ones_like(x), torch.sigmoid(beta * x))


def _clamped(args: tuple[Any, ...], kwargs: Mapping[str, Any], signs: Signs) -> Tensor | None:
    """A clamp rectifies when it cuts at zero or below; `clamp(min=1e-6)` guards a division and is left alone."""
    x: Tensor = args[0]
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    if low is None or any(isinstance(end, Tensor) and end.numel() != 1 for end in (low, high)):
        return None
    return x if float(low) <= 0 else None


def _maximum(args: tuple[Any, ...], kwargs: Mapping[str, Any], signs: Signs) -> Tensor | None:
    """max(x, 0) rectifies x when the other side is a constant zero that does not enlarge it."""
    a, b = args[0], args[1] if len(args) > 1 else kwargs.get("other")
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    x, constant = (a, b) if a.requires_grad else (b, a)
    fits = x.requires_grad and torch.broadcast_shapes(a.shape, b.shape) == x.shape
    return x if fits and is_zero(constant) else None


def _where(args: tuple[Any, ...], kwargs: Mapping[str, Any], signs: Signs) -> Tensor | None:
    """where(x > 0, x, 0), x.where(x > 0, 0) and where(x < 0, 0, x)."""
    if not signs or len(args) != 3:
        return None
    as_function = isinstance(args[0], Tensor) and args[0].dtype is torch.bool
    condition, a, b = args if as_function else (args[1], args[0], args[2])
    if signs.of(condition, a) is True and is_zero(b):
        return a
    return b if signs.of(condition, b) is False and is_zero(a) else None


def _masked(args: tuple[Any, ...], kwargs: Mapping[str, Any], signs: Signs) -> Tensor | None:
    """x * (x > 0)."""
    if not signs or len(args) != 2:
        return None
    a, b = args
    if signs.of(b, a) is True:
        return a
    return b if signs.of(a, b) is True else None


def _filled(args: tuple[Any, ...], kwargs: Mapping[str, Any], signs: Signs) -> Tensor | None:
    """x.masked_fill(x < 0, 0) and x[x < 0] = 0."""
    if not signs or len(args) != 3 or signs.of(args[1], args[0]) is not False:
        return None
    return args[0] if is_zero(args[2]) else None


ALWAYS: Final[Mapping[str, Slope]] = {
    "relu": positive,
    "relu6": relu6,
    "hardtanh": hardtanh,
    "threshold": threshold,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "rrelu": rrelu,
    "elu": elu,
    "selu": selu,
    "celu": celu,
    "softplus": softplus,
}

SOMETIMES: Final[Mapping[str, tuple[Slope, Rectified]]] = {
    "clamp": (clamp, _clamped),
    "clip": (clamp, _clamped),
    "clamp_min": (clamp, _clamped),
    "maximum": (positive, _maximum),
    "max": (positive, _maximum),
    "fmax": (positive, _maximum),
    "where": (positive, _where),
    "mul": (positive, _masked),
    "multiply": (positive, _masked),
    "__mul__": (positive, _masked),
    "__rmul__": (positive, _masked),
    "masked_fill": (positive, _filled),
    "__setitem__": (positive, _filled),
}
