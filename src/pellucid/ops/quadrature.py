"""Nodes and weights on [0, 1]: ∫₀¹ f(t) dt ≈ Σ_k w_k f(t_k), with Σ_k w_k = 1 for every rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Nodes = tuple[tuple[float, ...], tuple[float, ...]]


def gauss_legendre(steps: int) -> Nodes:
    """Exact for polynomials up to degree 2·steps − 1; all nodes inside the interval."""
    t, w = np.polynomial.legendre.leggauss(steps)
    return tuple(((t + 1) / 2).tolist()), tuple((w / 2).tolist())


def midpoint(steps: int) -> Nodes:
    """The middle of every panel, equal weights."""
    return tuple(((np.arange(steps) + 0.5) / steps).tolist()), (1 / steps,) * steps


def left(steps: int) -> Nodes:
    """The left end of every panel: includes 0, leaves out 1."""
    return tuple((np.arange(steps) / steps).tolist()), (1 / steps,) * steps


def right(steps: int) -> Nodes:
    """The right end of every panel: leaves out 0, includes 1."""
    return tuple(((np.arange(steps) + 1) / steps).tolist()), (1 / steps,) * steps


def trapezoid(steps: int) -> Nodes:
    """Both ends with half weight: `steps` nodes, steps − 1 panels (one node: the midpoint)."""
    if steps == 1:
        return midpoint(1)
    w = np.full(steps, 1 / (steps - 1))
    w[[0, -1]] /= 2
    return tuple(np.linspace(0, 1, steps).tolist()), tuple(w.tolist())


RULES: dict[str, Callable[[int], Nodes]] = {
    "gauss_legendre": gauss_legendre,
    "midpoint": midpoint,
    "trapezoid": trapezoid,
    "left": left,
    "right": right,
}
