"""XRAI against its greedy algorithm with sets of pixels, and what its map promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.target import Class
from pellucid.methods import xrai
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.xrai import XRAI

X = pictures(2, side=48)
NET: Any = net(Convnet())


def one(method: Any, target: Any = 1, model: Any = NET, x: Tensor = X, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def greedy(a: np.ndarray, masks: list[np.ndarray], sliver: float) -> tuple[np.ndarray, np.ndarray]:
    """Take the segment with the largest mean of what is left of it, over and over; what is too small comes last."""
    left = {(int(i), int(j)) for i, j in np.ndindex(a.shape)}
    sets = [{(int(i), int(j)) for i, j in np.argwhere(mask)} for mask in masks]
    values, region, count = np.zeros_like(a), np.zeros(a.shape, int), 0
    while left:
        news = [mine & left for mine in sets if len(mine & left) >= sliver] or [left]
        best = max(news, key=lambda new: np.mean([a[p] for p in sorted(new)]))
        mean = np.mean([a[p] for p in sorted(best)])
        for p in best:
            values[p], region[p] = mean, count
        left = left - best
        count += 1
    return values, region


@pytest.mark.parametrize("sliver", [1, 6])
def test_taking_segments_is_the_algorithm_of_the_paper(sliver: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    a = draw.normal(size=(9, 11))
    quarters = np.add.outer(np.arange(9) // 4, 3 * (np.arange(11) // 4))
    stripes = np.add.outer(np.arange(9) // 2, np.zeros(11, int))
    masks = [labels == k for labels in (quarters, stripes) for k in np.unique(labels)]
    masks = [mask | np.roll(mask, 1, 0) for mask in masks]
    monkeypatch.setattr(xrai, "SLIVER", sliver * xrai.SIDE**2 / a.size)
    cell = np.arange(a.size).reshape(a.shape)
    values, region = xrai._taken(torch.from_numpy(a), np.stack(masks).reshape(len(masks), -1), cell)
    wanted, order = greedy(a, masks, sliver)
    close(values, torch.from_numpy(wanted))
    assert (region.numpy() == order).all()


def gathered(e: Explanation) -> Tensor:
    """The map's own order, and means of the integrated gradients over it."""
    both = [one(IntegratedGradients(baseline=b)).values.sum(1) for b in ("black", "white")]
    a, region = (both[0] + both[1]) / 2, e.extras["region"]
    means = torch.zeros_like(a)
    for row in range(len(a)):
        for k in region[row].unique():
            here = region[row] == k
            means[row][here] = a[row][here].mean()
    return means


def test_the_values_are_means_of_integrated_gradients() -> None:
    e = one(XRAI())
    close(e.values, gathered(e))
    assert all(int(region.max()) > 2 for region in e.extras["region"])
    black = one(XRAI(baselines="black", channels="max"))
    peak = one(IntegratedGradients()).values.amax(1)
    close(black.values.mean((1, 2)), peak.mean((1, 2)))


def test_the_sum_is_that_of_the_integrated_gradients() -> None:
    e = one(XRAI(steps=128))
    with torch.no_grad():
        wanted = (NET(X) - (NET(torch.zeros_like(X)) + NET(torch.ones_like(X))) / 2)[:, 1]
    torch.testing.assert_close(e.values.flatten(1).sum(1), wanted, rtol=1e-2, atol=1e-5)
    check = e.check("completeness")
    assert check is not None and check.passed == (True,) * 2


class Patch(nn.Module):
    """Reads one patch only."""

    def forward(self, x: Tensor) -> Tensor:
        s = x[:, :, 16:32, 16:32].mean((1, 2, 3))
        return torch.stack([s, -s], 1)


def test_the_patch_that_the_score_reads_is_taken_first() -> None:
    x = torch.full((1, 3, 48, 48), 0.2)
    x[:, :, 16:32, 16:32] = 0.9
    e = explain(Patch(), x, XRAI(dilation=0.0), target=0)[0]
    middle, far = torch.zeros(48, 48, dtype=torch.bool), torch.ones(48, 48, dtype=torch.bool)
    middle[18:30, 18:30], far[12:36, 12:36] = True, False  # smoothing makes segments of the patch's edge
    region = e.extras["region"][0]
    assert int(region[middle].max()) < int(region[far].min())
    assert bool((e.values[0][middle] > 0).all()) and not e.values[0][far].any()
    against = explain(Patch(), x, XRAI(dilation=0.0), target=1)[0].extras["region"][0]
    assert int(against[middle].min()) > int(against[far].max())
    grown = explain(Patch(), x, XRAI(dilation=10.0), target=0)[0]  # two pixels on a side of 48
    assert int((grown.values > 0).sum()) > int((e.values > 0).sum())


def test_large_pictures_are_segmented_small_and_keep_their_sum() -> None:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 9, generator=draw)
    x = torch.nn.functional.interpolate(coarse, size=(300, 450))
    e = explain(Patch(), x, XRAI(steps=2), target=0)[0]
    assert e.values.shape == (1, 300, 450)
    parts, cell = xrai._parts(x[0], (50.0,), 0.0)
    assert cell.shape == (300, 450) and parts.shape[1] == 149 * 224
    assert cell.max() == parts.shape[1] - 1
    total = float(e.values.double().sum())
    assert total == pytest.approx(float(x[:, :, 16:32, 16:32].mean()) - 0.5, abs=1e-5)


def test_several_targets_and_rows_are_one_at_a_time() -> None:
    method = XRAI(steps=4)
    both = explain(NET, X, method, target=[Class(0), Class(3)])
    for e, k in zip(both, (0, 3), strict=True):
        for row in range(2):
            alone = one(method, target=k, x=X[row : row + 1])
            close(e.values[row], alone.values[0])
            assert torch.equal(e.extras["region"][row], alone.extras["region"][0])


def test_flat_pictures_are_one_region() -> None:
    e = one(XRAI(steps=2), x=torch.full_like(X, 0.5))
    assert not e.extras["region"].any()
    close(e.values, e.values.mean((1, 2), keepdim=True).expand_as(e.values))


def test_passes_are_those_of_the_integrated_gradients() -> None:
    spent = one(XRAI(steps=8)).record.passes
    assert (spent.rounds, spent.forward, spent.backward) == (1, 2 * (16 + 3), 2 * 16)
    both = explain(NET, X, [XRAI(steps=8), IntegratedGradients(steps=8)], target=1)[0].record.passes
    assert (both.forward, both.backward) == (spent.forward, spent.backward)


@pytest.mark.parametrize(
    "wrong", [{"scales": ()}, {"scales": (50, -1)}, {"scales": "many"}, {"baselines": ()}, {"dilation": -1.0}]
)
def test_parameters_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError):
        one(XRAI(steps=2, **wrong))


def test_rows_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="pictures"):
        explain(nn.Linear(4, 2), torch.rand(2, 4), XRAI())
