"""Smooth Grad-CAM++, Shapley-CAM and Finer-CAM against plain torch: loops, second derivatives, differences."""

from __future__ import annotations

import pytest
import torch
from tests.unit.methods.test_cam_linear import NET, X, close, inside, one
from tests.unit.models import net
from torch import Tensor, nn

from pellucid.api import explain
from pellucid.core.errors import TargetError
from pellucid.core.points import normal
from pellucid.core.target import Contrast, Top
from pellucid.methods.cam import GradCAM, GradCAMPlusPlus
from pellucid.methods.cam_shapley import ShapleyCAM
from pellucid.methods.cam_smooth import SmoothGradCAMPlusPlus
from pellucid.methods.finer_cam import FinerCAM
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.ops.powers import Powers

# -- Shapley-CAM ---------------------------------------------------------------------------------------------------


class Once(nn.Module):
    """One convolution, used once, and a curved head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x))

    def head(self, act: Tensor) -> Tensor:
        h = torch.tanh(act)
        return self.fc(h.square().sum((2, 3)).sigmoid() * h.mean((2, 3)))


def test_shapley_cam_is_the_product_with_the_hessian() -> None:
    model = net(Once())
    act = inside("conv", model).requires_grad_()
    slope = torch.autograd.grad(model.head(act)[:, 2].sum(), act, create_graph=True)[0]
    product = torch.autograd.grad((slope * act.detach()).sum(), act)[0]
    weight = (slope - product / 2).mean((2, 3), keepdim=True)
    wanted = (weight * act).sum(1)
    got = one(ShapleyCAM(at="conv", relu=False), 2, model=model)
    close(got.values, wanted, rtol=1e-7)
    plain = one(GradCAM(at="conv", relu=False), 2, model=model).values
    assert float((plain - got.values).norm() / plain.norm()) > 1e-2


def test_where_the_head_is_linear_shapley_cam_is_grad_cam() -> None:
    close(one(ShapleyCAM(relu=False)).values, one(GradCAM(relu=False)).values, rtol=1e-6)


def test_shapley_cam_costs_two_more_rows() -> None:
    passes = one(ShapleyCAM()).record.passes
    assert (passes.rounds, passes.forward) == (2, 3 * len(X))


# -- Smooth Grad-CAM++ ----------------------------------------------------------------------------------------------


def test_smooth_grad_cam_plus_plus_is_its_loop() -> None:
    kept: list[Tensor] = []
    hook = NET.relu1.register_forward_hook(lambda m, i, o: kept.append(o))
    std = 0.3 * (X.flatten(1).amax(1) - X.flatten(1).amin(1)).view(-1, 1, 1, 1)
    slopes: list[Tensor] = []
    for k in range(5):
        noise = std * normal(X.shape[1:], 4, k, like=X)
        score = NET((X + noise).requires_grad_())[:, 1].sum()
        slopes.append(torch.autograd.grad(score, kept.pop())[0])
    hook.remove()
    act, g = inside("relu1"), torch.stack(slopes)
    first, second, third = g.mean(0), g.pow(2).mean(0), g.pow(3).mean(0)
    below = 2 * second + act.sum((2, 3), keepdim=True) * third
    alpha = torch.where(below == 0, torch.zeros_like(below), second / below)
    weight = (alpha * first.relu()).sum((2, 3), keepdim=True)
    got = one(SmoothGradCAMPlusPlus(at="relu1", samples=5, spread=0.3, seed=4, relu=False))
    close(got.values, (weight * act).sum(1), rtol=1e-8)


def test_without_noise_it_is_grad_cam_plus_plus() -> None:
    got = one(SmoothGradCAMPlusPlus(at="relu1", samples=3, spread=0.0, relu=False))
    close(got.values, one(GradCAMPlusPlus(at="relu1", relu=False)).values)


def test_its_passes_are_those_of_smooth_grad() -> None:
    both = [SmoothGrad(samples=4), SmoothGradCAMPlusPlus(samples=4)]
    passes = explain(NET, X, both, target=1)[0].record.passes
    assert (passes.rounds, passes.forward) == (1, len(X) * (1 + 4))


def test_powers_add_up_block_by_block() -> None:
    values = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tally = Powers(3).tally(6, 3)
    for k0, k1, b0, b1 in ((0, 4, 0, 2), (4, 6, 0, 2), (0, 6, 2, 3)):
        tally.add(values[:, k0:k1, b0:b1], k0, b0, b1)
    close(tally.result(), torch.stack([values.pow(p).mean(1) for p in (1, 2, 3)], 2))


# -- Finer-CAM ------------------------------------------------------------------------------------------------------


def weights(wanted: list[float]) -> Tensor:
    """CAM of a weighted sum of the classes' scores, divided by the number of places."""
    mix = torch.tensor(wanted, dtype=torch.float64) @ NET.fc.weight.detach()
    return torch.einsum("k,bkij->bij", mix, inside("relu2")) / 16


def test_finer_cam_is_grad_cam_of_the_lead_over_the_neighbours_in_rank() -> None:
    got = one(FinerCAM(others=2, strength=0.5, relu=False), Top(1)).values
    order = NET(X).argsort(1, descending=True)
    for b in range(len(X)):
        mix = [0.0] * 5
        mix[order[b, 0]] = 1.0
        for rank in (1, 2):
            mix[order[b, rank]] = -0.25
        close(got[b], weights(mix)[b])


def test_a_class_in_the_middle_is_compared_with_both_sides() -> None:
    order = NET(X).argsort(1, descending=True)
    target = int(order[0, 2])
    mix = [0.0] * 5
    mix[target] = 1.0
    for rank in (1, 3, 0):  # of two as near, the one with the higher score first
        mix[order[0, rank]] = -0.2
    close(one(FinerCAM(relu=False), target).values[0], weights(mix)[0])


def test_strength_zero_is_grad_cam_and_fewer_classes_are_enough() -> None:
    close(one(FinerCAM(strength=0.0)).values, one(GradCAM()).values)
    close(one(FinerCAM(others=4)).values, one(FinerCAM(others=99)).values)


def test_probabilities_choose_the_same_classes() -> None:
    class Ending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = NET

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).softmax(1)

    close(one(FinerCAM(at="net.relu2"), Top(2), model=Ending()).values, one(FinerCAM(), Top(2)).values)


def test_two_targets_have_two_maps() -> None:
    first, second = explain(NET, X, FinerCAM(relu=False), target=[0, 3])
    close(first.values, one(FinerCAM(relu=False), 0).values)
    close(second.values, one(FinerCAM(relu=False), 3).values)


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(TargetError, match="Finer-CAM of"):
        one(FinerCAM(), Contrast(1, 2))
    single = net(Once())
    single.fc = net(nn.Linear(4, 1))
    with pytest.raises(TargetError, match="single output"):
        one(FinerCAM(at="conv"), 0, model=single)
