"""Linear models and bias-free rectifier networks, where the right answer can be written down."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid import api
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.methods.expected_gradients import ExpectedGradients
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad, VarGrad
from pellucid.ops.reference import reference
from pellucid.preprocess import Preprocess
from pellucid.testing import tiny
from pellucid.testing.answers import explained

TARGET = 2


def linear(name: str) -> tuple[tiny.Tiny, Tensor]:
    """A linear model, and the weights of the class that is explained, in the shape of a row."""
    model = tiny.make(name)
    weight = next(p for n, p in model.module.named_parameters() if n.endswith("weight"))[TARGET].detach()
    return model, weight.view(model.x.shape[1:])


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted.expand_as(got), rtol=1e-9, atol=1e-12)


LINEAR = pytest.mark.parametrize("name", ["linear_rows", "linear_pictures"])


@LINEAR
@pytest.mark.parametrize("method", [Gradient(), SmoothGrad(), Smooth(method=Gradient()), Integrate(method=Gradient())])
def test_gradients_are_the_weights(name: str, method: object) -> None:
    model, w = linear(name)
    close(explained(method, model, target=TARGET).values, w[None])


@LINEAR
@pytest.mark.parametrize("method", [InputXGradient(), SmoothGrad(times_input=True)])
def test_input_x_gradient_is_w_x(name: str, method: object) -> None:
    model, w = linear(name)
    close(explained(method, model, target=TARGET).values, w * model.x)


@LINEAR
@pytest.mark.parametrize("method", [VarGrad(), SmoothGrad(statistic="variance")])
def test_variance_is_nothing(name: str, method: object) -> None:
    model, w = linear(name)
    assert float(explained(method, model, target=TARGET).values.abs().max()) < 1e-12 * float(w.abs().max())


@LINEAR
def test_smooth_grad_squared_is_w_squared(name: str) -> None:
    model, w = linear(name)
    close(explained(SmoothGrad(statistic="square"), model, target=TARGET).values, w[None] ** 2)


@LINEAR
@pytest.mark.parametrize("baseline", ["black", "white", "gray", "mean", 0.25])
@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint", "trapezoid", "left", "right"])
def test_integrated_gradients_is_w_times_the_way(name: str, baseline: object, rule: str) -> None:
    model, w = linear(name)
    b = reference(baseline, model.x, Preprocess.identity())
    for method in (
        IntegratedGradients(steps=3, baseline=baseline, rule=rule),
        Integrate(method=Gradient(), steps=3, baseline=baseline, rule=rule, times_input=True),
    ):
        close(explained(method, model, target=TARGET).values, w * (model.x - b))


@LINEAR
def test_expected_gradients_is_w_times_the_mean_way(name: str) -> None:
    model, w = linear(name)
    one = ExpectedGradients(baselines=("white",), samples=5)
    close(explained(one, model, target=TARGET).values, w * (model.x - 1))
    e = explained(ExpectedGradients(baselines=("black", "white"), samples=400), model, target=TARGET)
    assert e.std_error is not None
    off = (e.values - w * (model.x - 0.5)).abs() / e.std_error
    assert float(off.max()) < 4.5  # all pixels share the draws: one error, a few hundred times


@LINEAR
def test_expected_gradients_sums_to_the_difference_of_its_draws(name: str) -> None:
    model, _ = linear(name)
    e = explained(ExpectedGradients(baselines=("black", "white"), samples=16), model, target=TARGET)
    assert [c.name for c in e.checks if not all(c.passed)] == []


@pytest.mark.parametrize("window", [1, 2, 4])
def test_occlusion_is_the_mean_of_what_its_windows_take_away(window: int) -> None:
    model, w = linear("linear_pictures")
    share = (w * (model.x - 0.5)).sum(1)  # [batch, height, width], summed over channels
    side = share.shape[-1] // window
    sums = share.view(len(share), side, window, side, window).sum((2, 4))
    wanted = sums.repeat_interleave(window, 1).repeat_interleave(window, 2)
    e = api.explain(
        api.wrap(model.module), model.x, Occlusion(window=window, stride=window), target=TARGET, output="logit"
    )[0]
    close(e.values, wanted)


def test_overlapping_windows_are_averaged() -> None:
    model, w = linear("linear_pictures")
    share = (w * (model.x - 0.5)).sum(1)
    total, count = torch.zeros_like(share), torch.zeros_like(share)
    for i in range(0, 7, 2):
        for j in range(0, 7, 2):
            here = (slice(None), slice(min(i, 5), min(i, 5) + 3), slice(min(j, 5), min(j, 5) + 3))
            total[here] += share[here].sum((1, 2), keepdim=True)
            count[here] += 1
    e = api.explain(api.wrap(model.module), model.x, Occlusion(window=3, stride=2), target=TARGET, output="logit")[0]
    close(e.values, total / count)


def test_a_contrast_is_the_difference() -> None:
    model, _ = linear("linear_rows")
    weight = next(model.module.parameters()).detach()
    e = api.explain(api.wrap(model.module), model.x, "gradient", target=0, versus=3)[0]
    close(e.values, (weight[0] - weight[3])[None])


def test_without_biases_integrated_gradients_from_zero_is_input_x_gradient() -> None:
    """s(a x) = a s(x), so the slope is the same all along the way, and the products sum to the score (LRP-0)."""
    model = tiny.make("bias_free")
    ig = explained(IntegratedGradients(steps=7), model, target=TARGET).values
    xg = explained(InputXGradient(), model, target=TARGET)
    close(ig, xg.values)
    close(xg.values.flatten(1).sum(1), model.module(model.x)[:, TARGET].detach())
    close(torch.tensor(xg.target.score, dtype=torch.float64), model.module(model.x)[:, TARGET].detach())


def test_integrated_gradients_converges_on_a_smooth_model() -> None:
    model = tiny.make("smooth")
    start, end = torch.zeros_like(model.x), model.x
    nodes = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    slow = torch.zeros_like(end)
    for t in nodes.split(100):
        points = (start + t.view(-1, 1, 1, 1, 1) * (end - start)).flatten(0, 1).requires_grad_()
        score = model.module(points)[:, TARGET].sum()
        slow += torch.autograd.grad(score, points)[0].view(100, *end.shape).sum(0) / 2000
    got = explained(IntegratedGradients(steps=32), model, target=TARGET).values
    torch.testing.assert_close(got, slow * end, rtol=1e-5, atol=1e-8)
