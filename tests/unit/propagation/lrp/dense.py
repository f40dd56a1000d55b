"""The rules in matrix form, written from the papers with loops: W [outputs, inputs], one row a, b, R."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tests.unit.propagation.lrp.calls import stable
from torch import Tensor

Dense = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Products = Callable[[Tensor, Tensor], Tensor]


def shared(products: Products, bias: Callable[[Tensor], Tensor], epsilon: float) -> Dense:
    """R_i = Σ_j p_ij R_j / (Σ_i p_ij + b_j), p = products(a, row of W)."""

    def rule(w: Tensor, b: Tensor, a: Tensor, r: Tensor) -> Tensor:
        out = torch.zeros_like(a)
        for j in range(len(w)):
            p = products(a, w[j])
            z = float(p.sum() + bias(b[j]))
            if z + epsilon == 0:
                continue
            out += p * (r[j] / stable(z, epsilon))
        return out

    return rule


def same(b: Tensor) -> Tensor:
    return b


def none(b: Tensor) -> Tensor:
    return torch.zeros_like(b)


def plus(t: Tensor) -> Tensor:
    return torch.maximum(t, torch.zeros_like(t))


def minus(t: Tensor) -> Tensor:
    return torch.minimum(t, torch.zeros_like(t))


def epsilon(e: float) -> Dense:
    return shared(lambda a, w: a * w, same, e)


def z_plus(e: float) -> Dense:
    return shared(lambda a, w: plus(a * w), plus, e)


def alpha_beta(alpha: float, beta: float, e: float) -> Dense:
    up = shared(lambda a, w: plus(a * w), plus, e)
    down = shared(lambda a, w: minus(a * w), minus, e)
    return lambda w, b, a, r: alpha * up(w, b, a, r) - beta * down(w, b, a, r)


def gamma(g: float, e: float) -> Dense:
    """One sign at a time, by the sign of the output."""

    def rule(w: Tensor, b: Tensor, a: Tensor, r: Tensor) -> Tensor:
        out = torch.zeros_like(a)
        for j in range(len(w)):
            z = float((a * w[j]).sum() + b[j])
            if z == 0:
                continue
            part = plus if z > 0 else minus
            p = a * w[j] + g * part(a * w[j])
            out += p * (r[j] / stable(float(p.sum() + b[j] + g * part(b[j])), e))
        return out

    return rule


def classic_gamma(g: float) -> Dense:
    """LRP-γ as in Montavon 2019, for a ≥ 0 and outputs above zero."""
    return shared(lambda a, w: a * (w + g * plus(w)), lambda b: b + g * plus(b), 0.0)


def w_square(e: float) -> Dense:
    return shared(lambda a, w: w * w, none, e)


def flat(looks: Tensor, e: float) -> Dense:
    """`looks`: [outputs, inputs], how often an output looks at an input."""

    def rule(w: Tensor, b: Tensor, a: Tensor, r: Tensor) -> Tensor:
        return torch.stack([looks[j] * (r[j] / (looks[j].sum() + e)) for j in range(len(w))]).sum(0)

    return rule


def z_box(low: Tensor, high: Tensor, e: float) -> Dense:
    return shared(lambda a, w: a * w - low * plus(w) - high * minus(w), none, e)
