"""Blur IG against a sum over blurred pictures in a plain loop, and closed forms on linear and quadratic scores."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.target import Class
from pellucid.methods.blur_ig import BlurIG
from pellucid.ops.diffusion import diffused
from pellucid.preprocess import Preprocess
from pellucid.testing import tiny

X = pictures(3)
NET: Any = net(Convnet())


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def close(got: Tensor, wanted: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(got, wanted, rtol=rtol, atol=1e-12)


def slope(x: Tensor, model: Any = NET, target: int = 1) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, target].sum(), leaf)[0]


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_it_is_the_sum_along_the_blurs(rows: int) -> None:
    """Middles of panels in u with σ = σ_max u²; the change of the picture by differences."""
    steps, top = 6, 3.0
    total = torch.zeros_like(X)
    for k in range(steps):
        u = (k + 0.5) / steps
        change = (diffused(X, top * (u + 1e-6) ** 2) - diffused(X, top * (u - 1e-6) ** 2)) / 2e-6
        total -= slope(diffused(X, top * u**2)) * change / steps
    got = one(BlurIG(steps=steps, max_sigma=top, rule="midpoint"), model=wrap(NET, rows=rows)).values
    torch.testing.assert_close(got, total, rtol=1e-6, atol=1e-9)


def test_finer_steps_along_the_way_itself_give_the_same() -> None:
    """Σ g · (L_k − L_{k+1}) over a fine ladder of blurs, without any derivative by σ, on a smooth score."""
    smooth = tiny.make("smooth")
    ladder = [diffused(smooth.x, 2.0 * (k / 600) ** 2) for k in range(601)]
    total = torch.zeros_like(smooth.x)
    for sharp, soft in pairwise(ladder):
        total += slope((sharp + soft) / 2, smooth.module) * (sharp - soft)
    got = one(BlurIG(max_sigma=2.0), model=smooth.module, x=smooth.x).values
    torch.testing.assert_close(got, total, rtol=1e-4, atol=1e-7)


def test_a_linear_score_gives_the_weights_times_the_details() -> None:
    linear = net(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))
    w = linear[1].weight[2].detach().view(3, 8, 8)  # pyright: ignore
    close(one(BlurIG(max_sigma=2.0), target=2, model=linear).values, w * (X - diffused(X, 2.0)))
    flat = X.mean((2, 3), keepdim=True)
    close(one(BlurIG(), target=2, model=linear).values, w * (X - flat), rtol=1e-6)  # nothing but colour is left


def test_the_sum_is_the_difference_from_the_most_blurred() -> None:
    smooth = tiny.make("smooth")
    e = one(BlurIG(max_sigma=3.0), model=smooth.module, x=smooth.x)
    with torch.no_grad():
        wanted = (smooth.module(smooth.x) - smooth.module(diffused(smooth.x, 3.0)))[:, 1]
    close(e.values.flatten(1).sum(1), wanted, rtol=1e-7)
    check = e.check("completeness")
    assert check is not None and check.passed == (True,) * 3


def test_the_units_of_the_rows_do_not_matter() -> None:
    """Blurring rows is blurring pixels: a model behind a normalisation is explained like one with it inside."""
    mean, std = (0.4, 0.5, 0.3), (0.2, 0.3, 0.1)
    way = Preprocess(mean=mean, std=std)
    m, s = (torch.tensor(v, dtype=X.dtype).view(1, 3, 1, 1) for v in (mean, std))

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = NET

        def forward(self, x: Tensor) -> Tensor:
            return self.net((x - m) / s)

    outside = one(BlurIG(steps=8), model=wrap(NET, preprocess=way), x=(X - m) / s).values
    close(outside, one(BlurIG(steps=8), model=Inside()).values, rtol=1e-8)


def test_several_targets_and_rows_are_one_at_a_time() -> None:
    method = BlurIG(steps=4)
    both = explain(NET, X, method, target=[Class(0), Class(3)])
    for e, k in zip(both, (0, 3), strict=True):
        for row in range(3):
            close(e.values[row], one(method, target=k, x=X[row : row + 1]).values[0])


def test_passes() -> None:
    spent = one(BlurIG(steps=8)).record.passes
    assert (spent.rounds, spent.forward, spent.backward) == (1, 3 * 10, 3 * 8)


def test_what_cannot_be_blurred_is_refused() -> None:
    with pytest.raises(InputError, match="pictures"):
        explain(nn.Linear(4, 2), torch.rand(2, 4), BlurIG())
    with pytest.raises(ParameterError, match="max_sigma"):
        BlurIG(max_sigma=0)
