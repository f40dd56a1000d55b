"""Rules for linear maps z = W a + b: linear and convolution layers, products with constants, batch norms.

In all of them R is the relevance of the outputs, what is returned is that of the inputs, and a division by z stands for
one by z + ε · sign z with sign 0 = +1.  ⁺ and ⁻ are the parts above and below zero. Weights are never changed: a rule
runs the layer again with weights of its own. Where no input is negative, the passes that would be zero are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.propagation.lrp.linear import Linear, linear, output, weights
from pellucid.propagation.lrp.shares import Part, Signals, above, below, check, idle, over, share, sides, signals, size
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Rule

STABILIZER: Final = 1e-6
"""ε of the rules that are not about it; absolute, in the units of z."""


class LayerRule(Rule):
    """A rule that needs the inputs of the call, weights and bias among them."""

    __slots__ = ()
    made_for: ClassVar[tuple[Kind, ...]] = (Kind.LINEAR, Kind.CONVOLUTION)
    takes_norms: ClassVar[bool] = True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """All inputs: most are parameters, which are there anyhow."""
        return inputs


class OutputRule(LayerRule):
    """A rule that needs z too, and takes it from the forward pass."""

    __slots__ = ()

    def borrows_output(self, call: Call) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Epsilon(OutputRule):
    """R_i = a_i Σ_j w_ij R_j / (z_j + ε · sign z_j)    [bach2015pixel, eq. 58]

    epsilon   what keeps small z from blowing up; it absorbs relevance where evidence contradicts itself
    relative  whether ε counts in units of the root mean square of a row's z
    """

    epsilon: float = 1e-6
    relative: bool = False

    def __post_init__(self) -> None:
        check("epsilon", self.epsilon)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return f"epsilon {self.epsilon:g}" + (" relative" if self.relative else "") if self.epsilon else "zero"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """a · Wᵀ(R / z)."""
        *inputs, z = kept
        view = linear(call, tuple(inputs))
        z = output(call, z)
        s = over(upstream[0], z, self.epsilon * size(z) if self.relative else self.epsilon)
        return signals(call, view, len(inputs), view.a * view.pull(s, view.w), share(call, view.b, s))


def Zero() -> Epsilon:  # noqa: N802 - a rule's name, as in the literature
    """R_i = a_i Σ_j w_ij R_j / z_j, and nothing where z_j = 0    [bach2015pixel, eq. 56; LRP-0]"""
    return Epsilon(0.0)


@dataclass(frozen=True, slots=True)
class ZPlus(LayerRule):
    """R_i = Σ_j (a_i w_ij)⁺ R_j / z⁺_j,  z⁺_j = Σ_i (a_i w_ij)⁺ + b⁺_j    [montavon2017explaining, z⁺-rule]

    stabilizer  ε
    bias        whether the bias takes part; excitation backprop [zhang2016excitation] leaves it out
    """

    stabilizer: float = STABILIZER
    bias: bool = True

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "z-plus" if self.bias else "z-plus, no bias"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """a⁺ · W⁺ᵀ s + a⁻ · W⁻ᵀ s,  s = R / z⁺."""
        view = linear(call, kept)
        view = view if self.bias else replace(view, b=None)
        a, (up, down) = sides(view.a), parts(call, view)
        s = over(upstream[0], supporting(view, a, up, down), self.stabilizer)
        return signals(call, view, len(kept), shared(view, a, s, up, down), share(call, view.b, s, above))


@dataclass(frozen=True, slots=True)
class AlphaBeta(LayerRule):
    """R_i = Σ_j (α (a_i w_ij)⁺ / z⁺_j − β (a_i w_ij)⁻ / z⁻_j) R_j,  α − β = 1    [bach2015pixel, eq. 60]

    A bias counts in the sum whose sign it has.

    alpha       weight of what speaks for the output
    beta        weight of what speaks against it
    stabilizer  ε
    """

    alpha: float = 2.0
    beta: float = 1.0
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("beta", self.beta)
        check("stabilizer", self.stabilizer)
        if abs(self.alpha - self.beta - 1) > 1e-9:
            raise ParameterError(
                f"alpha={self.alpha}, beta={self.beta}", "alpha − beta = 1, so that relevance is conserved"
            )

    @property
    def name(self) -> str:
        """The words in the audit."""
        return f"alpha{self.alpha:g}-beta{self.beta:g}"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """α times what z-plus gives, less β times the same of the negative products."""
        view = linear(call, kept)
        a, (up, down) = sides(view.a), parts(call, view)
        s = self.alpha * over(upstream[0], supporting(view, a, up, down), self.stabilizer)
        r, rest = shared(view, a, s, up, down), share(call, view.b, s, above)
        if self.beta:
            t = -self.beta * over(upstream[0], opposing(view, a, up, down), self.stabilizer)
            r = r + shared(view, a, t, down, up)
            rest = rest + share(call, view.b, t, below)
        return signals(call, view, len(kept), r, rest)


@dataclass(frozen=True, slots=True)
class Gamma(OutputRule):
    """R_i = Σ_j (a_i w_ij + γ (a_i w_ij)±) R_j / (z_j + γ z±_j), ± the sign of z_j    [generalised: andeol2021learning]

    For inputs without a sign this is LRP-γ, R_i = Σ_j a_i (w_ij + γ w⁺_ij) R_j / Σ_i …  [montavon2019layer, LRP-γ],
    at outputs above zero. An output of exactly 0 gives nothing.

    gamma       how much more the products with the output's sign count; ∞ would be z-plus
    stabilizer  ε
    """

    gamma: float = 0.25
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("gamma", self.gamma)
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return f"gamma {self.gamma:g}"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """With z⁻ = z − z⁺, only z⁺ has to be computed."""
        *inputs, z = kept
        view = linear(call, tuple(inputs))
        z = output(call, z)
        a, w, (w_up, w_down) = sides(view.a), weights(call, view), parts(call, view)
        up, down = w + self.gamma * w_up, w + self.gamma * w_down
        plus = supporting(view, a, w_up, w_down)
        nothing = torch.zeros((), dtype=z.dtype, device=z.device)
        s = torch.where(z > 0, over(upstream[0], z + self.gamma * plus, self.stabilizer), nothing)
        t = torch.where(z < 0, over(upstream[0], z + self.gamma * (z - plus), self.stabilizer), nothing)
        r, rest = shared(view, a, s, up, down), self._rest(call, view, s, above)
        if not idle(t):
            r = r + shared(view, a, t, down, up)
            rest = rest + self._rest(call, view, t, below)
        return signals(call, view, len(inputs), r, rest)

    def _rest(self, call: Call, view: Linear, s: Tensor, part: Part) -> Tensor | float:
        return share(call, view.b, s) + self.gamma * share(call, view.b, s, part)


@dataclass(frozen=True, slots=True)
class WSquare(LayerRule):
    """R_i = Σ_j w²_ij R_j / Σ_i w²_ij    [montavon2017explaining, w²-rule]: for inputs that can be any number

    stabilizer  ε
    """

    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "w-square"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """W²ᵀ (R / W² 1)."""
        view = linear(call, kept)
        return evenly(call, view, len(kept), upstream[0], weights(call, view).square(), self.stabilizer)


@dataclass(frozen=True, slots=True)
class Flat(LayerRule):
    """R_i = Σ_j R_j / n_j, n_j the inputs that output j looks at    [bach2016controlling; lapuschkin2019unmasking]

    stabilizer  ε
    """

    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "flat"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """1ᵀ (R / 1 1)."""
        view = linear(call, kept)
        return evenly(call, view, len(kept), upstream[0], torch.ones_like(weights(call, view)), self.stabilizer)


# -- what the equations share ------------------------------------------------------------------------------------


def parts(call: Call, view: Linear) -> tuple[Tensor, Tensor]:
    """W⁺ and W⁻."""
    w = weights(call, view)
    return above(w), below(w)


Sides = tuple[Tensor, Tensor | None]


def supporting(view: Linear, a: Sides, up: Tensor, down: Tensor) -> Tensor:
    """z⁺ = W⁺ a⁺ + W⁻ a⁻ + b⁺."""
    return summed(view, a, up, down, None if view.b is None else above(view.b))


def opposing(view: Linear, a: Sides, up: Tensor, down: Tensor) -> Tensor:
    """z⁻ = W⁻ a⁺ + W⁺ a⁻ + b⁻."""
    return summed(view, a, down, up, None if view.b is None else below(view.b))


def summed(view: Linear, a: Sides, up: Tensor, down: Tensor, b: Tensor | None) -> Tensor:
    """U a⁺ + D a⁻ + b, for weights U and D."""
    z = view.run(a[0], up, b)
    return z if a[1] is None else z + view.run(a[1], down, None)


def shared(view: Linear, a: Sides, s: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """a⁺ · Uᵀ s + a⁻ · Dᵀ s."""
    r = a[0] * view.pull(s, up)
    return r if a[1] is None else r.addcmul(a[1], view.pull(s, down))


def evenly(call: Call, view: Linear, count: int, r: Tensor, w: Tensor, stabilizer: float) -> Signals:
    """Wᵀ (R / W 1): relevance in proportion to weights that are not negative, whatever the inputs."""
    z = view.run(torch.ones_like(view.a[:1] if view.alike else view.a), w, None)
    return signals(call, view, count, view.pull(over(r, z, stabilizer), w))
