"""Games of rows of numbers: every column plays, or every group of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import LIME, Banzhaf, ExactShapley, FeatureAblation, KernelSHAP, PermutationSHAP
from pellucid.core.ask import Can
from pellucid.core.errors import ParameterError, UnsupportedModel
from pellucid.core.points import generator

W = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
X = torch.randn(3, 4, generator=generator(0, "columns"), dtype=torch.float64)
GROUND = torch.randn(5, 4, generator=generator(1, "columns"), dtype=torch.float64)
SHAPLEY = [KernelSHAP, ExactShapley, PermutationSHAP, Banzhaf]


def linear() -> Any:
    net = torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        net.weight.copy_(W)
    return net


def curved(rows: torch.Tensor) -> torch.Tensor:
    return torch.stack([rows.prod(1), rows.square().sum(1)], 1)


@pytest.mark.parametrize("method", SHAPLEY)
def test_a_linear_model_gives_each_column_its_weight_times_its_way_from_the_mean_background(method: Any) -> None:
    (got,) = pellucid.explain(linear(), X, method(fill=GROUND), target=1, output="logit")
    assert torch.allclose(got.values, W[1] * (X - GROUND.mean(0)), atol=1e-9)
    assert got.dims == ("batch", "feature")


@pytest.mark.parametrize("method", [*SHAPLEY, FeatureAblation])
def test_groups_play_together(method: Any) -> None:
    (got,) = pellucid.explain(linear(), X, method(regions=[7, 7, 2, 2]), target=0, output="logit")
    parts = W[0] * X
    assert torch.allclose(got.extras["players"], torch.stack([parts[:, 2:].sum(1), parts[:, :2].sum(1)], 1), atol=1e-9)
    assert torch.equal(got.values[:, 0], got.values[:, 1])


def test_many_backgrounds_are_the_mean_over_games_with_one() -> None:
    model = pellucid.wrap(curved)
    apart = [pellucid.explain(model, X, ExactShapley(fill=g), target=0)[0].values for g in GROUND]
    (together,) = pellucid.explain(model, X, ExactShapley(fill=GROUND), target=0)
    assert torch.allclose(together.values, torch.stack(apart).mean(0), atol=1e-12)


def test_a_function_is_as_good_as_a_module_for_games_and_refuses_gradients() -> None:
    model = pellucid.wrap(lambda rows: (rows @ W.T).numpy(), name="by hand")
    (got,) = pellucid.explain(model, X, LIME(ridge=0.0, samples=64), target=0, output="logit")
    assert np.allclose(got.values, W[0] * X, atol=1e-9)
    assert model.can == {Can.SCORE}
    with pytest.raises(UnsupportedModel, match="can only be asked for score"):
        pellucid.explain(model, X, "gradient")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ParameterError, match="every column's group, 4 numbers"):
        pellucid.explain(linear(), X, LIME(regions=[0, 1]))
    with pytest.raises(ParameterError, match="every column's group"):
        pellucid.explain(linear(), X, LIME(regions="slic"))
    with pytest.raises(ParameterError, match="one row of 4 numbers"):
        pellucid.explain(linear(), X, LIME(fill=torch.zeros(2, 5)))


def test_inpainting_a_region_continues_what_surrounds_it() -> None:
    """A ramp is harmonic: what is taken out of it comes back, and hiding a part of it changes nothing."""
    ramp = (torch.arange(12.0)[:, None] + 2 * torch.arange(12.0)).double() / 40
    picture = ramp.expand(1, 3, 12, 12).clone()
    picture[0, :, 5, 5] += 0.3
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(432, 2)).double()
    labels = torch.zeros(12, 12, dtype=torch.int64)
    labels[2:4, 7:10], labels[4:7, 4:7] = 1, 2
    (got,) = pellucid.explain(net, picture, FeatureAblation(regions=labels, fill="inpaint"), target=0, output="logit")
    weight = net[1].weight[0].detach().view(3, 12, 12)  # pyright: ignore
    assert got.extras["players"][0, 1] == pytest.approx(0, abs=1e-4)
    assert got.extras["players"][0, 2] == pytest.approx(float(0.3 * weight[:, 5, 5].sum()), abs=2e-4)
