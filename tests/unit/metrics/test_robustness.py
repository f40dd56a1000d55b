"""Explanations of perturbed inputs, against explaining them one by one; shared by all that ask for them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pellucid import api
from pellucid.core.errors import ParameterError
from pellucid.metrics import (
    AvgSensitivity,
    LocalLipschitz,
    MaxSensitivity,
    RelativeInputStability,
    RelativeOutputStability,
    SeedStability,
)
from pellucid.ops.nearby import Near
from pellucid.testing import tiny

from .planted import close

ALL = [MaxSensitivity, AvgSensitivity, LocalLipschitz, RelativeInputStability, RelativeOutputStability]


@pytest.fixture
def model() -> tiny.Tiny:
    return tiny.make("smooth")


def test_each_perturbed_input_explained_by_itself(model: tiny.Tiny) -> None:
    """B32, B34: noise of our own on both sides of x, the norm of φ once, in a loop."""
    handle, x = api.wrap(model.module), model.x
    e = api.explain(handle, x, ["input_x_gradient"], target=[1])[0]
    got = api.measure(handle, e, [cls(samples=6, radius=0.1) for cls in ALL], inputs=x)
    flat = x.flatten(1)
    radius = (0.1 * (flat.amax(1) - flat.amin(1))).view(-1, 1, 1, 1)
    near = Near(x, radius.expand_as(x), 6, 0)
    with torch.no_grad():
        before = model.module(x)
    worst: dict[str, list[list[float]]] = {name: [[] for _ in x] for name in ("far", "steep", "inner", "outer")}
    for k in range(1, 7):
        moved = near.rows(k, k + 1, 0, len(x))
        again = api.explain(handle, moved, ["input_x_gradient"], target=[1])[0].values
        with torch.no_grad():
            after = model.module(moved)
        for b in range(len(x)):
            phi, psi, step = e.values[b], again[b], (moved - x)[b]
            far = float((psi - phi).norm() / phi.norm())
            worst["far"][b].append(far)
            worst["steep"][b].append(far / float(step.square().mean().sqrt()))
            if before[b].argmax() == after[b].argmax():
                part = float(((psi - phi) / phi).square().mean().sqrt())
                worst["inner"][b].append(part / float((step / x[b]).square().mean().sqrt()))
                worst["outer"][b].append(part / float((after - before)[b].norm()))
    close(got[0].values, [max(v) for v in worst["far"]], 1e-6)
    close(got[1].values, [sum(v) / 6 for v in worst["far"]], 1e-6)
    close(got[2].values, [max(v) for v in worst["steep"]], 1e-6)
    close(got[3].values, [max(v) for v in worst["inner"]], 1e-6)
    close(got[4].values, [max(v) for v in worst["outer"]], 1e-6)


def test_noise_lies_on_both_sides() -> None:
    """B28."""
    x = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    draws = Near(x, torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64), 200, 3).rows(1, 201, 0, 1) - x
    assert abs(float(draws.mean())) < 0.005 and -0.1 <= float(draws.min()) < -0.099 < 0.099 < float(draws.max()) <= 0.1


def test_all_share_one_set_of_explanations(model: tiny.Tiny) -> None:
    """Five metrics, two methods: every perturbed input is evaluated once, forward and backward."""
    handle, x = api.wrap(model.module), model.x
    them = api.explain(handle, x, ["gradient", "input_x_gradient"])
    lone = api.measure(handle, them[:1], [MaxSensitivity(samples=5)], inputs=x)[0].passes
    every = api.measure(handle, them, [cls(samples=5) for cls in ALL], inputs=x)[0].passes
    assert every.backward == lone.backward == 6 * len(x)
    assert every.forward == lone.forward


def test_a_linear_model_has_a_constant_gradient() -> None:
    model = tiny.make("linear_pictures")
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient"])
    for m in api.measure(handle, e, [MaxSensitivity(), AvgSensitivity(), LocalLipschitz()], inputs=model.x):
        close(m.values, [0.0] * len(model.x), 1e-6)


def test_maps_that_the_method_does_not_give_are_not_judged(model: tiny.Tiny) -> None:
    """A map of zeros has no perfect score, and a shuffled one none at all."""
    handle, x = api.wrap(model.module), model.x
    e = api.explain(handle, x, ["gradient"])[0]
    zero, turned = replace(e, values=torch.zeros_like(e.values)), replace(e, values=e.values.flip(-1))
    got = api.measure(handle, [zero, turned], [MaxSensitivity(samples=2)], inputs=x)
    assert set(got[0].reasons) == {"the map is zero"}
    assert set(got[1].reasons) == {"the method does not give this map again"}


def test_seeds(model: tiny.Tiny) -> None:
    handle, x = api.wrap(model.module), model.x
    from pellucid.methods.smooth_grad import SmoothGrad

    them = api.explain(handle, x, ["gradient", SmoothGrad(samples=4, spread=0.3), SmoothGrad(samples=64, spread=0.3)])
    plain, few, many = api.measure(handle, them, [SeedStability()], inputs=x)
    assert set(plain.reasons) == {"the method draws nothing"} and all(map(math.isnan, plain.values))
    assert all(2 < a / b < 8 for a, b in zip(few.values, many.values, strict=True))  # √16
    others = [replace(SmoothGrad(samples=4, spread=0.3), seed=1_000_003 + k) for k in range(4)]
    again = [api.explain(handle, x, m)[0].values for m in others]
    gaps = torch.stack([(one - them[1].values).flatten(1).norm(dim=1) for one in again]).mean(0)
    close(few.values, gaps / them[1].values.flatten(1).norm(dim=1), 1e-6)


def test_methods_with_tensors_are_given_again(model: tiny.Tiny) -> None:
    from pellucid.methods.integrated_gradients import IntegratedGradients

    handle, x = api.wrap(model.module), model.x
    own = IntegratedGradients(steps=4, baseline=torch.full((3, 8, 8), 0.25, dtype=torch.float64))
    e = api.explain(handle, x, own)
    with pytest.raises(ParameterError, match="methods="):
        api.measure(handle, e, [MaxSensitivity(samples=2)], inputs=x)
    got = api.measure(handle, e, [MaxSensitivity(samples=2)], inputs=x, methods=[own])[0]
    assert not any(got.reasons)
    named = api.explain(handle, x, "grad_cam")
    assert not any(api.measure(handle, named, [MaxSensitivity(samples=2)], inputs=x)[0].reasons)


def test_outputs_that_never_move_measure_nothing() -> None:
    """A map that moves with the input, of a model that does not look at it."""
    from .test_randomisation import Edges

    class Still(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 0).flatten(1)[:, :2] + torch.tensor([1.0, 0.0])

    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    handle = api.wrap(Still())
    e = api.explain(handle, x, [Edges()], target=0)
    outer, inner = api.measure(
        handle, e, [RelativeOutputStability(samples=3), RelativeInputStability(samples=3)], inputs=x, methods=[Edges()]
    )
    assert set(outer.reasons) == {"no perturbation changes the outputs"} and not any(inner.reasons)
