"""Softmax and its relatives, over their own axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.propagation.deeplift.secant import Signals, at_input, ends, refusal, subject
from pellucid.propagation.rules import Call, Rule

_NAMES: Final = ("softmax", "softmin", "log_softmax", "logsumexp")


@dataclass(frozen=True, slots=True)
class Softmax(Rule):
    """y = exp(u), u_i = x_i − log Σ_k exp x_k, each part with its own multiplier

    m_u = m_out · Δy/Δu,  m_x,i = m_u,i − p_i Σ_k m_u,k,  p_i = (Δ exp x_i / Δx_i) / (Δ s / Δ log s),  s = Σ_k exp x_k

    Σ_i p_i Δx_i is the change of log s, so nothing is lost; every row has its own sums. A log_softmax is u itself, a
    logsumexp is log s, a softmin the softmax of −x.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "exp and log of both ends"

    def serves(self, call: Call) -> bool:
        """Raises RuleError for random draws."""
        if call.operator.name not in _NAMES:
            raise refusal(call, "draws at random", "switch the noise off")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """p, and Δy/Δu for a softmax."""
        x, r = ends(call, inputs, subject(call))
        name, dim = call.operator.name, axis(call, x)
        if name == "softmin":
            x, r = -x, -r
        p = shares(x, r, dim)
        return (p, between(x.log_softmax(dim), r.log_softmax(dim))) if name in ("softmax", "softmin") else (p,)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m_u − p Σ m_u."""
        name, p = call.operator.name, kept[0]
        m, dim = upstream[0].to(p.dtype), axis(call, p)
        if name == "logsumexp":
            kept_dim = call.kwargs.get("keepdim", call.args[2] if len(call.args) > 2 else False)
            return at_input(subject(call), p * (m if kept_dim else m.unsqueeze(dim)))
        m = m * kept[1] if len(kept) > 1 else m
        m = m - p * m.sum(dim, keepdim=True)
        return at_input(subject(call), -m if name == "softmin" else m)


def shares(x: Tensor, r: Tensor, dim: int) -> Tensor:
    """p_i = (Δ exp x_i / Δx_i) / (Δ s / Δ log s): between the softmaxes of both ends; Σ_i p_i Δx_i = Δ log s."""
    top = torch.maximum(x.amax(dim, keepdim=True), r.amax(dim, keepdim=True))
    x, r = x - top, r - top
    return between(x, r) / between(x.logsumexp(dim, keepdim=True), r.logsumexp(dim, keepdim=True))


def between(u: Tensor, v: Tensor) -> Tensor:
    """(exp u − exp v) / (u − v), the logarithmic mean of exp u and exp v; 0 where both are hidden (−∞)."""
    half = (u - v) / 2
    near = half.abs() < 0.5
    safe = torch.where(near & (half != 0), half, 1.0)
    close = torch.exp((u + v) / 2) * torch.where(half == 0, 1.0, torch.sinh(safe) / safe)
    far = (u.exp() - v.exp()) / (2 * half)
    return torch.where(near, close, far).nan_to_num(nan=0.0)


def axis(call: Call, x: Tensor) -> int:
    """The axis that the call sums over; where none is said, that of torch."""
    given: Any = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    if isinstance(given, list | tuple):
        if len(given) != 1:
            raise refusal(call, f"sums over the axes {tuple(given)}", "flatten them into one")
        given = given[0]
    return (0 if x.ndim in (0, 1, 3) else 1) if given is None else int(given)
