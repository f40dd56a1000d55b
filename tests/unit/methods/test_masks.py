"""RISE, Sobol and HSIC attribution: against loops over their equations and functions whose indices are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.unit.games import CELLS, PLAYERS, WHITE, Shown, additive, weights
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

from pellucid.api import explain
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.hsic_attribution import HSICAttribution
from pellucid.methods.rise import RISE
from pellucid.methods.sobol_attribution import SobolAttribution
from pellucid.ops.designs import coin
from pellucid.ops.patches import Patches

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}
NET: Any = net(Convnet())
X = pictures(2, side=12)


def one(model: Any, method: Any, x: Tensor = X, target: Any = 0) -> Explanation:
    return explain(model, x, method, target=target, output="logit")[0]


def drawn(samples: int = 60, grid: int = 3, share: float = 0.5, seed: int = 0, x: Tensor = X) -> Patches:
    return Patches.drawn(x, torch.zeros_like(x[:1]), samples, grid, share, seed)


# -- masks -------------------------------------------------------------------------------------------------------


def between(coins: np.ndarray, at: float, cell: float) -> tuple[int, int, float]:
    """The two coins around a place of the enlarged grid, and the weight of the second."""
    place = min(max((at + 0.5) * len(coins) / cell - 0.5, 0.0), len(coins) - 1.0)
    low = int(place)
    return low, min(low + 1, len(coins) - 1), place - low


def test_masks_are_grids_enlarged_bilinearly_and_shifted() -> None:
    x = torch.zeros(1, 1, 10, 14, dtype=torch.float64)
    points = drawn(samples=5, grid=3, x=x)
    high, wide = math.ceil(10 / 3), math.ceil(14 / 3)
    for k in range(5):
        coins, (down, across) = points.coins[k].double().numpy(), points.shifts[k].tolist()
        assert 0 <= down < high
        assert 0 <= across < wide
        for i in range(10):
            for j in range(14):
                a, b, t = between(coins, i + down, 4 * high)
                c, d, s = between(coins.T, j + across, 4 * wide)
                wanted = (1 - t) * ((1 - s) * coins[a, c] + s * coins[a, d]) + t * (
                    (1 - s) * coins[b, c] + s * coins[b, d]
                )
                assert abs(float(points.masks(k, k + 1)[0, i, j]) - wanted) < 1e-12


def test_masks_show_every_place_with_the_same_chance_and_shift_each_by_itself() -> None:
    points = drawn(samples=4000, grid=4, share=0.3)
    assert float((points.masks(0, 4000).mean(0) - 0.3).abs().max()) < 0.03
    assert len(points.shifts.unique(dim=0)) == 9
    for lag in (1, 2, 31, 32):  # a shift is no news of the next one, in no batch
        same = (points.shifts[lag:] == points.shifts[:-lag]).all(1).double().mean()
        assert abs(float(same) - 1 / 9) < 0.03
    assert torch.equal(points.masks(7, 9), points.masks(0, 4000)[7:9])


def test_rows_are_the_pictures_through_the_masks() -> None:
    fill = torch.full_like(X[:1], 0.25)
    points = Patches(X, drawn().coins, drawn().shifts, fill)
    rows = points.rows(3, 5, 0, 2).view(2, 2, *X.shape[1:])
    for k in (3, 4):
        m = points.masks(k, k + 1)[0]
        torch.testing.assert_close(rows[k - 3], m * X + (1 - m) * fill)


# -- RISE --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_rise_is_the_mean_of_masks_times_scores(share: float) -> None:
    e = one(NET, RISE(samples=60, grid=3, share=share))
    points = drawn(share=share)
    with torch.no_grad():
        scores = torch.stack([NET(points.rows(k, k + 1, 0, 2))[:, 0] for k in range(60)])  # [masks, batch]
    masks = points.masks(0, 60)
    plain = (scores[:, :, None, None] * masks[:, None]).mean(0) / share
    same = scores.mean(0)[:, None, None] * masks.mean(0) / share
    torch.testing.assert_close(e.values, plain - same)
    torch.testing.assert_close(e.extras["mean"], scores.mean(0))
    each = (scores - scores.mean(0))[:, :, None, None] * (masks[:, None] - share) / share
    torch.testing.assert_close(each.mean(0), e.values)
    torch.testing.assert_close(e.std_error, each.std(0) / 60**0.5)


def test_rise_finds_the_corner_that_the_model_looks_at() -> None:
    corner = Shown(lambda shown: shown[:, 3:4] * torch.tensor([[4.0, 0.0]]), (2, 2))
    e = one(corner, RISE(samples=600, grid=4, fill="black"), torch.ones(1, 3, 16, 16).double())
    assert float(e.values[0, 9:, 9:].min()) > float(e.values[0, :7, :7].max())
    assert int(e.values[0].argmax()) // 16 >= 8


def test_rise_does_not_care_how_many_masks_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {way: one(NET, RISE(samples=30, grid=3, estimator=way)) for way in ("mean", "regression")}
    monkeypatch.setattr("pellucid.methods.rise.AT_ONCE", 1)
    for way, e in whole.items():
        torch.testing.assert_close(one(NET, RISE(samples=30, grid=3, estimator=way)).values, e.values)


def test_regression_on_the_masks_is_exact_where_the_score_is_the_share_of_cells() -> None:
    w = weights(players=9)
    x = torch.ones(1, 3, 12, 12).double()
    e = one(additive_on(w), RISE(samples=40, grid=3, estimator="regression", fill="black"), x)
    for cell in range(9):
        i, j = cell // 3 * 4, cell % 3 * 4
        torch.testing.assert_close(e.values[0, i : i + 4, j : j + 4], w[cell, 0].expand(4, 4))
    assert {c.name: c.passed for c in e.checks}["r2"] == (True,)


def additive_on(w: Tensor) -> Shown:
    model = additive(w)
    model.grid = (3, 3)
    return model


def test_regression_needs_fewer_masks_than_averaging() -> None:
    w = weights(players=9)
    x = torch.ones(1, 3, 12, 12).double()
    error = {}
    for way in ("mean", "regression"):
        noise = {
            c.name: c.value[0]
            for c in one(additive_on(w), RISE(samples=100, grid=3, estimator=way, fill="black"), x).checks
        }
        error[way] = noise["noise"]
    assert error["regression"] < error["mean"] / 10


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"grid": 13}])
def test_rise_refuses_masks_that_hide_nothing_or_are_finer_than_the_picture(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="rise"):
        one(NET, RISE(**wrong))


# -- Sobol -------------------------------------------------------------------------------------------------------


def test_sobol_indices_of_a_sum_are_the_shares_of_its_variances() -> None:
    w = weights()
    wanted = w[:, 0].square() / w[:, 0].square().sum()
    for order, near in (("total", 0.02), ("first", 0.15)):
        e = one(additive(w), SobolAttribution(samples=512, order=order, **BLACK), WHITE)
        got = e.extras["players"][0]
        torch.testing.assert_close(got, wanted, rtol=0, atol=near)
        assert bool(((got - wanted).abs() < 4 * e.extras["players_std_error"][0] + 1e-3).all())


def test_sobol_indices_of_a_product_are_larger_in_total_than_alone() -> None:
    product = Shown(lambda u: torch.stack([u[:, 0] * u[:, 1] + 0 * u[:, 2], u[:, 0]], 1))
    variance = 1 / 9 - 1 / 16
    first, total = (1 / 4 / 12) / variance, (1 / 3 / 12) / variance
    for order, wanted in (("first", first), ("total", total)):
        e = one(product, SobolAttribution(samples=1024, order=order, **BLACK), WHITE)
        got = e.extras["players"][0]
        torch.testing.assert_close(got[:2], torch.full((2,), wanted).double(), rtol=0, atol=0.03)
        if order == "total":
            assert not bool(got[2:].any())


def test_sobol_indices_are_means_of_squares_over_the_design() -> None:
    method = SobolAttribution(samples=8, regions=CELLS)
    e = one(NET, method, pictures(1))
    design = method._design(PLAYERS).shown.view(8, PLAYERS + 2, PLAYERS)
    labels, x = e.extras["regions"][0], pictures(1)

    def score(shares: Tensor) -> float:
        with torch.no_grad():
            return float(NET(x * shares[labels])[0, 0])

    a, b = ([score(d[k]) for d in design] for k in (0, 1))
    variance = np.var(a + b)
    for i in range(PLAYERS):
        mixed = [d[0].clone() for d in design]
        for m, d in zip(mixed, design, strict=True):
            m[i] = d[1, i]
        wanted = np.mean([(score(m) - s) ** 2 for m, s in zip(mixed, a, strict=True)]) / (2 * variance)
        assert abs(float(e.extras["players"][0, i]) - wanted) < 1e-9


def test_nothing_varies_and_nothing_is_attributed() -> None:
    flat = Shown(lambda shown: torch.ones_like(shown[:, :2]))
    for method in (
        SobolAttribution(samples=4, **BLACK),
        SobolAttribution(samples=4, order="first", **BLACK),
        HSICAttribution(samples=20, **BLACK),
    ):
        assert not bool(one(flat, method, WHITE).values.any())


# -- HSIC --------------------------------------------------------------------------------------------------------


def test_hsic_is_the_trace_of_its_kernels() -> None:
    e = one(NET, HSICAttribution(samples=40, regions=CELLS), pictures(1))
    z, labels, x = coin(PLAYERS, 40, 0).shown.double(), e.extras["regions"][0], pictures(1)
    with torch.no_grad():
        s = np.array([float(NET(x * one_[labels])[0, 0]) for one_ in z])
    apart = np.abs(s[:, None] - s)
    sigma = float(torch.from_numpy(apart[apart > 0]).median())
    out = np.exp(-(apart**2) / (2 * sigma**2))
    centre = np.eye(40) - 1 / 40
    for i in range(PLAYERS):
        alike = (z[:, i, None] == z[:, i]).double().numpy()
        wanted = np.trace(alike @ centre @ out @ centre) / 39**2
        assert abs(float(e.extras["players"][0, i]) - wanted) < 1e-10


def test_hsic_sees_what_has_no_direction() -> None:
    """Regions that are asked whether they agree: each alone says nothing, but one of them and a constant do."""
    pair = Shown(lambda z: torch.stack([(z[:, 0] - 0.5) * (z[:, 1] - 0.5) * 4 + 2 * z[:, 2], z[:, 0]], 1))
    e = one(pair, HSICAttribution(samples=800, **BLACK), WHITE)
    values, error = e.extras["players"][0], e.extras["players_std_error"][0]
    assert int(values.argmax()) == 2
    assert bool((values[2] - 4 * error[2]) > values[3:].max())


def test_the_unit_of_the_score_does_not_matter_to_sobol_and_hsic() -> None:
    w = weights()
    big = Shown(lambda shown: 1000 * (shown @ w) - 7)
    for method in (SobolAttribution(samples=16, **BLACK), HSICAttribution(samples=60, **BLACK)):
        torch.testing.assert_close(one(big, method, WHITE).values, one(additive(w), method, WHITE).values)


def test_only_pictures() -> None:
    with pytest.raises(InputError, match="pictures"):
        one(net(torch.nn.Linear(6, 3)), RISE(), torch.rand(2, 6).double())


def test_enlarging_is_torchs_bilinear() -> None:
    points = drawn(samples=3)
    large = F.interpolate(points.coins[:, None].double(), size=(16, 16), mode="bilinear")[:, 0]
    down, across = points.shifts[0].tolist()
    torch.testing.assert_close(points.masks(0, 1)[0], large[0, down : down + 12, across : across + 12])
