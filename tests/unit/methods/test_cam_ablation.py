"""Ablation-CAM against a loop that switches channels off, and the rows that it needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.methods.test_cam_linear import NET, X, close, inside, one
from tests.unit.models import Convnet, net
from torch import Tensor, nn

from pellucid.api import explain, plan, wrap
from pellucid.core.target import Contrast
from pellucid.methods.cam_ablation import AblationCAM
from pellucid.methods.combinators import Smooth


def slow(layer: str, score: Any, model: Any = NET) -> Tensor:
    act, whole = inside(layer, model), score(model(X))
    cam = torch.zeros_like(act[:, 0])
    for k in range(act.shape[1]):

        def off(module: nn.Module, args: Any, out: Tensor, k: int = k) -> Tensor:
            out = out.clone()
            out[:, k] = 0
            return out

        hook = model.get_submodule(layer).register_forward_hook(off)
        left = score(model(X))
        hook.remove()
        cam += ((whole - left) / whole.abs())[:, None, None] * act[:, k]
    return cam


@pytest.mark.parametrize("layer", ["conv1", "bn1", "relu2"])
def test_ablation_cam_is_its_loop(layer: str) -> None:
    for relu in (True, False):
        wanted = slow(layer, lambda out: out[:, 1])
        close(one(AblationCAM(at=layer, relu=relu)).values, wanted.relu() if relu else wanted)


def test_a_negative_score_does_not_turn_the_map_around() -> None:
    """The map of s_1 − s_2 is minus that of s_2 − s_1."""
    there, back = (one(AblationCAM(relu=False), Contrast(*pair)).values for pair in ((1, 2), (2, 1)))
    assert there.any()
    close(there, -back)


def test_behind_pooling_it_is_the_score_times_cam_of_every_channel() -> None:
    """s − s_k = w_k mean A_k."""
    act = inside("relu2")
    drop = NET.fc.weight[1] * act.mean((2, 3))
    wanted = ((drop / NET(X)[:, 1:2].abs())[..., None, None] * act).sum(1).detach()
    close(one(AblationCAM(relu=False)).values, wanted)


def test_only_what_lies_behind_the_layer_runs_again() -> None:
    passes = one(AblationCAM(at="relu2")).record.passes
    assert passes.tails == len(X) * 6 and passes.forward <= 3 * len(X)


def test_the_strongest_channels_of_every_image() -> None:
    got = one(AblationCAM(at="bn1", channels=2, relu=False))
    which = got.extras["channels"]
    assert which.shape == (3, 2)
    act = inside("bn1")
    every = one(AblationCAM(at="bn1", relu=False)).values
    left_out = torch.ones(3, 4, dtype=torch.bool).scatter_(1, which, False)
    assert not torch.allclose(got.values, every)
    spread = act.flatten(2).var(2)
    assert all(spread[b][which[b]].min() >= spread[b][left_out[b]].max() for b in range(3))


def test_many_targets_share_the_passes() -> None:
    got = explain(NET, X, AblationCAM(), target=[0, 1, 2])
    assert got[0].record.passes.tails == len(X) * 6
    close(got[1].values, one(AblationCAM()).values)


def test_a_score_of_zero_gives_zeros() -> None:
    dead = net(Convnet())
    with torch.no_grad():
        dead.fc.weight[1], dead.fc.bias[1] = 0, 0
    assert bool((one(AblationCAM(), model=dead).values == 0).all())


class Noting(Convnet):
    """Notes the size of its batch before the layer; has as many inner weights as there are channels to switch off."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        x = x * self.scale.view(1, -1, 1, 1)
        return self.fc(x.mean((2, 3)).view(batch, -1))


def test_a_model_that_noted_the_size_of_its_batch_has_a_tail() -> None:
    model = net(Noting())
    with torch.no_grad():
        model.scale.copy_(torch.arange(1, 7))
    got = one(AblationCAM(at="relu2", relu=False), model=model)
    assert got.record.passes.tails == len(X) * 6
    close(got.values, slow("relu2", lambda out: out[:, 1], model))


def test_it_can_be_smoothed() -> None:
    assert bool(torch.isfinite(one(Smooth(AblationCAM(channels=2), samples=2)).values).all())


def test_a_plan_counts_the_time_behind_the_layer() -> None:
    """Of the eight modules, the net among them, two finish behind the last rectifier, and six behind the first norm."""
    handle = wrap(NET)
    late, early = (plan(handle, X, AblationCAM(at=layer, channels=4)) for layer in ("relu2", "bn1"))
    assert late.least == early.least and late.least.tails == len(X) * 4
    with handle.ready(X) as session:
        forward = session.ready.seconds["forward"]
    assert early.seconds[0] - late.seconds[0] == pytest.approx(late.least.tails * forward * (6 - 2) / 8)
    assert late.seconds[0] > forward * (late.least.forward + late.least.tails * 2 / 8)
