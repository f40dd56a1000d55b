"""Products, quotients, and other operators of the second degree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.propagation.deeplift.secant import Curve, Signals, at_input, ends, mean, refusal, secant, shaped, subject
from pellucid.propagation.rules import Call, Rule

_LONG = ("einsum", "multi_dot", "chain_matmul")


@dataclass(frozen=True, slots=True)
class Midpoint(Rule):
    """m_in = ∂f/∂in at the mean of the two ends, for f of degree two: x y − x′ y′ = Δx (y + y′)/2 + Δy (x + x′)/2

    For products, matrix products, convolutions whose weights are computed from the input, squares, variances. The
    derivative of a polynomial of the second degree is a straight line, so its mean over the way is its middle.

    always  False: it serves only calls of two tracked inputs; what is linear in its only one has its plain gradient
    """

    always: bool = False

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "mean of both ends"

    @property
    def least(self) -> int:
        """Two, unless it serves all."""
        return 1 if self.always else 2

    def serves(self, call: Call) -> bool:
        """Raises RuleError for products of three inputs that change."""
        if sum(call.tracked) > 2 and call.operator.name in _LONG:
            raise refusal(call, "multiplies more than two tensors that depend on the input", "multiply two at a time")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The means of what changes, and the constants."""
        return tuple(
            mean(call, inputs, i) if flag else tensor
            for i, (tensor, flag) in enumerate(zip(inputs, call.tracked, strict=True))
        )

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """The gradient there."""
        if call.operator.name == "mul" and len(kept) == 2 and all(call.tracked):
            a, b = kept
            return (upstream[0] * b).sum_to_size(a.shape), (upstream[0] * a).sum_to_size(b.shape)
        return gradient(call, kept, upstream[0])


def gradient(call: Call, inputs: tuple[Tensor, ...], upstream: Tensor) -> Signals:
    """The plain gradient of a call at other inputs than its own."""
    with torch.enable_grad():
        leaves = tuple(t.detach().requires_grad_(flag) for t, flag in zip(inputs, call.tracked, strict=True))
        entering = (leaves[0].clone(), *leaves[1:]) if call.inplace else leaves
        output = call.run(entering)
        wanted = [leaf for leaf, flag in zip(leaves, call.tracked, strict=True) if flag]
        found = iter(torch.autograd.grad(output, wanted, upstream))
    return tuple(next(found) if flag else None for flag in call.tracked)


@dataclass(frozen=True, slots=True)
class Quotient(Rule):
    """z = x / y: Δz = (Δx − z̄ Δy) / ȳ, for x = z y is a product

    with the bar for the mean of both ends. Where y changes its sign, ȳ may vanish; there z is x times 1/y, and
    Δz = Δx mean(1/y) − Δy x̄ / (y y′).
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "mean of both ends"

    def serves(self, call: Call) -> bool:
        """Where the divisor changes; division by a constant is linear. Raises RuleError for rounded quotients."""
        if call.kwargs.get("rounding_mode") is not None:
            raise refusal(call, "rounds its quotient", "use a method without rules, such as integrated gradients")
        return len(call.tracked) == 2 and call.tracked[1]

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multipliers of x and y; both inputs' shapes."""
        y, y0 = ends(call, inputs, 1)
        x, x0 = ends(call, inputs, 0) if call.tracked[0] else (inputs[0], inputs[0])
        one_sign = (y > 0) == (y0 > 0)
        at_x = torch.where(one_sign, 2 / (y + y0), (1 / y + 1 / y0) / 2)
        at_y = -torch.where(one_sign, (x / y + x0 / y0) / (y + y0), (x + x0) / (2 * y * y0))
        return at_x, at_y, shaped(x), shaped(y)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m_out times each."""
        at_x, at_y, x, y = kept
        signal = (upstream[0] * at_x).sum_to_size(x.shape) if call.tracked[0] else None
        return signal, (upstream[0] * at_y).sum_to_size(y.shape)


@dataclass(frozen=True, slots=True)
class Root(Rule):
    """√q with q of degree two: m_in = m_out / (√q + √q′) · ∂q/∂in at the mean of the two ends

    For standard deviations and Euclidean norms.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "root of both ends"

    def serves(self, call: Call) -> bool:
        """Norms of order two. Raises RuleError for others."""
        order = call.args[1] if call.operator.name == "norm" and len(call.args) > 1 else call.kwargs.get("p", 2)
        if order not in (2, 2.0, "fro", None):
            raise refusal(call, f"is of order {order}", "use a method without rules, such as integrated gradients")
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The mean of the two ends, and the sum of the two roots."""
        index = subject(call)
        x, r = ends(call, inputs, index)
        return (x + r) / 2, call.run((x, *inputs[1:])) + call.run((r, *inputs[1:]))

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """∂q/∂in = 2 √q ∂√q/∂in, so that the operator's own gradient serves for q's."""
        middle, roots = kept
        with torch.enable_grad():
            leaf = middle.detach().requires_grad_()
            square = call.run((leaf,)).square()
            (found,) = torch.autograd.grad(square, leaf, upstream[0] / roots.clamp_min(torch.finfo(roots.dtype).tiny))
        return at_input(subject(call), found.nan_to_num(nan=0.0))


@dataclass(frozen=True, slots=True)
class Glu(Rule):
    """a σ(b), a and b the halves of the input: a product, and σ as the function of b that it is"""

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "mean of both ends"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The multiplier of each half."""
        x, r = ends(call, inputs, 0)
        (a, b), (a0, b0) = x.chunk(2, self.axis(call)), r.chunk(2, self.axis(call))
        sigmoid = Curve(torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z), False, True)
        return (b.sigmoid() + b0.sigmoid()) / 2, (a + a0) / 2 * secant(sigmoid, b, b0)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m_out times each."""
        return at_input(0, torch.cat([upstream[0] * m for m in kept], self.axis(call)))

    @staticmethod
    def axis(call: Call) -> int:
        """The axis that is halved."""
        return call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else -1)
