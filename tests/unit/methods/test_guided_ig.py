"""Guided IG against its algorithm in a plain loop over one row and target, and its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.target import Class
from pellucid.methods.guided_ig import GuidedIG, advance
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.testing import tiny

X = pictures(3)
NET: Any = net(Convnet())


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-11)


def slope(x: np.ndarray, target: int) -> np.ndarray:
    leaf = torch.from_numpy(x).requires_grad_()
    return torch.autograd.grad(NET(leaf[None])[0, target], leaf)[0].numpy()


def by_hand(x: np.ndarray, target: int, steps: int, fraction: float, reach: float, rule: str) -> np.ndarray:
    """One row, from black: in each step groups of features, the flattest first, go as far as they may until the rest
    of the way, in L1, is what it should be; the group with which that is reached goes a part."""
    place, total, count = np.zeros_like(x), np.zeros_like(x), max(1, int(fraction * (x.size - 1)) + 1)
    g = slope(place, target)
    for step in range(1, steps + 1):
        before = place.copy()
        near, far = max(step / steps - reach, 0) * x, min(step / steps + reach, 1) * x
        place = np.where(np.abs(place) < np.abs(near), near, place)
        wanted = np.abs(x).sum() * (1 - step / steps)
        while np.abs(x - place).sum() > wanted + 1e-9:
            waiting = [i for i in np.ndindex(x.shape) if abs(place[i]) < abs(far[i]) - 1e-12]
            limit = sorted(abs(g[i]) for i in waiting)[:count][-1] * (1 + 1e-12)
            group = [i for i in waiting if abs(g[i]) <= limit]
            room = sum(abs(far[i] - place[i]) for i in group)
            part = min(1.0, (np.abs(x - place).sum() - wanted) / room)
            for i in group:
                place[i] += part * (far[i] - place[i])
        after = slope(place, target)
        total += (place - before) * ((g + after) / 2 if rule == "trapezoid" else g)
        g = after
    return total


@pytest.mark.parametrize(
    ("steps", "fraction", "reach", "rule"),
    [(5, 0.25, 0.02, "left"), (5, 0.25, 0.3, "trapezoid"), (4, 0.1, 1.0, "trapezoid"), (3, 1.0, 0.5, "left")],
)
def test_it_is_the_algorithm_of_the_paper(steps: int, fraction: float, reach: float, rule: str) -> None:
    method = GuidedIG(steps=steps, fraction=fraction, max_dist=reach, rule=rule)
    for target in (0, 1):
        got = one(method, target=target).values
        for row, x in zip(got, X.numpy(), strict=True):
            close(row, torch.from_numpy(by_hand(x, target, steps, fraction, reach, rule)))


@pytest.mark.parametrize("baseline", ["black", 0.3])
def test_without_any_freedom_it_is_the_straight_line(baseline: Any) -> None:
    got = one(GuidedIG(steps=6, max_dist=0.0, rule="left", baseline=baseline)).values
    close(got, one(IntegratedGradients(steps=6, rule="left", baseline=baseline)).values)
    got = one(GuidedIG(steps=6, max_dist=0.0, baseline=baseline)).values
    close(got, one(IntegratedGradients(steps=7, rule="trapezoid", baseline=baseline)).values)


def test_a_linear_score_does_not_depend_on_the_path() -> None:
    linear = net(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    w = linear[1].weight[2].detach().view(3, 8, 8)  # pyright: ignore
    for method in (GuidedIG(steps=5, max_dist=1.0), GuidedIG(steps=5, rule="left", fraction=0.6)):
        close(one(method, target=2, model=linear).values, w * X)


class Product(nn.Module):
    """s = x₀ x₁, flat in x₁ where x₀ is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] * x[:, 1], -x[:, 0]], 1)


def test_the_flat_direction_goes_first() -> None:
    """From (0.1, 0.2) the slope in x₁ is the smaller: unbounded, x₁ goes all its way at x₀ = 0.1, and then x₀ at 1."""
    x, b = torch.tensor([[0.6, 1.0]]), torch.tensor([0.1, 0.2])
    path = GuidedIG(steps=130, baseline=b, fraction=0.5, max_dist=1.0)
    got = explain(Product(), x, path, target=0)[0].values[0]
    torch.testing.assert_close(got, torch.tensor([(0.6 - 0.1) * 1.0, 0.1 * (1.0 - 0.2)]))
    straight = explain(Product(), x, IntegratedGradients(baseline=b), target=0)[0].values[0]
    assert not torch.allclose(got, straight, rtol=0.05)


def test_the_sum_is_the_difference_of_scores() -> None:
    smooth = tiny.make("smooth")
    with torch.no_grad():
        wanted = (smooth.module(smooth.x) - smooth.module(torch.zeros_like(smooth.x)))[:, 1]
    gaps = []
    for steps in (8, 64):
        e = one(GuidedIG(steps=steps), model=smooth.module, x=smooth.x)
        gaps.append(float(((e.values.flatten(1).sum(1) - wanted) / wanted).abs().max()))
    assert gaps[0] < 0.1 and gaps[1] < 1e-3
    check = e.check("completeness")
    assert check is not None and check.passed == (True,) * 3
    assert max(check.value) == pytest.approx(gaps[1])


@given(st.integers(0, 99), st.floats(0.01, 1), st.floats(0, 1), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_every_step_goes_as_far_as_it_should_within_its_bounds(
    seed: int, fraction: float, reach: float, steps: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    length = torch.rand(2, 9, generator=draw, dtype=torch.float64) * (torch.rand(2, 9, generator=draw) > 0.3)
    done = torch.zeros(3, 2, 9, dtype=torch.float64)
    for step in range(1, steps + 1):
        at = step / steps
        slope = torch.randn(3, 2, 9, generator=draw, dtype=torch.float64).round(decimals=1)  # some are equal
        further = advance(done, slope, length, at, fraction, reach)
        assert bool((further >= done).all())
        assert float(further.min()) >= at - reach - 1e-12
        assert float((further * (length > 0)).max()) <= max(at + reach, 0) + 1e-12
        whole = length.sum(1).clamp_min(1e-9)
        torch.testing.assert_close((further * length).sum(2) / whole, (at * length.sum(1) / whole).expand(3, 2))
        done = further
    assert bool((done == 1).all())


def test_equal_gradients_move_together() -> None:
    slope = torch.tensor([1.0, 1.0 + 1e-15, 3.0, 1.0]).double().view(1, 1, 4)
    got = advance(torch.zeros_like(slope), slope, torch.ones(1, 4).double(), 0.25, 0.25, 1.0)
    torch.testing.assert_close(got.view(4), torch.tensor([1 / 3, 1 / 3, 0, 1 / 3]).double())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_to_an_end(dtype: torch.dtype) -> None:
    model: Any = net(Convnet()).to(dtype)
    got = one(GuidedIG(steps=16), model=model, x=X.to(dtype)).values
    assert float((got.double() - one(GuidedIG(steps=16)).values).norm() / got.double().norm()) < 0.2


def test_steps_that_rounding_swallows_end_too() -> None:
    done, length = torch.full((1, 1, 4), 0.5, dtype=torch.bfloat16), torch.ones(1, 4, dtype=torch.bfloat16)
    assert torch.equal(advance(done, torch.ones_like(done), length, 0.5005, 1.0, 1.0), done)


def test_what_does_not_differ_from_the_baseline_gets_nothing() -> None:
    x = X.clone()
    x[:, 1] = 0
    e = one(GuidedIG(steps=4), x=x)
    assert not e.values[:, 1].any()
    assert e.values[:, 0].any()
    assert not one(GuidedIG(steps=4), x=torch.zeros_like(X)).values.any()


def test_several_targets_have_their_own_paths() -> None:
    method = GuidedIG(steps=4, max_dist=0.5)
    for rows in (1, 2, 64):
        both = explain(wrap(NET, rows=rows), X, method, target=[Class(0), Class(3)])
        for e, k in zip(both, (0, 3), strict=True):
            close(e.values, one(method, target=k).values)
    assert both[0].record.passes.rounds == 4


def test_rows_do_not_see_each_other() -> None:
    method = GuidedIG(steps=5, max_dist=0.5)
    for row, values in enumerate(one(method).values):
        close(one(method, x=X[row : row + 1]).values[0], values)


def test_passes() -> None:
    """One round per step; a gradient at both ends of every step, the clean row being the last end."""
    spent = one(GuidedIG(steps=8)).record.passes
    assert (spent.rounds, spent.forward, spent.backward) == (8, 3 * 9, 3 * 9)
    spent = one(GuidedIG(steps=8, rule="left")).record.passes
    assert (spent.rounds, spent.forward, spent.backward) == (8, 3 * 9, 3 * 8)


@pytest.mark.parametrize("wrong", [{"fraction": 0}, {"fraction": 1.5}, {"max_dist": -0.1}, {"max_dist": 2.0}])
def test_parameters_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="guided_ig"):
        GuidedIG(**wrong)
