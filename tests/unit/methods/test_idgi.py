"""IDGI against its algorithm in a plain loop, and the axioms that make it IDGI."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.explanation import Explanation
from pellucid.core.target import Class, Each
from pellucid.methods.idgi import IDGI
from pellucid.methods.integrated_gradients import IntegratedGradients

X = pictures(3)
NET: Any = net(Convnet())


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def by_hand(model: Any, x: Tensor, start: Tensor, steps: int, target: int) -> Tensor:
    """One row: of every step, its change of score along the square of its gradient."""
    total = torch.zeros_like(x)
    for k in range(steps):
        here = (start + k / steps * (x - start)).requires_grad_()
        there = start + (k + 1) / steps * (x - start)
        s = model(here[None])[0, target]
        g = torch.autograd.grad(s, here)[0]
        total += g**2 / (g**2).sum() * (model(there[None])[0, target] - s).detach()
    return total


@pytest.mark.parametrize("rows", [1, 2, 5, 64])
@pytest.mark.parametrize("baseline", ["black", 0.4])
def test_it_is_the_algorithm_of_the_paper_however_the_rows_are_chunked(baseline: Any, rows: int) -> None:
    start = torch.full_like(X[0], 0.0 if baseline == "black" else baseline)
    got = one(IDGI(steps=7, baseline=baseline), model=wrap(NET, rows=rows)).values
    for row, x in zip(got, X, strict=True):
        torch.testing.assert_close(row, by_hand(NET, x, start, 7, 1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_the_sum_is_the_difference_of_scores_whatever_the_steps(steps: int) -> None:
    e = one(IDGI(steps=steps))
    with torch.no_grad():
        wanted = (NET(X) - NET(torch.zeros_like(X)))[:, 1]
    torch.testing.assert_close(e.values.flatten(1).sum(1), wanted, rtol=1e-9, atol=1e-12)
    assert e.check("completeness").passed == (True,) * 3  # pyright: ignore[reportOptionalMemberAccess]


def test_a_linear_score_goes_to_the_squares_of_the_weights() -> None:
    linear = net(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    w = linear[1].weight[2].detach().view(3, 8, 8)  # pyright: ignore
    rise = (X * w).flatten(1).sum(1)
    wanted = w**2 / (w**2).sum() * rise.view(-1, 1, 1, 1)
    torch.testing.assert_close(one(IDGI(), target=2, model=linear).values, wanted, rtol=1e-9, atol=1e-12)


class Square(nn.Module):
    """s = (Σ_i c_i x_i)², and its half."""

    def forward(self, x: Tensor) -> Tensor:
        c = torch.arange(1.0, 5.0, dtype=x.dtype)
        s = (x * c).sum(1, keepdim=True) ** 2
        return torch.cat([s, s / 2], 1)


def test_where_the_direction_never_turns_the_rise_follows_it() -> None:
    x, c = torch.tensor([[0.5, -0.25, 1.0, 2.0]]), torch.arange(1.0, 5.0)
    wanted = c**2 / (c**2).sum() * (x @ c) ** 2
    got = explain(Square(), x, IDGI(steps=5, baseline=0.001), target=0)[0]
    start = (torch.full_like(x, 0.001) @ c) ** 2
    torch.testing.assert_close(got.values[0], wanted - c**2 / (c**2).sum() * start)


def test_what_a_dead_start_keeps_is_shown() -> None:
    """At zero the gradient of a square vanishes: the first step's change has nobody to go to, and the check is red."""
    x = torch.tensor([[0.5, -0.25, 1.0, 2.0]], dtype=torch.float64)
    e = explain(Square(), x, IDGI(steps=2), target=0)[0]
    check = e.check("completeness")
    assert check is not None
    assert check.passed == (False,)
    assert check.value[0] == pytest.approx(0.25)
    assert bool(torch.isfinite(e.values).all())


def test_gradients_too_small_to_be_squared_still_share() -> None:
    x = torch.rand(1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    small = nn.Linear(4, 2)
    with torch.no_grad():
        small.weight.copy_(torch.arange(8.0).view(2, 4) * 1e-30)
        small.bias.zero_()
    got = explain(small, x, IDGI(), target=1)[0].values
    w = small.weight[1].detach().double()
    wanted = w**2 / (w**2).sum() * (x.double() @ w)
    torch.testing.assert_close(got.double()[0], wanted, rtol=1e-4, atol=0.0)


def test_several_targets_are_one_at_a_time() -> None:
    both = explain(NET, X, IDGI(steps=4), target=[Class(0), Class(3)])
    for e, k in zip(both, (0, 3), strict=True):
        torch.testing.assert_close(e.values, one(IDGI(steps=4), target=k).values, rtol=1e-9, atol=1e-12)
    each = explain(NET, X, IDGI(steps=4), target=Each([2, 0, 1]))[0].values
    for row, k in enumerate((2, 0, 1)):
        torch.testing.assert_close(each[row], one(IDGI(steps=4), target=k).values[row], rtol=1e-9, atol=1e-12)


def test_passes() -> None:
    """One gradient per step, whose pass gives the score too; the clean row gives the last score."""
    spent = one(IDGI(steps=8)).record.passes
    assert (spent.rounds, spent.forward, spent.backward) == (1, 3 * (8 + 1), 3 * 8)
    both = explain(NET, X, [IDGI(steps=8), IntegratedGradients(steps=8, rule="left")], target=1)[0].record.passes
    assert both.backward == spent.backward  # the same points
