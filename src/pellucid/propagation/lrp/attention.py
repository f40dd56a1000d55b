"""Rules for attention: products of two tensors that both depend on the input, and the softmax between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pellucid.core.errors import RuleError
from pellucid.propagation.lrp.arguments import bound, tracked
from pellucid.propagation.lrp.flows import takers
from pellucid.propagation.lrp.layers import STABILIZER, Epsilon, OutputRule
from pellucid.propagation.lrp.linear import again
from pellucid.propagation.lrp.shares import Signals, check, over
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Rule


@dataclass(frozen=True, slots=True)
class MatrixProduct(OutputRule):
    """R_A = A · (s Vᵀ),  R_V = V · (Aᵀ s),  s = R / (2 O), for O = A V    [achtibat2024attnlrp]

    gates       `share`: both factors of attention × values take half, as in AttnLRP; `stop`: the values take all, as if
                attention were a constant, as in CP-LRP [ali2022xai]. Queries × keys always take half each
    layer       the rule for products with constants, which are linear layers
    stabilizer  ε
    """

    made_for: ClassVar[tuple[Kind, ...]] = (Kind.MATMUL,)
    gates: Literal["share", "stop"] = "share"
    layer: Rule = field(default_factory=Epsilon)
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The words in the audit."""
        return "matrix product" if self.gates == "share" else "matrix product, attention constant"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """a · ∂O/∂aᵀ s for both factors."""
        *inputs, z = kept
        found = tracked(call, len(inputs))
        if len(found) == 1:
            mine = kept if self.layer.borrows_output(call) else tuple(inputs)
            return self.layer.back(call, mine, *upstream)
        added = 0 if call.operator.name in ("addmm", "baddbmm", "addbmm", "addmv") else -1
        among = takers(call, tuple(inputs), sizes=False) if self.gates == "stop" else found
        factors = tuple(i for i in among if i != added)
        s = over(upstream[0], max(len(factors), 1) * z, self.stabilizer)
        out: list[Tensor | None] = [None] * len(inputs)
        for i, slope in zip(factors, _pulled(call, tuple(inputs), factors, s), strict=True):
            out[i] = inputs[i] * slope
        if added in found or (added == 0 and call.full):
            summand = inputs[0] * (call.kwargs.get("beta", 1) * max(len(factors), 1))
            out[0] = (summand * s).sum_to_size(inputs[0].shape)
        return tuple(out)


def _pulled(call: Call, inputs: tuple[Tensor, ...], factors: tuple[int, ...], s: Tensor) -> list[Tensor]:
    """∂O/∂aᵀ s for every factor a."""
    plain = call.operator.name in ("matmul", "bmm", "mm") and len(inputs) == 2 and min(t.ndim for t in inputs) > 1
    if plain:
        a, b = inputs
        sides = {0: lambda: s @ b.mT, 1: lambda: a.mT @ s}
        return [sides[i]().sum_to_size(inputs[i].shape) for i in factors]
    with torch.enable_grad():
        leaves = {i: inputs[i].detach().requires_grad_() for i in factors}
        z = again(call, inputs, leaves)
    return list(torch.autograd.grad(z, list(leaves.values()), s))


@dataclass(frozen=True, slots=True)
class Softmax(OutputRule):
    """R_i = x_i (R_i − p_i Σ_j R_j),  p = softmax x    [achtibat2024attnlrp]

    The first term of a Taylor series at x: it conserves only up to the constant term, and the difference is a leak.
    Other functions of the family (log-softmax, softmin) by the same series: R = x · ∂f/∂xᵀ (R / f).

    stabilizer  ε of those
    """

    made_for: ClassVar[tuple[Kind, ...]] = (Kind.SOFTMAX,)
    stabilizer: float = STABILIZER

    def __post_init__(self) -> None:
        check("stabilizer", self.stabilizer)

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "softmax"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """Inputs of −∞, which a mask puts there, get nothing."""
        x, *others, p = kept
        r = upstream[0]
        if call.operator.name == "softmax":
            dim = bound(call, ("input", "dim"), (x, *others)).get("dim")
            dim = (0 if x.ndim in (0, 1, 3) else 1) if dim is None else dim
            slope = r - p * r.sum(dim, keepdim=True)
        elif call.operator.name == "gumbel_softmax":
            raise RuleError(
                f"gumbel_softmax in layer {call.place.layer!r} draws at random",
                "the same output for the same input",
                "replace it with a softmax for the explanation",
            )
        else:
            slope = _pulled(call, (x, *others), (0,), over(r, p, self.stabilizer))[0]
        return (torch.where(x.isfinite(), x * slope, 0.0), *(None,) * len(others))
