"""SP-LIME: the greedy cover against all covers, and which features are the same in all rows."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import GRID, Shown, weights
from torch import Tensor, nn

from pellucid.api import explain
from pellucid.core.errors import InputError, ParameterError
from pellucid.methods.gradient import InputXGradient
from pellucid.methods.lime import LIME
from pellucid.studies.pick import cover, submodular_pick

PICTURES = torch.rand(4, 3, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(rows=st.integers(1, 7), features=st.integers(1, 6), count=st.integers(1, 4), seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_greedy_reaches_its_share_of_the_best(rows: int, features: int, count: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    shows = torch.rand(rows, features, generator=draw) < 0.4
    importance = torch.rand(features, generator=draw, dtype=torch.float64)
    count = min(count, rows)
    picked, curve = cover(shows, importance, count)

    def worth(some: Any) -> float:
        return float(importance[shows[list(some)].any(0)].sum())

    best = max(worth(some) for some in combinations(range(rows), count))
    assert worth(picked) >= (1 - 1 / math.e) * best - 1e-12
    assert len(set(picked)) == count
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(worth(picked) / float(importance.sum()))


def linear(columns: int = 6) -> nn.Linear:
    layer = nn.Linear(columns, 2).double()
    nn.init.ones_(layer.weight)
    return layer


def test_the_example_of_the_paper() -> None:
    """Five rows, five features; the second and the fifth row cover four of them, and the second feature counts most."""
    rows = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 1, 1]])
    e = explain(linear(5), rows.double(), InputXGradient(), target=0, output="logit")[0]
    got = submodular_pick(e, 2, features=None)
    assert got.importance.tolist() == pytest.approx([1, 2, math.sqrt(2), math.sqrt(2), 1])
    assert got.rows == (1, 4)  # rows 1, 2 and 3 tie at 2 + √2; the first one is taken
    total = 2 + 2 + 2 * math.sqrt(2)
    assert got.curve == pytest.approx(((2 + math.sqrt(2)) / total, (3 + 2 * math.sqrt(2)) / total))
    assert got.names == ("row 2", "row 5")
    assert [one.inputs.name for one in got.explanations] == [("row 2",), ("row 5",)]


def test_features_are_the_strongest_of_a_row() -> None:
    rows = torch.tensor([[9.0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 8], [5, 0, 1, 1, 1, 1]]).double()
    e = explain(linear(), rows, InputXGradient(), target=0, output="logit")[0]
    assert submodular_pick(e, 2, features=1).rows == (0, 1)
    assert submodular_pick(e, 9, features=1).rows == (0, 1, 2)


def picture_model() -> Shown:
    w: Tensor = weights(2)
    return Shown(lambda shown: shown @ w, GRID)


def test_regions_count_where_they_are_the_same() -> None:
    lime = LIME(samples=40, regions="cells(2, 3)", fill="black")
    got = submodular_pick(explain(picture_model(), PICTURES, lime, target=0, output="logit"), 2)
    assert len(got.rows) == 2
    assert len(got.features) == 6


def test_regions_of_their_own_are_refused() -> None:
    own = explain(picture_model(), PICTURES, LIME(samples=10, regions="slic(4)"), target=0, output="logit")
    with pytest.raises(InputError, match="nothing to do with"):
        submodular_pick(own, 2)


def test_pixels_are_refused() -> None:
    e = explain(picture_model(), PICTURES, "occlusion", target=0, output="logit")
    with pytest.raises(InputError, match="per pixel"):
        submodular_pick(e, 2)


def test_counts_below_one_are_refused() -> None:
    e = explain(linear(), torch.ones(2, 6).double(), InputXGradient(), target=0, output="logit")
    with pytest.raises(ParameterError):
        submodular_pick(e, 0)
    with pytest.raises(ParameterError):
        submodular_pick(e, 1, features=0)
    with pytest.raises(InputError):
        submodular_pick([], 1)
