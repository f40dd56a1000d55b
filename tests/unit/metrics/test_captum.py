"""The same numbers as Captum, where its definition is ours and the perturbations are the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid import api
from pellucid.core.explanation import Kind
from pellucid.metrics import Infidelity, MaxSensitivity
from pellucid.ops.nearby import Near
from pellucid.testing import tiny

from .planted import close, measured, random

metrics = pytest.importorskip("captum.metrics")


def test_infidelity_without_and_with_the_optimal_scale() -> None:
    """Captum's `normalize=True` is the optimal scale."""
    model = tiny.make("smooth")
    noise = 0.1 * random(6, 3, 8, 8, seed=2)
    values = random(3, 3, 8, 8, seed=3)

    def ours(x: Tensor) -> tuple[Tensor, Tensor]:
        return noise, x - noise

    def theirs(x: Tensor) -> tuple[Tensor, Tensor]:
        many = noise.repeat(len(x) // 6, 1, 1, 1)  # row by row, each as often as there are samples
        return many, x - many

    got = measured(Infidelity(perturb=ours, samples=6), model.module, model.x, values, Kind.SENSITIVITY, output="logit")
    for normalize, mine in ((False, got.extras["raw"]), (True, got.values)):
        wanted = metrics.infidelity(
            model.module, theirs, model.x, values, target=0, n_perturb_samples=6, normalize=normalize
        )
        close(mine, wanted.detach())


def test_max_sensitivity_with_our_noise() -> None:
    model = tiny.make("smooth")
    handle, x = api.wrap(model.module), model.x
    e = api.explain(handle, x, ["gradient"], target=[0])
    got = api.measure(handle, e, [MaxSensitivity(samples=5, radius=0.1)], inputs=x)[0]
    flat = x.flatten(1)
    radius = (0.1 * (flat.amax(1) - flat.amin(1))).view(-1, 1, 1, 1).expand_as(x)
    near = Near(x, radius, 5, 0)

    def gradient(rows: tuple[Tensor, ...] | Tensor) -> tuple[Tensor, ...]:
        given = rows[0] if isinstance(rows, tuple) else rows
        with torch.enable_grad():
            leaf = given.detach().clone().requires_grad_()
            slope = torch.autograd.grad(model.module(leaf)[:, 0].sum(), leaf)[0]
        return (slope.contiguous(),)  # a tuple, of what can be viewed (B32)

    def moved(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.cat([near.rows(k, k + 1, b, b + 1) for b in range(len(x)) for k in range(1, 6)]),)

    wanted = metrics.sensitivity_max(gradient, x, perturb_func=moved, n_perturb_samples=5)
    close(got.values, wanted.detach(), 1e-6)
