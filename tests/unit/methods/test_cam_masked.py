"""Score-CAM, SS-CAM and IS-CAM against loops over channels and draws in plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.methods.test_cam_linear import NET, X, close, inside, one
from tests.unit.models import Convnet, net
from torch import Tensor

from pellucid.api import explain, wrap
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.points import normal
from pellucid.methods.cam_masked import ISCAM, SSCAM, ScoreCAM
from pellucid.ops.shown import Shown, stretched
from pellucid.testing.promises import Watch, watched


def mask(channel: Tensor) -> Tensor:
    """One channel of one image at the picture's size, stretched."""
    big = torch.nn.functional.interpolate(channel[None, None], X.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    return torch.zeros_like(big) if big.max() == big.min() else (big - big.min()) / (big.max() - big.min())


def slow(masks: Any, act: Tensor, fill: Tensor, target: int = 1) -> Tensor:
    """The map; `masks(mask)` are the masks that are tried for one channel."""
    maps: list[Tensor] = []
    for b in range(len(X)):
        weights: list[Tensor] = []
        for k in range(act.shape[1]):
            tried = [m * X[b] + (1 - m) * fill for m in masks(mask(act[b, k]))]
            weights.append(torch.stack([NET(row[None])[0, target] for row in tried]).mean())
        maps.append((torch.stack(weights).softmax(0)[:, None, None] * act[b]).sum(0).relu())
    return torch.stack(maps)


@pytest.mark.parametrize("layer", ["bn1", "relu2"])
def test_score_cam_is_its_loop(layer: str) -> None:
    zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    close(one(ScoreCAM(at=layer)).values, slow(lambda m: [m], inside(layer), zero))
    close(one(ScoreCAM(at=layer, fill="white")).values, slow(lambda m: [m], inside(layer), zero + 1))


def test_ss_cam_is_its_loop() -> None:
    def noisy(m: Tensor) -> list[Tensor]:
        return [m + 0.3 * normal(m.shape, 7, j, like=m) for j in range(3)]

    zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    close(one(SSCAM(at="relu2", samples=3, std=0.3, seed=7)).values, slow(noisy, inside("relu2"), zero))


def test_is_cam_is_its_loop() -> None:
    zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    wanted = slow(lambda m: [m * j / 4 for j in (1, 2, 3, 4)], inside("relu2"), zero)
    close(one(ISCAM(at="relu2", steps=4)).values, wanted)


@pytest.mark.parametrize("cam", [ScoreCAM, SSCAM, ISCAM])
def test_none_takes_all_channels(cam: Any) -> None:
    torch.testing.assert_close(one(cam(at="relu2", channels=None)).values, one(cam(at="relu2", channels=6)).values)
    with pytest.raises(ParameterError, match="channels"):
        cam(channels="many")


def test_without_noise_and_with_one_step_both_are_score_cam() -> None:
    wanted = one(ScoreCAM(at="bn1")).values
    close(one(SSCAM(at="bn1", samples=2, std=0.0)).values, wanted)
    close(one(ISCAM(at="bn1", steps=1)).values, wanted)


def test_the_number_explained_may_be_shifted_but_not_scaled() -> None:
    """s(fill) cancels: adding a constant to the score changes nothing."""
    shifted = net(Convnet())
    with torch.no_grad():
        shifted.fc.bias[1] += 100
    close(one(ScoreCAM(), model=shifted).values, one(ScoreCAM()).values)


def test_the_strongest_channels_are_the_map_over_them_and_are_said() -> None:
    act = inside("bn1")
    got = one(ScoreCAM(at="bn1", channels=2))
    which = act.flatten(2).var(2).topk(2).indices.sort(1).values
    assert torch.equal(got.extras["channels"], which)
    some = act.gather(1, which[..., None, None].expand(-1, -1, 8, 8))
    close(got.values, slow(lambda m: [m], some, torch.zeros(3, 1, 1, dtype=torch.float64)))


def test_one_row_for_every_channel_image_and_draw() -> None:
    assert one(ScoreCAM(at="relu2")).record.passes.forward == len(X) * (1 + 6)
    assert one(SSCAM(at="relu2", samples=3)).record.passes.forward == len(X) * (1 + 3 * 6)
    assert one(ISCAM(at="relu2", steps=5, channels=2)).record.passes.forward == len(X) * (1 + 5 * 2)


def test_targets_share_the_masks() -> None:
    got = explain(NET, X, ScoreCAM(at="relu2"), target=[0, 1, 2])
    assert got[0].record.passes.forward == len(X) * (1 + 6)
    close(got[1].values, one(ScoreCAM(at="relu2")).values)


def test_no_more_rows_at_once_than_allowed() -> None:
    """Memory is bounded: pictures are built as they are needed."""
    watch = Watch()
    handle = wrap(watched(net(Convnet()), watch), rows=4)
    most: list[int] = []
    watch.see = lambda rows: most.append(rows)  # type: ignore[method-assign]
    explain(handle, X, SSCAM(samples=5), target=0)
    assert max(most) <= 4 and sum(most) >= len(X) * 5 * 6


@pytest.mark.parametrize("draws", [1, 3])
def test_blocks_of_points_are_parts_of_the_whole(draws: int) -> None:
    points = Shown(X, inside("relu2"), torch.zeros_like(X), tuple(1 / (j + 1) for j in range(draws)), 0.2, 3)
    whole = points.rows(0, points.count, 0, 3).unflatten(0, (points.count, 3))
    for k0, k1, b0, b1 in ((0, 1, 0, 1), (1, 5, 1, 3), (2, 6, 0, 2)):
        assert torch.equal(points.rows(k0, k1, b0, b1), whole[k0:k1, b0:b1].flatten(0, 1))
    again = Shown(X, inside("relu2"), torch.zeros_like(X), points.scales, 0.2, 3)
    assert points == again and hash(points) == hash(again)
    assert points != Shown(X, inside("relu2"), torch.zeros_like(X), points.scales, 0.3, 3)


def test_a_map_that_is_the_same_everywhere_hides_all() -> None:
    assert torch.equal(stretched(torch.full((2, 4, 4), 3.0)), torch.zeros(2, 4, 4))
    dead = net(Convnet())
    with torch.no_grad():
        dead.bn2.weight[:3], dead.bn2.bias[:3] = 0.0, -1.0
    assert bool(torch.isfinite(one(ScoreCAM(), model=dead).values).all())


def test_rows_that_are_no_pictures_are_refused() -> None:
    class Sequence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = torch.nn.Conv1d(2, 3, 3), torch.nn.Linear(18, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).flatten(1))

    with pytest.raises(InputError, match="rows of shape"):
        explain(wrap(net(Sequence())), torch.rand(2, 2, 8, dtype=torch.float64), ScoreCAM(at="conv"), target=0)
