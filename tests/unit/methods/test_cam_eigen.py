"""Eigen-CAM and Eigen-Grad-CAM: the component by power iteration, and a sign that means something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.methods.test_cam_linear import NET, X, close, inside, one
from tests.unit.models import Convnet, net
from torch import Tensor

from pellucid.api import explain
from pellucid.methods.cam import HiResCAM
from pellucid.methods.cam_eigen import EigenCAM, EigenGradCAM, leading


def power(maps: Tensor, towards: Tensor, centre: bool) -> Tensor:
    """The projection on the leading eigenvector of TᵀT, found by iteration, [channel, h, w] -> [h, w]."""
    table = maps.flatten(1).T
    table = table - table.mean(0) if centre else table
    v = torch.ones(table.shape[1], dtype=table.dtype) + torch.arange(table.shape[1]) / 7
    for _ in range(4000):
        v = table.T @ (table @ v)
        v = v / v.norm()
    cam = (table @ v).view(maps.shape[1:])
    return cam if (cam * towards).sum() >= 0 else -cam


def gradient(layer: str, target: int = 1) -> Tensor:
    kept: list[Tensor] = []
    hook = NET.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    score = NET(X.clone().requires_grad_())[:, target].sum()
    hook.remove()
    return torch.autograd.grad(score, kept[0])[0]


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("layer", ["bn1", "relu2"])
def test_eigen_cam_is_the_leading_component(layer: str, centre: bool) -> None:
    wanted = torch.stack([power(a, a.norm(dim=0), centre) for a in inside(layer)])
    close(one(EigenCAM(at=layer, centre=centre)).values, wanted, rtol=1e-6)


@pytest.mark.parametrize("centre", [False, True])
def test_eigen_grad_cam_is_the_leading_component_of_the_product(centre: bool) -> None:
    parts = inside("bn1") * gradient("bn1")
    wanted = torch.stack([power(m, m.sum(0), centre) for m in parts])
    close(one(EigenGradCAM(at="bn1", centre=centre, relu=False)).values, wanted, rtol=1e-6)


def test_the_sign_is_not_that_of_the_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another decomposition may return −U and −V: the maps stay as they are."""
    methods = [EigenCAM(at="bn1"), EigenCAM(at="bn1", centre=True), EigenGradCAM(at="bn1", relu=False)]
    before = [e.values for e in explain(NET, X, methods, target=1)]
    decomposed = torch.linalg.svd

    def flipped(table: Tensor, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        u, s, v = decomposed(table, full_matrices=full_matrices)
        return -u, s, -v

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    after = [e.values for e in explain(NET, X, methods, target=1)]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_the_sign_says_where_the_layer_is_active_and_where_it_speaks_for_the_target() -> None:
    cam, act = one(EigenCAM(at="bn1")).values, inside("bn1")
    assert bool(((cam * act.norm(dim=1)).sum((1, 2)) > 0).all())
    for target in (0, 1, 2):
        grad, hi_res = (
            one(m, target).values for m in (EigenGradCAM(at="bn1", relu=False), HiResCAM(at="bn1", relu=False))
        )
        assert bool(((grad * hi_res).sum((1, 2)) > 0).all())


def test_activations_that_are_not_negative_have_a_map_that_is_not() -> None:
    assert float(one(EigenCAM(at="relu2")).values.min()) >= -1e-12


def test_eigen_cam_knows_no_target() -> None:
    one_, two = explain(NET, X, EigenCAM(), target=[0, 3])
    assert torch.equal(one_.values, two.values)


def test_a_dead_layer_has_a_map_of_zeros() -> None:
    dead: Any = net(Convnet())
    with torch.no_grad():
        dead.bn2.weight.zero_()
        dead.bn2.bias.fill_(-1)
    for cam in (EigenCAM(), EigenCAM(centre=True), EigenGradCAM()):
        assert bool((one(cam, model=dead).values == 0).all())


def test_half_precision_is_decomposed_in_single() -> None:
    maps = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    got = leading(maps.half(), False, maps.norm(dim=1))
    assert got.dtype == torch.float16
    np.testing.assert_allclose(got.float(), leading(maps, False, maps.norm(dim=1)), atol=2e-2)
