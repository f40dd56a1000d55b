"""Each method against a slow second derivation: recorded activations and numpy, loops, sums over steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.unit.models import Calls, Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import InputError, ParameterError, SiteError
from pellucid.core.explanation import Check, Explanation, Kind
from pellucid.core.points import generator, normal
from pellucid.core.target import Unit
from pellucid.methods.cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.methods.expected_gradients import ExpectedGradients
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.guided_grad_cam import GuidedGradCAM
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.internal import Conductance, InternalInfluence
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad, VarGrad
from pellucid.ops.quadrature import gauss_legendre
from pellucid.preprocess import Preprocess

Array = NDArray[np.float64]
X = pictures(3)
NET: Any = net(Convnet())


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def score(x: Tensor, target: int = 1) -> Tensor:
    return NET(x)[:, target]


def slope(x: Tensor, target: int = 1) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(score(leaf, target).sum(), leaf)[0]


def check(e: Explanation, name: str = "completeness") -> Check:
    found = e.check(name)
    assert found is not None
    return found


def close(got: Tensor, wanted: Tensor | Array, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(got, torch.as_tensor(wanted).detach(), rtol=rtol, atol=1e-12)


# -- gradients ---------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = wrap(
        net(Calls(lambda m, x: m.fc(torch.tanh(m.conv(x)).flatten(1)), conv=nn.Conv2d(3, 2, 3), fc=nn.Linear(72, 4)))
    )
    got = one(Gradient(), model=model).values
    for place in ((0, 0, 0), (1, 3, 4), (2, 7, 7)):
        step = torch.zeros_like(X)
        step[(slice(None), *place)] = 1e-5
        rise = (model.module(X + step) - model.module(X - step))[:, 1] / 2e-5
        close(got[(slice(None), *place)], rise, rtol=1e-6)


def test_input_x_gradient_is_the_product() -> None:
    close(one(InputXGradient()).values, X * slope(X))


# -- class activation maps ---------------------------------------------------------------------------------------


def recorded(layer: str = "relu1") -> tuple[Array, Array]:
    """Activation and gradient of the layer, [batch, channel, height, width]."""
    kept: list[Tensor] = []
    hook = NET.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    out = score(X.clone().requires_grad_())
    hook.remove()
    return kept[0].detach().numpy(), torch.autograd.grad(out.sum(), kept[0])[0].numpy()


def grad_cam(a: Array, g: Array) -> Array:
    return np.einsum("bk,bkij->bij", g.mean((2, 3)), a)


def grad_cam_plus_plus(a: Array, g: Array) -> Array:
    out = np.zeros((len(a), *a.shape[2:]))
    for b in range(len(a)):
        for k in range(a.shape[1]):
            weight = 0.0
            for i, j in np.ndindex(*a.shape[2:]):
                below = 2 * g[b, k, i, j] ** 2 + a[b, k].sum() * g[b, k, i, j] ** 3
                alpha = 0.0 if below == 0 else g[b, k, i, j] ** 2 / below
                weight += alpha * max(g[b, k, i, j], 0)
            out[b] += weight * a[b, k]
    return out


def x_grad_cam(a: Array, g: Array) -> Array:
    total = a.sum((2, 3))
    weight = np.divide((a * g).sum((2, 3)), total, out=np.zeros_like(total), where=total != 0)
    return np.einsum("bk,bkij->bij", weight, a)


CAMS: dict[Any, Callable[[Array, Array], Array]] = {
    GradCAM: grad_cam,
    GradCAMPlusPlus: grad_cam_plus_plus,
    XGradCAM: x_grad_cam,
    HiResCAM: lambda a, g: (g * a).sum(1),
    LayerCAM: lambda a, g: (np.maximum(g, 0) * a).sum(1),
}


@pytest.mark.parametrize("layer", ["conv1", "relu1", "relu2"])
@pytest.mark.parametrize("cam", CAMS, ids=lambda c: c.__name__)
def test_a_cam_is_its_formula(cam: Any, layer: str) -> None:
    wanted = CAMS[cam](*recorded(layer))
    assert np.abs(wanted).max() > 0
    close(one(cam(at=layer, relu=False)).values, wanted)
    close(one(cam(at=layer)).values, np.maximum(wanted, 0))


def test_a_cam_is_on_the_layers_own_grid() -> None:
    got = one(GradCAM(at="relu2"))
    assert (got.dims, tuple(got.values.shape), got.kind) == (("batch", "height", "width"), (3, 4, 4), Kind.CAM)
    assert got.record.at == "relu2"


def test_dead_channels_are_nothing_and_not_nan() -> None:
    dead: Any = net(Convnet())
    with torch.no_grad():
        dead.bn1.weight[0], dead.bn1.bias[0] = 0.0, -1.0
        dead.conv2.weight[:, 1] = 0
    for cam in CAMS:
        assert bool(torch.isfinite(one(cam(at="relu1", relu=False), model=dead).values).all())


@pytest.mark.parametrize("cam", [*CAMS, GuidedGradCAM], ids=lambda c: c.__name__)
def test_a_cam_of_a_layer_without_places_is_refused(cam: Any) -> None:
    with pytest.raises(SiteError, match="without height and width"):
        one(cam(at="fc"))


def test_guided_grad_cam_is_the_product_at_the_inputs_size() -> None:
    cam = np.maximum(grad_cam(*recorded("relu2")), 0)
    big = torch.nn.functional.interpolate(torch.from_numpy(cam)[:, None], (8, 8), mode="bilinear", align_corners=False)
    close(one(GuidedGradCAM(at="relu2")).values, one("guided_backprop").values * big)


# -- noise -------------------------------------------------------------------------------------------------------


def noisy(samples: int, spread: float, seed: int) -> Tensor:
    """Gradients at the noisy points, [samples, batch, ...]."""
    span = X.flatten(1).amax(1) - X.flatten(1).amin(1)
    std = spread * span.view(-1, 1, 1, 1)
    return torch.stack([slope(X + std * normal(X.shape[1:], seed, k, like=X)) for k in range(samples)])


def test_smooth_grad_and_its_relatives_are_moments_of_the_same_gradients() -> None:
    g = noisy(5, 0.2, seed=3)
    params: Any = {"samples": 5, "spread": 0.2, "seed": 3}
    close(one(SmoothGrad(**params)).values, g.mean(0))
    close(one(SmoothGrad(**params, statistic="square")).values, g.square().mean(0))
    close(one(SmoothGrad(**params, statistic="variance")).values, g.var(0))
    close(one(SmoothGrad(**params, times_input=True)).values, X * g.mean(0))
    close(one(VarGrad(**params)).values, g.var(0))


def test_the_standard_error_is_that_of_the_mean() -> None:
    g = noisy(5, 0.15, seed=0)
    got = one(SmoothGrad(samples=5))
    close(got.std_error, g.std(0) / 5**0.5)  # pyright: ignore
    assert check(got, "noise").value == pytest.approx(
        ((g.std(0) / 5**0.5).flatten(1).norm(dim=1) / g.mean(0).flatten(1).norm(dim=1)).tolist()
    )


def test_one_draw_has_no_standard_error_and_no_variance() -> None:
    assert one(SmoothGrad(samples=1)).std_error is None
    with pytest.raises(ParameterError, match="single draw"):
        one(SmoothGrad(samples=1, statistic="variance"))


def test_without_noise_smooth_grad_is_the_gradient() -> None:
    close(one(SmoothGrad(samples=3, spread=0.0)).values, slope(X))


def test_times_input_goes_with_the_mean_alone() -> None:
    with pytest.raises(ParameterError, match="statistic='mean'"):
        one(SmoothGrad(times_input=True, statistic="square"))


def test_noise_is_in_pixels_whatever_the_normalisation() -> None:
    """A model that undoes a normalisation gets the same map, in other units."""
    std = (0.2, 0.5, 2.0)
    way = Preprocess(mean=(0.1, 0.2, 0.3), std=std)
    undone = Calls(lambda m, x: m.inner(way.to_pixels(x)), inner=NET)
    got = one(SmoothGrad(samples=3), model=wrap(undone, way), x=way.to_rows(X)).values
    wanted = one(SmoothGrad(samples=3)).values * torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1)
    close(got, wanted, rtol=1e-6)


# -- paths -------------------------------------------------------------------------------------------------------


def integral(base: Tensor, steps: int) -> Tensor:
    t, w = gauss_legendre(steps)
    return (X - base) * torch.stack([v * slope(base + u * (X - base)) for u, v in zip(t, w, strict=True)]).sum(0)


def test_integrated_gradients_is_the_sum_over_its_nodes() -> None:
    close(one(IntegratedGradients(steps=5)).values, integral(torch.zeros_like(X), 5))
    close(one(IntegratedGradients(steps=5, baseline=0.5)).values, integral(torch.full_like(X, 0.5), 5))


def test_several_baselines_are_averaged() -> None:
    got = one(IntegratedGradients(steps=4, baseline=("black", "white")))
    close(got.values, (integral(torch.zeros_like(X), 4) + integral(torch.ones_like(X), 4)) / 2)
    gap = score(X) - (score(torch.zeros_like(X)) + score(torch.ones_like(X))) / 2
    wanted = ((got.values.flatten(1).sum(1) - gap).abs() / gap.abs()).tolist()
    assert check(got).value == pytest.approx(wanted, rel=1e-6)


def test_a_baseline_for_every_picture() -> None:
    close(one(IntegratedGradients(steps=4, baseline=X.flip(0))).values, integral(X.flip(0), 4))


def test_the_completeness_gap_is_reported_and_falls_with_the_steps() -> None:
    coarse, fine = (one(IntegratedGradients(steps=n, rule="left")) for n in (2, 256))
    difference = (score(X) - score(torch.zeros_like(X))).detach()
    for got in (coarse, fine):
        gap = (got.values.flatten(1).sum(1) - difference).abs() / difference.abs()
        assert check(got).value == pytest.approx(gap.tolist(), rel=1e-6)
    assert max(check(fine).value) < min(0.05, max(check(coarse).value) / 4)
    assert all(check(fine).passed)


def test_too_few_steps_turn_the_check_red() -> None:
    steep = net(
        Calls(
            lambda m, x: torch.sigmoid(60 * (x.flatten(1).mean(1, keepdim=True) - 0.35)) @ m.fc.weight.T,
            fc=nn.Linear(1, 2),
        )
    )
    got = one(IntegratedGradients(steps=1), model=steep)
    assert not any(check(got).passed)


def test_steps_are_doubled_row_by_row_until_the_gap_is_small_enough() -> None:
    full = [one(IntegratedGradients(steps=n, rule="left")) for n in (2, 4, 8, 16, 32, 64)]
    gaps = np.array([check(e).value for e in full])
    got = one(IntegratedGradients(steps=2, rule="left", tolerance=0.02, max_steps=64))
    for row in range(3):
        at = next((i for i, gap in enumerate(gaps[:, row]) if gap <= 0.02), len(full) - 1)
        assert got.extras["steps"][row] == 2 ** (at + 1)
        close(got.values[row], full[at].values[row])
    assert check(got).limit == 0.02


def test_a_row_does_not_depend_on_how_long_the_others_take() -> None:
    adaptive = IntegratedGradients(steps=1, rule="left", tolerance=0.03, max_steps=32)
    together = one(adaptive)
    for row in range(3):
        alone = one(adaptive, x=X[row : row + 1])
        close(together.values[row : row + 1], alone.values)
        assert together.extras["steps"][row] == alone.extras["steps"][0]


def test_doubling_ends_at_the_most_steps_with_a_red_check() -> None:
    got = one(IntegratedGradients(steps=1, rule="left", tolerance=0.0, max_steps=6))
    assert got.extras["steps"].tolist() == [4, 4, 4]
    assert not any(check(got).passed)


def test_integrated_gradients_at_a_layer_is_complete_between_its_activations() -> None:
    got = one(IntegratedGradients(at="relu1", steps=256))
    assert got.values.shape == (3, 4, 8, 8)
    difference = (score(X) - score(torch.zeros_like(X))).detach()
    close(got.values.flatten(1).sum(1), difference, rtol=0.01)


def test_conductance_is_the_sum_over_its_panels_and_complete() -> None:
    got = one(Conductance(at="relu1", steps=100))
    assert max(check(got).value) < 0.02
    acts, grads = [], []
    for k in range(101):
        kept: list[Tensor] = []
        hook = NET.relu1.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o))
        out = score((X * (k / 100)).requires_grad_())
        hook.remove()
        acts.append(kept[0].detach())
        grads.append(torch.autograd.grad(out.sum(), kept[0])[0])
    wanted = sum((grads[k] + grads[k - 1]) / 2 * (acts[k] - acts[k - 1]) for k in range(1, 101))
    close(got.values, wanted)  # pyright: ignore


def test_conductance_says_by_how_much_it_is_incomplete() -> None:
    got = one(Conductance(at="relu1", steps=3))
    difference = (score(X) - score(torch.zeros_like(X))).detach()
    gap = (got.values.flatten(1).sum(1) - difference).abs() / difference.abs()
    assert check(got).value == pytest.approx(gap.tolist(), rel=1e-6)


def test_internal_influence_is_the_mean_gradient_of_the_layer() -> None:
    t, w = gauss_legendre(4)
    total = torch.zeros(3, 4, 8, 8, dtype=torch.float64)
    for u, v in zip(t, w, strict=True):
        kept: list[Tensor] = []
        hook = NET.relu1.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o))
        out = score((X * u).requires_grad_())
        hook.remove()
        total += v * torch.autograd.grad(out.sum(), kept[0])[0]
    close(one(InternalInfluence(at="relu1", steps=4)).values, total)


# -- expected gradients ------------------------------------------------------------------------------------------


def test_expected_gradients_is_the_mean_over_its_draws() -> None:
    got = one(ExpectedGradients(samples=6, baselines=("black", 0.5), seed=2))
    draw = generator(2, "expected gradients")
    which = torch.randint(2, (6,), generator=draw).tolist()
    t = torch.rand(6, generator=draw, dtype=torch.float64).tolist()
    each = []
    for b, u in zip(which, t, strict=True):
        base = torch.full_like(X, (0.0, 0.5)[b])
        each.append((X - base) * slope(base + u * (X - base)))
    close(got.values, torch.stack(each).mean(0))
    close(got.std_error, torch.stack(each).std(0) / 6**0.5)  # pyright: ignore


def test_the_standard_error_of_expected_gradients_is_the_spread_over_seeds() -> None:
    runs = [one(ExpectedGradients(samples=32, seed=s), x=X[:1]) for s in range(40)]
    told = torch.stack([e.std_error.square() for e in runs]).mean().sqrt()  # pyright: ignore
    seen = torch.stack([e.values for e in runs]).var(0).mean().sqrt()
    assert float(told / seen) == pytest.approx(1, abs=0.15)


def test_expected_gradients_converge_to_integrated_gradients_for_one_baseline() -> None:
    got = one(ExpectedGradients(samples=600, baselines="black"), x=X[:1])
    exact = one(IntegratedGradients(steps=200), x=X[:1])
    distance = (got.values - exact.values).abs() / got.std_error.clamp_min(1e-9)  # pyright: ignore
    assert float(distance.square().mean().sqrt()) < 1.5


def test_the_sum_of_a_linear_model_is_exact_and_its_check_does_not_stumble_over_rounding() -> None:
    linear = net(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), torch.float32)
    got = one(ExpectedGradients(baselines="black"), model=linear, x=X.float())
    assert all(check(got).passed)


def test_a_wrong_sum_turns_the_check_red() -> None:
    """Noise moves the input away from the one whose score is compared."""
    got = one(ExpectedGradients(samples=200, baselines="black", spread=3.0))
    assert not all(check(got).passed)


def test_the_default_backgrounds_fit_rows_of_any_shape() -> None:
    mixed = net(nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 5)))
    got = one(ExpectedGradients(), model=mixed, x=torch.rand(2, 7, generator=generator(4), dtype=torch.float64))
    assert got.values.shape == (2, 7)
    assert all(check(got).passed)


@pytest.mark.parametrize("method", [ExpectedGradients(baselines=()), IntegratedGradients(baseline=())])
def test_no_baselines_are_refused(method: Any) -> None:
    with pytest.raises(ParameterError, match="no baselines"):
        one(method)


# -- occlusion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "stride"), [(3, 2), ((2, 5), (1, 3)), (8, 8), (1, 1), ((1, 1), None), ((3, 1), None), (3, None)]
)
def test_occlusion_is_a_loop_over_windows(window: Any, stride: Any) -> None:
    got = one(Occlusion(window=window, stride=stride, fill="white"), output="logit")
    h, w = (window, window) if isinstance(window, int) else window
    s = (
        tuple(max(1, n // 2) for n in (h, w))
        if stride is None
        else ((stride, stride) if isinstance(stride, int) else stride)
    )
    total, times = torch.zeros(3, 8, 8, dtype=torch.float64), torch.zeros(8, 8)
    for i in sorted({*range(0, 8 - h + 1, s[0]), 8 - h}):
        for j in sorted({*range(0, 8 - w + 1, s[1]), 8 - w}):
            hidden = X.clone()
            hidden[:, :, i : i + h, j : j + w] = 1
            total[:, i : i + h, j : j + w] += (score(X) - score(hidden)).detach().view(3, 1, 1)
            times[i : i + h, j : j + w] += 1
    close(got.values, total / times)


def test_occlusion_explains_the_probability_unless_told_otherwise() -> None:
    got = one(Occlusion(window=8, stride=8, fill=0.25))
    drop = (NET(X).softmax(1) - NET(torch.full_like(X, 0.25)).softmax(1))[:, 1].detach()
    close(got.values, drop.view(3, 1, 1).expand(3, 8, 8))
    assert got.target.output == "probability"


def test_occlusion_of_a_model_without_probabilities_explains_the_value() -> None:
    model = Calls(lambda m, x: m.inner(x)[:, :1], inner=NET)
    got = one(Occlusion(window=8, stride=8, fill="black"), target=0, model=model)
    assert got.target.output == "value"
    close(got.values[:, 0, 0], (score(X, 0) - score(X * 0, 0)))


@pytest.mark.parametrize("window", [2.5, "big", (1, 2, 3), 0, -1, 9, True])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    with pytest.raises(ParameterError, match="window"):
        one(Occlusion(window=window))


def test_occlusion_needs_pictures() -> None:
    with pytest.raises(InputError, match="pictures"):
        one(Occlusion(), model=net(nn.Linear(4, 3)), x=torch.rand(2, 4, dtype=torch.float64))


# -- combinators -------------------------------------------------------------------------------------------------


def test_smoothed_gradients_are_smooth_grad() -> None:
    for statistic in ("mean", "square", "variance"):
        params: Any = {"samples": 4, "spread": 0.1, "seed": 5, "statistic": statistic}
        ours, theirs = one(Smooth(method=Gradient(), **params)), one(SmoothGrad(**params))
        close(ours.values, theirs.values)
        assert ours.kind is theirs.kind


def test_integrated_gradient_times_input_is_integrated_gradients() -> None:
    got = one(Integrate(method=Gradient(), steps=6, baseline="white", times_input=True))
    close(got.values, one(IntegratedGradients(steps=6, baseline="white")).values)
    assert got.kind is Kind.CONTRIBUTION


def test_a_smoothed_cam_is_the_mean_of_cams_at_noisy_inputs_for_the_clean_target() -> None:
    span = X.flatten(1).amax(1) - X.flatten(1).amin(1)
    std = 0.5 * span.view(-1, 1, 1, 1)
    top = NET(X).argmax(1).tolist()
    each = [
        torch.cat(
            [
                one(GradCAM(), target=top[b], x=(X + std * normal(X.shape[1:], 0, k, like=X))[b : b + 1]).values
                for b in range(3)
            ]
        )
        for k in range(3)
    ]
    got = one(Smooth(method=GradCAM(), samples=3, spread=0.5), target=None)
    close(got.values, torch.stack(each).mean(0))
    assert (got.dims, got.kind, got.record.at) == (("batch", "height", "width"), Kind.CAM, "relu2")


def test_what_a_combinator_wraps_may_come_by_its_place() -> None:
    assert Smooth(GradCAM(), samples=3) == Smooth(method=GradCAM(), samples=3)
    assert Integrate(Gradient(), times_input=True) == Integrate(method=Gradient(), times_input=True)
    with pytest.raises(TypeError):
        Smooth(GradCAM(), 3)  # pyright: ignore[reportCallIssue]


def test_combinators_nest() -> None:
    got = one(Smooth(method=Integrate(method=Gradient(), steps=2), samples=2, spread=0.1))
    assert got.values.shape == X.shape
    assert got.record.params["method"]["method"] == {"method": "gradient", "at": None}


@pytest.mark.parametrize("given", [Gradient, "gradient", None])
def test_a_combinator_wraps_an_instance(given: Any) -> None:
    with pytest.raises(ParameterError, match="give an instance"):
        one(Smooth(method=given))


def test_times_input_needs_values_of_the_inputs_shape() -> None:
    with pytest.raises(ParameterError, match=re.escape("values of the input's shape (3, 8, 8)")):
        one(Integrate(method=GradCAM(), steps=2, times_input=True))


# -- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [Gradient(), IntegratedGradients(steps=4), SmoothGrad(samples=2), GradCAM(at="relu1"), Occlusion(window=4)],
)
def test_every_method_explains_a_unit(method: Any) -> None:
    """A unit of the last rectifier is what a linear layer that reads it alone would give."""
    reader: Any = net(Convnet())
    with torch.no_grad():
        reader.fc.weight.zero_()
        reader.fc.bias.zero_()
        reader.fc.weight[1, 2] = 1
    got, wanted = one(method, target=Unit("relu2", 2)), one(method, model=reader, output="logit")
    close(got.values, wanted.values)
