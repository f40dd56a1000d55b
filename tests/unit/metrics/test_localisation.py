"""Maps against masks, maps by themselves and maps against maps: closed forms and loops over pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid import api
from pellucid.core.errors import InputError, ParameterError
from pellucid.metrics import (
    IOU,
    AttributionLocalisation,
    EffectiveComplexity,
    Entropy,
    LocalisationAUC,
    PointingGame,
    RankAgreement,
    RelevanceMass,
    RelevanceRank,
    Sparseness,
    TopAgreement,
    TopKIntersection,
)

from .planted import Corner, close, explained, measured, pictures, random

X = pictures(2)
NET = Corner()


def one(metric: Any, values: Tensor, mask: Tensor | None = None) -> float:
    """One metric of one map [6, 6]."""
    masks = None if mask is None else mask[None]
    return measured(metric, NET, X[:1], values[None].double(), masks=masks).values[0]


def spots(*places: tuple[int, int]) -> Tensor:
    made = torch.zeros(6, 6)
    for place in places:
        made[place] = 1
    return made


def test_pointing_within_a_distance() -> None:
    mask, point = spots((0, 0), (0, 1)).bool(), spots((3, 4))
    for within, hit in ((0, 0.0), (4, 0.0), (4.25, 1.0), (5, 1.0)):  # the nearest is 3 down and 3 across: 4.243
        assert one(PointingGame(within=within), point, mask) == hit
    assert one(PointingGame(within=0), spots((0, 1)), mask) == 1
    assert one(PointingGame(within=0), spots((0, 0), (5, 5)), mask) == 0.5  # two highest places, one on the object
    with pytest.raises(ParameterError, match="within"):
        one(PointingGame(within=-1), point, mask)


@pytest.mark.parametrize(
    "metric", [PointingGame(), RelevanceMass(), RelevanceRank(), LocalisationAUC(), IOU(), TopKIntersection()]
)
def test_masks_that_ask_nothing_have_no_answer(metric: Any) -> None:
    """B11: an empty mask is no hit."""
    masks = torch.zeros(2, 6, 6, dtype=torch.bool)
    masks[1] = True
    got = measured(metric, NET, X, random(2, 6, 6), masks=masks)
    assert got.reasons == ("the mask is empty", "the mask is the whole picture")


def test_masses_by_hand() -> None:
    values, mask = random(6, 6, seed=3) - 0.5, random(6, 6, seed=4) < 0.3
    inside = sum(float(v) for v, m in zip(values.flatten(), mask.flatten(), strict=True) if m and v > 0)
    total = sum(float(v) for v in values.flatten() if v > 0)
    close(one(RelevanceMass(), values, mask), inside / total)
    close(one(AttributionLocalisation(), values, mask), inside / total * 36 / int(mask.sum()))
    # B12: the weight is that of the picture, not of the batch
    many = measured(AttributionLocalisation(), NET, X, values.expand(2, 6, 6), masks=mask.expand(2, 6, 6))
    close(many.values[0], one(AttributionLocalisation(), values, mask))
    assert math.isnan(one(RelevanceMass(), -values.abs(), mask))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans())
def test_ranks_and_auc_with_ties(seed: int, tied: bool) -> None:
    values, mask = random(6, 6, seed=seed), random(6, 6, seed=seed + 1) < 0.3
    values = (3 * values).floor() if tied else values
    values[0, 0], mask[0, 0], mask[0, 1] = 7, True, False
    flat, on = values.flatten().tolist(), mask.flatten().tolist()
    inside, outside = ([v for v, m in zip(flat, on, strict=True) if m is want] for want in (True, False))
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    close(one(LocalisationAUC(), values, mask), wins / len(inside) / len(outside))
    for metric, k in ((RelevanceRank(), len(inside)), (TopKIntersection(top=4), 4)):
        last = sorted(flat, reverse=True)[k - 1]
        sure = [m for v, m in zip(flat, on, strict=True) if v > last]
        level = [m for v, m in zip(flat, on, strict=True) if v == last]
        close(one(metric, values, mask), (sum(sure) + (k - len(sure)) * sum(level) / len(level)) / k)


def test_iou_and_top_k() -> None:
    values, mask = spots((0, 0), (0, 1), (1, 1)), spots((0, 0), (0, 1), (5, 5), (4, 4)).bool()
    close(one(IOU(), values, mask), 2 / 5)
    close(one(IOU(level=1.0), values + spots((0, 0)), mask), 1 / 4)
    with pytest.raises(ParameterError, match="at most 36"):
        one(TopKIntersection(top=37), values, mask)


def test_without_a_number_top_k_is_two_per_cent_of_the_places() -> None:
    """8 of 20 × 20; one at least, of 6 × 6."""
    order = torch.arange(400, 0, -1).view(1, 20, 20)
    x = pictures(1, side=20)
    for hit in range(9):
        mask = (order > 400 - hit) | (order <= 300)
        close(measured(TopKIntersection(), Corner(), x, order.double(), masks=mask).values, [hit / 8])
    assert one(TopKIntersection(), spots((1, 1)), spots((1, 1)).bool()) == 1


def test_masks_are_checked() -> None:
    e = explained(NET, X, random(2, 6, 6))
    with pytest.raises(InputError, match="without masks"):
        api.measure(api.wrap(NET), e, "relevance_mass", inputs=X)
    for wrong in (torch.ones(1, 6, 6), torch.ones(2, 5, 6)):
        with pytest.raises(InputError, match="one mask"):
            api.measure(api.wrap(NET), e, "relevance_mass", inputs=X, masks=wrong)
    lists = api.measure(api.wrap(NET), e, "relevance_mass", inputs=X, masks=[np.eye(6), np.eye(6)])
    assert lists[0].values[0] > 0


# -- by themselves -----------------------------------------------------------------------------------------------


def test_sparseness_is_the_mean_difference() -> None:
    """The Gini index is half the mean difference of two draws, relative to the mean."""
    a = random(6, 6, seed=5).flatten()
    difference = (a[:, None] - a).abs().mean() / (2 * a.mean())
    close(one(Sparseness(), a.view(6, 6)), difference)
    close(one(Sparseness(), -7 * a.view(6, 6)), difference)
    close(one(Sparseness(), spots((2, 2))), 1 - 1 / 36)


def test_entropy() -> None:
    """B13: negative values are magnitudes, and zeros add nothing."""
    close(one(Entropy(), spots((0, 0), (1, 0), (2, 0)) - 2 * spots((1, 0))), math.log(3))
    got = measured(Entropy(), NET, X, 1 + 1e-9 * random(2, 6, 6))
    close(got.values, [math.log(36)] * 2)
    close(got.extras["relative"], [1.0, 1.0])


def test_effective_complexity_of_the_right_map_is_its_corner() -> None:
    right = torch.zeros(2, 6, 6, dtype=torch.float64)
    right[:, :2, :2] = 1
    close(measured(EffectiveComplexity(steps=36, slack=1e-9), NET, X, right).values, [4 / 36] * 2)
    assert min(measured(EffectiveComplexity(steps=36, slack=1e-9), NET, X, 1 - right).values) > 32 / 36
    close(measured(EffectiveComplexity(steps=36, slack=1e6), NET, X, right).values, [0.0, 0.0])


# -- against one another -----------------------------------------------------------------------------------------


def test_agreement_with_the_others_of_the_same_output() -> None:
    handle = api.wrap(NET)
    e = explained(NET, X, random(2, 6, 6, seed=1))
    others = [
        replace(e, values=v, record=replace(e.record, method=f"m{i}")) for i, v in enumerate((e.values * 3, -e.values))
    ]
    away = explained(NET, X, random(2, 6, 6, seed=4), target=1)
    got = api.measure(handle, [e, *others, away], [RankAgreement(), TopAgreement(level=0.25)], inputs=X)
    close(got[0].extras["m0"], [1.0, 1.0])
    close(got[0].extras["m1"], [-1.0, -1.0])
    close(got[0].values, [0.0, 0.0])
    close(got[1].extras["m0"], [1.0, 1.0])
    close(got[1].extras["m1"], [0.0, 0.0])
    assert got[6].reasons == ("there is no other explanation of the same output",) * 2
    broken = api.measure(handle, [e, replace(e, values=e.values * 0)], [RankAgreement()], inputs=X)
    assert all("no other" in why for why in broken[0].reasons) and broken[1].reasons == ("the map is zero",) * 2


def test_ties_among_the_highest_count_as_if_drawn() -> None:
    """One highest place and five level ones, of which two more are drawn: the mean over all draws, exactly."""
    a = spots((0, 0)) * 2 + spots(*[(1, j) for j in range(5)])
    b = spots((0, 0), (1, 0), (1, 1)) * 3 + 0.01 * random(6, 6).float()
    e = explained(NET, X[:1], a[None].double())
    other = replace(e, values=b[None].double())
    got = api.measure(api.wrap(NET), [e, other], [TopAgreement(level=3 / 36)], inputs=X[:1])
    draws = list(combinations(range(5), 2))
    close(got[0].values[0], sum(1 + len({0, 1} & set(d)) for d in draws) / len(draws) / 3)
