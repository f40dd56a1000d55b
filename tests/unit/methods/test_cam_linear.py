"""CAM, and the maps of nets that end in pooling and a linear layer: closed forms. Several layers as one map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid import registry
from pellucid.api import explain, wrap
from pellucid.core.errors import ParameterError, SiteError, UnsupportedModel
from pellucid.core.explanation import Explanation
from pellucid.methods.cam import CAM, GradCAM, HiResCAM, LayerCAM
from pellucid.methods.cam_ablation import AblationCAM
from pellucid.methods.cam_masked import ISCAM, SSCAM, ScoreCAM
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.ops.layers import each, of_one, strongest

X = pictures(3)
NET: Any = net(Convnet())
PLACES = 16


def one(method: Any, target: Any = 1, model: Any = NET, **more: Any) -> Explanation:
    return explain(model, X, method, target=target, **more)[0]


def inside(layer: str, model: Any = NET, x: Tensor = X) -> Tensor:
    kept: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o.detach().clone()))
    model(x)
    hook.remove()
    return kept[0]


def close(got: Tensor, wanted: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(got, wanted.detach(), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("target", [0, 3])
def test_cam_is_the_map_weighted_by_the_linear_layer(target: int) -> None:
    wanted = torch.einsum("k,bkij->bij", NET.fc.weight[target], inside("relu2"))
    got = one(CAM(), target)
    close(got.values, wanted)
    close(got.values.mean((1, 2)) + NET.fc.bias[target], NET(X)[:, target])
    close(one(CAM(relu=True), target).values, wanted.relu())
    found = got.check("linear_head")
    assert found is not None and all(found.passed)


def test_behind_pooling_grad_cam_and_hi_res_cam_are_cam_divided_by_the_number_of_places() -> None:
    cam = one(CAM(), 2).values
    assert cam.any()
    close(one(GradCAM(relu=False), 2).values, cam / PLACES)
    close(one(HiResCAM(relu=False), 2).values, cam / PLACES)


def test_a_difference_of_classes_has_the_difference_of_their_maps() -> None:
    from pellucid.core.target import Contrast

    close(one(CAM(), Contrast(1, 4)).values, one(CAM(), 1).values - one(CAM(), 4).values)


def test_a_layer_that_is_not_averaged_is_refused() -> None:
    for at in ("bn2", "relu1"):
        with pytest.raises(UnsupportedModel, match="not the same at all places"):
            one(CAM(at=at))


class Deeper(Convnet):
    """Two layers behind the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return self.fc(self.hidden(x.mean((2, 3))).sigmoid())


def test_more_than_a_linear_layer_behind_the_pooling_turns_the_check_red() -> None:
    model = net(Deeper())
    with torch.no_grad():
        model.hidden.weight.mul_(20)
    found = one(CAM(at="relu2"), model=model).check("linear_head")
    assert found is not None and not any(found.passed)


def test_cam_takes_one_layer() -> None:
    with pytest.raises(SiteError, match="as a layer"):
        one(CAM(at=("relu1", "relu2")))


# -- several layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cam", [GradCAM, LayerCAM, HiResCAM, ScoreCAM, AblationCAM], ids=lambda c: c.__name__)
@pytest.mark.parametrize("relu", [True, False])
def test_several_layers_are_the_mean_of_their_maps_each_by_its_own_maximum(cam: Any, relu: bool) -> None:
    fine, coarse = (one(cam(at=at, relu=relu)).values for at in ("bn1", "relu2"))
    coarse = nn.functional.interpolate(coarse[:, None], (8, 8), mode="bilinear")[:, 0] / coarse.abs().amax(
        (1, 2), keepdim=True
    )
    got = one(cam(at=("relu2", "bn1"), relu=relu))
    close(got.values, (coarse + fine / fine.abs().amax((1, 2), keepdim=True)) / 2)
    assert got.record.at == "relu2, bn1"
    assert one(Smooth(cam(at=("relu2", "bn1"), relu=relu), samples=2)).record.at == "relu2, bn1"
    assert one(cam(at=["bn1"], relu=relu)).record.at == "bn1"
    close(one(registry.make("grad_cam", {"at": "relu2, bn1"})).values, one(GradCAM(at=("relu2", "bn1"))).values)


@pytest.mark.parametrize("cam", [ScoreCAM, SSCAM, ISCAM, AblationCAM], ids=lambda c: c.__name__)
def test_channels_of_several_layers_are_told_by_their_names(cam: Any) -> None:
    got = one(cam(at=("relu2", "bn1"), channels=2))
    assert list(got.extras) == ["channels relu2", "channels bn1"] and got.values.shape == (len(X), 8, 8)
    for layer in ("bn1", "relu2"):
        assert torch.equal(got.extras[f"channels {layer}"], one(cam(at=layer, channels=2)).extras["channels"])


def test_several_layers_need_one_pass() -> None:
    assert one(GradCAM(at=("bn1", "relu1", "relu2"))).record.passes.forward == len(X)


def test_a_map_of_zeros_stays_one_among_several() -> None:
    assert torch.equal(of_one(torch.zeros(2, 3, 4, 4)), torch.zeros(2, 3, 4, 4))
    dead = net(Convnet())
    with torch.no_grad():
        dead.fc.weight[1] = 0
    got = one(GradCAM(at=("relu1", "relu2")), model=dead)
    assert bool((got.values == 0).all())


def test_no_layer_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"at=\(\)"):
        one(GradCAM(at=()))
    assert each("a[1], b") == ("a[1]", "b") and each("a") == ("a",)


@pytest.mark.parametrize("wrapped", [Smooth(GradCAM(at=("relu1", "relu2")), samples=2), Integrate(CAM(), steps=2)])
def test_combinators_take_them(wrapped: Any) -> None:
    assert bool(torch.isfinite(one(wrapped).values).all())


def test_the_strongest_channels_vary_most() -> None:
    act = torch.tensor([1.0, 3.0, 2.0, 0.0])[None, :, None, None] * torch.linspace(0, 1, 4).view(1, 1, 2, 2) + 5
    assert strongest(act, 2).tolist() == [[1, 2]]
    assert strongest(act, None).tolist() == strongest(act, 9).tolist() == [[0, 1, 2, 3]]


def test_single_precision_finds_the_weights_too() -> None:
    handle = wrap(net(Convnet(), torch.float32))
    wanted = torch.einsum("k,bkij->bij", handle.module.fc.weight[1], inside("relu2", handle.module, X.float()))
    torch.testing.assert_close(
        explain(handle, X.float(), CAM(), target=1)[0].values, wanted.detach(), rtol=1e-4, atol=1e-5
    )
