"""The closed form of Shapley values of linear models, φ_i = w_i (x_i − E b_i), for every estimator and any draw."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid import (
    Banzhaf,
    ExactShapley,
    KernelSHAP,
    OwenShapley,
    PermutationSHAP,
    ShapleyInteractions,
    StratifiedShapley,
)
from pellucid.api import explain, wrap
from pellucid.ops.shapley_designs import KERNELS

EVERY: tuple[tuple[Any, dict[str, Any]], ...] = (
    (ExactShapley, {}),
    (PermutationSHAP, {"samples": 4}),
    (PermutationSHAP, {"samples": 4, "antithetic": False}),
    (StratifiedShapley, {"samples": 4}),
    (OwenShapley, {}),
    (Banzhaf, {"samples": 60}),
    (ShapleyInteractions, {"samples": 100}),
    (ShapleyInteractions, {"index": "k_sii", "show": "own"}),
    *((KernelSHAP, {"samples": 40, "design": design}) for design in KERNELS),
)
NAMED = pytest.mark.parametrize(("method", "how"), EVERY, ids=lambda v: str(v) if isinstance(v, dict) else v.about.name)


def drawn(seed: int, *size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@NAMED
@given(columns=st.integers(6, 8), many=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=3, deadline=None)
def test_columns_against_backgrounds(method: Any, how: dict[str, Any], columns: int, many: int, seed: int) -> None:
    w, x, ground = drawn(seed, 2, columns), drawn(seed + 1, 2, columns), drawn(seed + 2, many, columns)
    model = wrap(lambda rows: rows @ w.T + 3.0, name="by hand")
    e = explain(model, x, method(fill=ground, **how), target=1, output="logit")[0]
    torch.testing.assert_close(e.values, w[1] * (x - ground.mean(0)), rtol=1e-8, atol=1e-9)


@NAMED
def test_regions_of_pictures(method: Any, how: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 2)).double()
    x, labels = drawn(1, 1, 3, 6, 6).sigmoid(), torch.arange(6)[:, None].expand(6, 6) // 2 * 3 + torch.arange(6) // 2
    e = explain(model, x, method(regions=labels, fill="gray", **how), target=0, output="logit")[0]
    weight: Tensor = model[1].weight.detach()[0].view(3, 6, 6)  # pyright: ignore
    parts = (weight * (x[0] - 0.5)).sum(0)
    wanted = torch.stack([parts[labels == k].sum() for k in range(9)])
    torch.testing.assert_close(e.extras["players"][0], wanted, rtol=1e-8, atol=1e-9)
