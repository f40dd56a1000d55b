"""Normalisation by the numbers of the row itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.propagation.deeplift.secant import Signals, at_input, ends, refusal
from pellucid.propagation.rules import Call, Rule, Slot

_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": (
        "input",
        "running_mean",
        "running_var",
        "weight",
        "bias",
        "use_input_stats",
        "momentum",
        "eps",
    ),
    "normalize": ("input", "p", "dim", "eps"),
}


@dataclass(frozen=True, slots=True)
class Standardised(Rule):
    """y = c / σ with c = x − μ, σ² = mean c² + ε, over every group of the row

    Δy = (Δc − ȳ Δσ) / σ̄,  Δσ = Σ c̄ Δc / (n σ̄)

    with the bar for the mean of both ends: c = y σ is a product, σ² a square, and both are exact. RMS norm has no μ;
    scale and shift are linear.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "mean of both ends"

    def serves(self, call: Call) -> bool:
        """Raises RuleError where the numbers are not the row's own."""
        if call.function is torch.instance_norm or not given(call, "use_input_stats", True):
            raise refusal(call, "uses running means in a way that is not known here", "write it as a batch norm")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """c̄ / n, ȳ and σ̄ by groups; the scale."""
        x, r = ends(call, inputs, 0)
        (c, sigma), (c0, sigma0) = self.parts(call, x), self.parts(call, r)
        mean_y = (c / sigma + c0 / sigma0) / 2
        return (c + c0) / (2 * c.shape[-1]), mean_y, (sigma + sigma0) / 2, scale(call, inputs, x)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m / σ̄ at c; what flows to σ goes on to c; a constant added to c changes nothing."""
        c, y, sigma, weight = kept
        m = (upstream[0] * weight).reshape(c.shape) / sigma
        m = m - (m * y).sum(-1, keepdim=True) * c / sigma
        if call.operator.name != "rms_norm":
            m = m - m.mean(-1, keepdim=True)
        return at_input(0, m.view(upstream[0].shape))

    @staticmethod
    def parts(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
        """c and σ of every group."""
        eps = given(call, "eps", None if call.operator.name == "rms_norm" else 1e-5)
        c = grouped(call, x)
        if call.operator.name != "rms_norm":
            c = c - c.mean(-1, keepdim=True)
        return c, (c.square().mean(-1, keepdim=True) + (torch.finfo(x.dtype).eps if eps is None else eps)).sqrt()


def grouped(call: Call, x: Tensor) -> Tensor:
    """[..., members]: what is normalised together, on the last axis."""
    if call.operator.name == "instance_norm":
        return x.flatten(2)
    if call.operator.name == "group_norm":
        return x.reshape(len(x), given(call, "num_groups", 1), -1)
    shape = given(call, "normalized_shape", ())
    return x.flatten(-len(shape))


def scale(call: Call, inputs: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """The learned scale, shaped as to multiply x; 1 where there is none."""
    slot = given(call, "weight", None)
    if slot is None:
        return x.new_ones(())
    weight = inputs[slot.index].detach() if isinstance(slot, Slot) else slot
    by_channel = call.operator.name in ("group_norm", "instance_norm")
    return weight.view(-1, *(1,) * (x.ndim - 2)) if by_channel else weight


def given(call: Call, word: str, default: Any) -> Any:
    """An argument of a norm by its name."""
    words = _ARGUMENTS[call.operator.name]
    if word in call.kwargs:
        return call.kwargs[word]
    at = words.index(word) if word in words else len(call.args)
    return call.args[at] if at < len(call.args) else default


@dataclass(frozen=True, slots=True)
class Normalised(Rule):
    """y = x / d with d = max(‖x‖, ε): Δy = (Δx − ȳ Δd) / d̄,  Δ‖x‖ = Σ x̄ Δx / mean ‖x‖"""

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "mean of both ends"

    def serves(self, call: Call) -> bool:
        """Raises RuleError for other norms than the Euclidean."""
        if given(call, "p", 2.0) != 2:
            raise refusal(call, f"is of order {given(call, 'p', 2.0)}", "use a method without rules")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """ȳ, d̄, and ∂d/∂x."""
        x, r = ends(call, inputs, 0)
        dim, eps = given(call, "dim", 1), given(call, "eps", 1e-12)
        n, n0 = x.norm(dim=dim, keepdim=True), r.norm(dim=dim, keepdim=True)
        d, d0 = n.clamp(min=eps), n0.clamp(min=eps)
        cut = torch.where(n == n0, (n > eps).to(n.dtype), (d - d0) / (n - n0))
        to_norm = (x + r) / (n + n0).clamp_min(torch.finfo(n.dtype).tiny)
        return (x / d + r / d0) / 2, (d + d0) / 2, cut * to_norm

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m / d̄ at x; what flows to d goes on to x."""
        y, d, slope = kept
        m = upstream[0] / d
        return at_input(0, m - (m * y).sum(given(call, "dim", 1), keepdim=True) * slope)
