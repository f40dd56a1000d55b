"""Gaussian blur as diffusion of the picture: a scale space without truncated kernels, with its derivative.

A line of n pixels with reflecting ends obeys ∂L/∂(σ²) = ½ Δ L. Its solution from the picture at σ = 0 is, in the basis
of the discrete cosine transform (type II),

    L(σ) = Cᵀ diag(exp(−σ² (1 − cos(πj/n)))) C x,   j = 0 … n − 1    [after Lindeberg 1990]

the discrete analogue of the Gaussian with variance σ²: all weights are positive and sum to one, the variances of two
blurs add up, nothing is cut off at any σ, and at σ = 0 it is the picture. A plane is blurred along one axis, then the
other.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor


def diffused(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures [..., height, width] under a blur of standard deviation sigma, in pixels."""
    down, along = (_smoother(n, sigma, pictures) for n in pictures.shape[-2:])
    return down @ pictures @ along


def diffusion_slope(pictures: Tensor, sigma: float) -> Tensor:
    """∂ diffused(pictures, σ) / ∂σ at σ = sigma, exactly; the same shape."""
    height, width = pictures.shape[-2:]
    down, along = _smoother(height, sigma, pictures), _smoother(width, sigma, pictures)
    steeper, wider = _smoother(height, sigma, pictures, slope=True), _smoother(width, sigma, pictures, slope=True)
    return steeper @ pictures @ along + down @ pictures @ wider


def _smoother(n: int, sigma: float, like: Tensor, slope: bool = False) -> Tensor:
    """The blur of n pixels in a line as a symmetric matrix [n, n], or its derivative by σ."""
    j = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(pi / n * j[:, None] * (j + 0.5)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    rate = 1 - torch.cos(pi / n * j)
    gain = torch.exp(-(sigma**2) * rate)
    if slope:
        gain = -2 * sigma * rate * gain
    return (basis.T @ (gain[:, None] * basis)).to(like)
