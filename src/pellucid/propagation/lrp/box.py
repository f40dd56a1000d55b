"""The rule of the first layer of a net whose inputs are bounded, such as pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError, RuleError
from pellucid.propagation.lrp.layers import STABILIZER, LayerRule, parts
from pellucid.propagation.lrp.linear import linear
from pellucid.propagation.lrp.shares import Signals, check, over, signals
from pellucid.propagation.rules import Call


@dataclass(frozen=True, slots=True, eq=False)
class ZBox(LayerRule):
    """R_i = Σ_j (a_i w_ij − l_i w⁺_ij − h_i w⁻_ij) R_j / Σ_i …  [montavon2017explaining, the zᴮ-rule]

    Zeros that the model puts around its input before the layer belong to the box: l = h = 0 there, as in a layer that
    pads by itself. Boxes are equal when their bounds are equal.

    low         the lowest values that inputs can have, l ≤ a: [1, ...] like one row, broadcast against it, or a number
    high        the highest, h ≥ a
    stabilizer  ε
    """

    low: Tensor
    high: Tensor
    stabilizer: float = STABILIZER
    _key: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)
        for name in ("low", "high"):
            given = getattr(self, name)
            if isinstance(given, int | float):
                object.__setattr__(self, name, torch.tensor(float(given), dtype=torch.float64))
            elif not isinstance(given, Tensor):
                raise ParameterError(f"{name} of type {type(given).__name__}", "a tensor like one row, or a number")
        if bool((self.low > self.high).any()):
            raise ParameterError("low is above high somewhere", "low ≤ high everywhere")
        ends = tuple((tuple(t.shape), float(t.double().sum()), float(t.double().norm())) for t in (self.low, self.high))
        object.__setattr__(self, "_key", (self.stabilizer, *ends))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, ZBox) or self._key != other._key:
            return False
        return torch.equal(self.low, other.low) and torch.equal(self.high, other.high)

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "z-box"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """(a − l) · W⁺ᵀ s + (a − h) · W⁻ᵀ s,  s = R / (W a − W⁺ l − W⁻ h)."""
        view = linear(call, kept)
        up, down = parts(call, view)
        low, high = self._around(call, view.a)
        z = view.run(view.a, view.w, None) - view.run(low, up, None) - view.run(high, down, None)
        s = over(upstream[0], z, self.stabilizer)
        r = (view.a - low) * view.pull(s, up) + (view.a - high) * view.pull(s, down)
        return signals(call, view, len(kept), r)

    def _around(self, call: Call, a: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds for inputs like `a`, [1, ...]; raises RuleError when `a` is not a row of the model."""
        low, high = _fitted(self.low.to(a), a), _fitted(self.high.to(a), a)
        if low is None or high is None:
            raise _elsewhere(call, f"an input of shape {tuple(a.shape[1:])}", tuple(self.low.shape[1:]))
        slack = 1e-4 * (high - low).amax()
        if bool((a < low - slack).any() | (a > high + slack).any()):
            raise _elsewhere(call, "inputs outside of the box", "low ≤ input ≤ high")
        return low, high


def _fitted(bound: Tensor, a: Tensor) -> Tensor | None:
    """A bound [1, ...] in the shape of one row of `a`, with zeros where `a` was padded with zeros."""
    if bound.ndim != a.ndim:
        bound = bound.reshape(*(1,) * (a.ndim - bound.ndim), *bound.shape) if bound.ndim < a.ndim else bound
    if bound.ndim != a.ndim or len(bound) != 1:
        return None
    if all(n in (1, m) for n, m in zip(bound.shape[1:], a.shape[1:], strict=True)):
        return bound.expand(1, *a.shape[1:])
    if a.ndim < 3 or bound.shape[1] not in (1, a.shape[1]):
        return None
    return _padded(bound, a)


def _padded(bound: Tensor, a: Tensor) -> Tensor | None:
    """The bound in the middle of zeros, as `same` padding puts it, if `a` is zero around it."""
    extra = [m - n for n, m in zip(bound.shape[2:], a.shape[2:], strict=True)]
    if any(n < 0 for n in extra):
        return None
    places = (slice(n // 2, n // 2 + m) for n, m in zip(extra, bound.shape[2:], strict=True))
    inside = (slice(None), slice(None), *places)
    frame = torch.ones_like(a[:1], dtype=torch.bool)
    frame[inside] = False
    if bool((a * frame).any()):
        return None
    out = torch.zeros_like(a[:1])
    out[inside] = bound
    return out


def _elsewhere(call: Call, got: str, wanted: object) -> RuleError:
    return RuleError(
        f"The z-box rule met {got} at {call.operator.name} in layer {call.place.layer!r}",
        f"the layer that reads the input of the model: {wanted}",
        "say where the rows lie, in their own units: presets.epsilon_gamma_box(low, high); or use a composite without "
        "a box (epsilon_plus_flat)",
    )
