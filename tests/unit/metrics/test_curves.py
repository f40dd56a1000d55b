"""Deletion, insertion and their relatives, against loops over sorted places and closed forms."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.metrics import (
    IROF,
    AverageDrop,
    AverageGain,
    AverageIncrease,
    Comprehensiveness,
    Deletion,
    Insertion,
    Monotonicity,
    PixelFlipping,
    RegionPerturbation,
    Sufficiency,
)
from pellucid.ops.removal import Order

from .planted import Corner, Linear, close, measured, pictures, random, weights

X = pictures(2)
MAP = random(2, 6, 6, seed=9)


def says(x: Tensor) -> Tensor:
    """The probability of class 0."""
    with torch.no_grad():
        return Corner()(x).softmax(1)[:, 0]


def by_hand(x: Tensor, importance: Tensor, fill: Tensor, steps: int, insert: bool = False) -> tuple[list, list]:
    """One row's curve, one pixel after the other: shares and scores at evenly spaced numbers of pixels."""
    order = sorted(range(36), key=lambda i: -float(importance.flatten()[i]))
    now = fill.clone() if insert else x.clone()
    scores = [float(says(now[None]))]
    for place in order:
        now[:, place // 6, place % 6] = (x if insert else fill)[:, place // 6, place % 6]
        scores.append(float(says(now[None])))
    counts = [36 * i // steps for i in range(steps + 1)]
    assert all(36 * i % steps == 0 for i in range(steps + 1))
    return [c / 36 for c in counts], [scores[c] for c in counts]


def trapezoid(x: list, y: list) -> float:
    return sum((b - a) * (u + v) / 2 for a, b, u, v in zip(x, x[1:], y, y[1:], strict=False))


@pytest.mark.parametrize("steps", [4, 12, 36])
def test_deletion_and_insertion_pixel_by_pixel(steps: int) -> None:
    black = torch.zeros(3, 6, 6, dtype=torch.float64)
    gone = measured(Deletion(steps=steps, fill="black"), Corner(), X, MAP)
    come = measured(Insertion(steps=steps, fill="black"), Corner(), X, MAP)
    for i in range(2):
        for got, insert in ((gone, False), (come, True)):
            x, y = by_hand(X[i], MAP[i], black, steps, insert)
            assert got.curve is not None
            close(got.curve[i][0], x)
            close(got.curve[i][1], y)
            close(got.values[i], trapezoid(x, y))


def test_pixel_flipping_turns_pixels_into_their_opposite() -> None:
    whole = measured(PixelFlipping(steps=12), Corner(), X, MAP)
    half = measured(PixelFlipping(steps=6, part=0.5), Corner(), X, MAP)
    for i in range(2):
        x, y = by_hand(X[i], MAP[i], 1 - X[i], 12)
        close(whole.values[i], trapezoid(x, y))
        close(half.values[i], trapezoid(x[:7], y[:7]) / 0.5)
    black = measured(PixelFlipping(steps=12, fill="black"), Corner(), X, MAP)
    close(black.values, measured(Deletion(steps=12, fill="black"), Corner(), X, MAP).values)


def test_aopc_is_the_mean_fall_and_both_the_area_between() -> None:
    fill = X.mean((2, 3), keepdim=True).expand_as(X)
    regions = {"regions": "pixels", "steps": 12}
    one = measured(RegionPerturbation(**regions), Corner(), X, MAP)
    both = measured(RegionPerturbation(first="both", **regions), Corner(), X, MAP)
    for i in range(2):
        falls = []
        for sign in (1, -1):
            _, y = by_hand(X[i], sign * MAP[i], fill[i], 12)
            falls.append(sum(y[0] - v for v in y) / 13)
        close(one.values[i], falls[0])
        close(both.values[i], falls[0] - falls[1])
        close(both.extras["least"][i], falls[1])


def test_regions_go_by_their_mean_and_colour_pictures_work() -> None:
    """B5, B6: three channels, and regions of unequal size, in a loop over regions."""
    labels = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2]]).repeat(3, 1)
    got = measured(IROF(regions=labels, steps=3), Corner(), X, MAP)
    fill = X.mean((2, 3), keepdim=True).expand_as(X)
    for i in range(2):
        mean = [float(MAP[i][labels == r].mean()) for r in range(3)]
        now, left = X[i].clone(), [1.0]
        for r in sorted(range(3), key=lambda r: -mean[r]):
            now = torch.where(labels == r, fill[i], now)
            left.append(float(says(now[None]) / says(X[i][None])))
        close(got.values[i], 1 - trapezoid([0, 1 / 3, 2 / 3, 1], left))
        assert got.curve is not None
        close(got.curve[i][0], [0, 1 / 3, 2 / 3, 1])
        close(got.curve[i][1], left)


def test_irof_of_a_score_that_is_not_positive_says_so() -> None:
    net = Linear(-weights())
    got = measured(IROF(regions="cells(2)", steps=4), net, X, MAP)
    assert got.output == "logit" and got.reasons == ("the score is not above zero",) * 2


def test_comprehensiveness_and_sufficiency_where_the_corner_is_known() -> None:
    """4 of 36 pixels count: taking them leaves the mean colour there, keeping them changes nothing."""
    right = torch.zeros(2, 6, 6, dtype=torch.float64)
    right[:, :2, :2] = 1
    gone = X.clone()
    gone[:, :, :2, :2] = X.mean((2, 3), keepdim=True)
    whole = {"shares": (4 / 36, 0.5)}
    close(measured(Comprehensiveness(**whole), Corner(), X, right).values, says(X) - says(gone))
    close(measured(Sufficiency(**whole), Corner(), X, right).values, [0.0, 0.0])
    none = measured(Comprehensiveness(shares=(0.25,)), Corner(), X, 1 - right)
    close(none.values, [0.0, 0.0])
    with pytest.raises(ParameterError, match="shares"):
        measured(Sufficiency(shares=(1.5,)), Corner(), X, right)


def test_equal_values_go_in_a_drawn_order_and_never_all_at_once() -> None:
    """B30: of a map that is zero nearly everywhere, the top share is that share."""
    flat = torch.zeros(1, 6, 6, dtype=torch.float64)
    flat[0, 3, 3] = 1
    order = Order.of(flat)
    for share in (3, 7, 18):
        assert int((order.rank < share).sum()) == share
    assert int(order.rank[0, 3, 3]) == 0
    close(order.ties, [35 / 36])
    assert not torch.equal(Order.of(flat, seed=1).rank, order.rank)
    first_rows = float((order.rank[0] < 18)[:3].double().mean())
    assert 0.2 < first_rows < 0.8  # neither half of the picture goes first


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 10**6), st.booleans())
def test_orders(count: int, steps: int, seed: int, tied: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 2, 6, generator=draw, dtype=torch.float64)
    values = values.round() if tied else values
    parts = torch.stack([torch.arange(12).view(2, 6) % max(1, min(count, 12) - i % 2) for i in range(3)])
    order, back = (one for one in (Order.of(values, parts), Order.of(values, parts).reversed()))
    worth = [[float(values[b][parts[b] == p].mean()) for p in range(int(order.parts[b]))] for b in range(3)]
    for b in range(3):
        n = int(order.parts[b])
        rank = [int(order.rank[b][parts[b] == p][0]) for p in range(n)]
        assert sorted(rank) == list(range(n))
        ranked = sorted(range(n), key=lambda p: rank[p])
        assert all(worth[b][p] >= worth[b][r] - 1e-12 for p, r in pairwise(ranked))
        assert [n - 1 - r for r in rank] == [int(back.rank[b][parts[b] == p][0]) for p in range(n)]
    for one in (order, back):
        counts = one.counts(steps)
        assert torch.equal(counts[0], torch.zeros(3).long()) and torch.equal(counts[-1], one.parts)
        assert bool((counts.diff(dim=0) >= 0).all())
        gone = torch.stack([(one.rank < c.view(-1, 1, 1)).double().mean((1, 2)) for c in counts], 1)
        close(one.shares(counts), gone)
    even = order.parts % 2 == 0
    mirrored = order.parts - order.counts(steps).flip(0)
    assert torch.equal(mirrored[:, even], order.counts(steps)[:, even])


# -- monotonicity, average drop ----------------------------------------------------------------------------------


def test_monotonicity_tells_the_right_order_from_others() -> None:
    """B1: a baseline replaced by itself never falls. Here features come, and the order counts."""
    low = torch.full((2, 1, 6, 6), 0.2, dtype=torch.float64)
    w = torch.ones(1, 6, 6, dtype=torch.float64)
    w[0, 0] = -1
    x, net = low + 0.5, Linear(w)
    black = {"fill": 0.2, "steps": 36}
    share = measured(Monotonicity(**black), net, x, 0.5 * w.expand(2, -1, -1, -1))
    close(share.values, [0.0, 0.0])  # what speaks against the class lowers the score when it comes
    close(share.extras["share"], [30 / 36] * 2)
    up = measured(Monotonicity(**black), Linear(w.abs()), x, random(2, 6, 6))
    close(up.values, [1.0, 1.0])
    still = measured(Monotonicity(**black), Linear(0 * w), x, random(2, 6, 6))  # a score of zero never falls
    close(still.values, [1.0, 1.0])


def test_average_drop_increase_and_gain() -> None:
    m = random(2, 6, 6, seed=3) - 0.3
    m[1, 0, 0] = 2.0
    share = m.clamp(min=0) / m.flatten(1).amax(1)[:, None, None]
    before, after = says(X), says(X * share[:, None])
    drop = measured(AverageDrop(), Corner(), X, m)
    close(drop.values, (before - after).clamp(min=0) / before)
    close(measured(AverageIncrease(), Corner(), X, m).values, (after > before).double())
    close(measured(AverageGain(), Corner(), X, m).values, (after - before).clamp(min=0) / (1 - before))
    assert measured(AverageDrop(), Corner(), X, m - 5).reasons == ("the map has no positive value",) * 2
    nothing = measured(AverageDrop(), Linear(torch.zeros(3, 6, 6, dtype=torch.float64)), X, m)
    assert nothing.output == "logit" and nothing.reasons == ("the score is not above zero",) * 2
    certain = measured(AverageGain(), Linear(torch.zeros(3, 6, 6, dtype=torch.float64), 1.0), X, m)
    assert certain.reasons == ("the score is no probability below one",) * 2
