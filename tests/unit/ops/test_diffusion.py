"""The blur against the diffusion equation, integrated by a matrix exponential, and against the Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.ops.diffusion import diffused, diffusion_slope

PICTURES = torch.rand(2, 3, 7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def heat(n: int, sigma: float) -> Tensor:
    """exp(σ²/2 · Δ) with reflecting ends."""
    laplace = torch.diag(torch.full((n,), -2.0, dtype=torch.float64))
    laplace += torch.diag(torch.ones(n - 1, dtype=torch.float64), 1) + torch.diag(torch.ones(n - 1).double(), -1)
    laplace[0, 0] = laplace[-1, -1] = -1.0 if n > 1 else 0.0
    return torch.matrix_exp(sigma**2 / 2 * laplace)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, 4.0])
def test_it_is_the_solution_of_the_diffusion_equation(sigma: float) -> None:
    wanted = heat(7, sigma) @ PICTURES @ heat(10, sigma)
    torch.testing.assert_close(diffused(PICTURES, sigma), wanted, rtol=1e-11, atol=1e-13)


def test_far_from_the_ends_it_is_the_gaussian() -> None:
    spot = torch.zeros(61, 1, dtype=torch.float64)
    spot[30] = 1
    at = torch.arange(61, dtype=torch.float64) - 30
    wanted = torch.exp(-(at**2) / (2 * 4.0**2)) / (4.0 * math.sqrt(2 * math.pi))
    got = diffused(spot, 4.0)[:, 0]
    assert float((got - wanted).abs().max()) < 0.02 * float(wanted.max())
    assert float((got * at**2).sum()) == pytest.approx(16.0, rel=1e-6)  # the variance is σ², exactly


@given(st.floats(0, 30), st.floats(0, 30))
@settings(max_examples=20, deadline=None)
def test_blurs_add_up_stay_in_range_and_keep_the_mean(a: float, b: float) -> None:
    got = diffused(PICTURES, a)
    assert float(got.min()) >= float(PICTURES.min()) - 1e-12
    assert float(got.max()) <= float(PICTURES.max()) + 1e-12
    torch.testing.assert_close(got.mean((2, 3)), PICTURES.mean((2, 3)))
    torch.testing.assert_close(diffused(got, b), diffused(PICTURES, math.hypot(a, b)))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_the_slope_is_that_of_finite_differences(sigma: float) -> None:
    wanted = (diffused(PICTURES, sigma + 1e-5) - diffused(PICTURES, sigma - 1e-5)) / 2e-5
    torch.testing.assert_close(diffusion_slope(PICTURES, sigma), wanted, rtol=1e-6, atol=1e-9)


def test_the_ends_of_the_scale() -> None:
    torch.testing.assert_close(diffused(PICTURES, 0.0), PICTURES)
    assert not diffusion_slope(PICTURES, 0.0).any()
    flat = PICTURES.mean((2, 3), keepdim=True).expand_as(PICTURES)
    torch.testing.assert_close(diffused(PICTURES, 1e3), flat)
    assert diffused(PICTURES.float(), 2.0).dtype == torch.float32
