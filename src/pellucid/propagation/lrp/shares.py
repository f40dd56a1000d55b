"""Arithmetic that all rules share: signed parts, stabilised quotients, and whose signal goes where."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]

from pellucid.core.errors import ParameterError
from pellucid.propagation.lrp.linear import Linear
from pellucid.propagation.rules import Call

Signals = tuple[Tensor | None, ...]
Part = Callable[[Tensor], Tensor]


def over(r: Tensor, z: Tensor, epsilon: float | Tensor) -> Tensor:
    """r / (z + ε · sign z) with sign 0 = +1; without an ε, 0 where z is 0."""
    if not isinstance(epsilon, Tensor):
        if epsilon == 0:
            return torch.where(z == 0, 0.0, r / z)
        epsilon = torch.tensor(epsilon, dtype=z.dtype, device=z.device)
    return r / torch.copysign(epsilon, z).add_(z)  # a sum is −0 only where every summand is 0, and shares nothing


def size(z: Tensor) -> Tensor:
    """Root mean square of every row, in a form that can be multiplied with z."""
    return z.square().mean(tuple(range(1, z.ndim)), keepdim=True).sqrt() if z.ndim > 1 else z.abs()


def above(t: Tensor) -> Tensor:
    """max(t, 0)."""
    return t.clamp(min=0)


def below(t: Tensor) -> Tensor:
    """min(t, 0)."""
    return t.clamp(max=0)


def sides(a: Tensor) -> tuple[Tensor, Tensor | None]:
    """a⁺ and a⁻; None where no element is negative: then half of the passes of a signed rule would be zero."""
    return (a, None) if a.numel() == 0 or bool(a.amin() >= 0) else (above(a), below(a))


def signals(call: Call, view: Linear, count: int, r: Tensor, rest: Tensor | float | None = None) -> Signals:
    """`r` for the input of a linear map; what its bias absorbs under the bias, where books are kept."""
    out: list[Tensor | None] = [None] * count
    out[view.index] = r
    if call.full and view.rest is not None and isinstance(rest, Tensor):
        out[view.rest] = rest
    return tuple(out)


def idle(t: Tensor) -> bool:
    """Whether a signal is zero everywhere, so that its pass can be left out; under vmap nobody knows."""
    return not _functorch.is_batchedtensor(t) and not bool(t.any())


def share(call: Call, b: Tensor | None, s: Tensor, part: Part | None = None) -> Tensor | float:
    """What the bias absorbs, b · s, where books are kept."""
    if b is None or not call.full:
        return 0.0
    return (b if part is None else part(b)) * s


def check(name: str, value: float) -> None:
    """Raise ParameterError unless a rule's number is finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        raise ParameterError(f"{name}={value!r}", "a number, 0 or more")
