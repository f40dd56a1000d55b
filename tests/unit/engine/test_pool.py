"""Coalitions that several methods ask about are evaluated once, and nobody's answer changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import LIME, Banzhaf, ExactShapley, FeatureAblation, KernelSHAP, PermutationSHAP
from pellucid.core.points import generator

X = torch.randn(2, 6, generator=generator(8, "pool"), dtype=torch.float64)
GROUND = torch.randn(3, 6, generator=generator(9, "pool"), dtype=torch.float64)
METHODS: list[Any] = [
    LIME(samples=40),
    KernelSHAP(samples=30),
    ExactShapley(),
    PermutationSHAP(samples=6),
    FeatureAblation(),
    Banzhaf(samples=40, seed=3),
]


def game(rows: Tensor) -> Tensor:
    return torch.stack([rows.prod(1), torch.sin(rows).sum(1)], 1)


def forward(explanations: Any) -> int:
    return explanations[0].record.passes.forward


@pytest.mark.parametrize("fill", ["zero", GROUND])
def test_together_is_as_alone_and_no_coalition_runs_twice(fill: Any) -> None:
    import dataclasses

    methods = [dataclasses.replace(m, fill=fill) for m in METHODS]
    model = pellucid.wrap(game)
    alone = [pellucid.explain(model, X, m, target=0, output="logit")[0] for m in methods]
    together = pellucid.explain(model, X, methods, target=0, output="logit")
    for ours, theirs in zip(together, alone, strict=True):
        assert torch.allclose(ours.values, theirs.values, atol=1e-12)
    many = 1 if isinstance(fill, str) else len(GROUND)
    assert forward(together) == len(X) * (2**6 * many + 1)  # all coalitions once, and the clean rows


def test_sets_that_do_not_overlap_stay_apart() -> None:
    wide = torch.randn(1, 40, generator=generator(1, "pool"), dtype=torch.float64)
    model = pellucid.wrap(lambda rows: rows.cumsum(1)[:, -2:])
    both = pellucid.explain(model, wide, [LIME(samples=50), Banzhaf(samples=50, seed=1)], target=0, output="logit")
    assert forward(both) == 1 + 50 + 50 + 1


def test_different_rows_and_fills_are_different_games() -> None:
    model = pellucid.wrap(game)
    methods = [ExactShapley(fill="zero"), ExactShapley(fill=GROUND[0]), ExactShapley(regions=[0, 0, 1, 1, 2, 2])]
    together = pellucid.explain(model, X, methods, target=1, output="logit")
    assert forward(together) == len(X) * (64 + 64 + 8 + 1)
    assert together[0].values.sum(1).tolist() == pytest.approx(torch.sin(X).sum(1).tolist())
