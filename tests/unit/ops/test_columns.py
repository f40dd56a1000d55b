"""Columns of a table: what is drawn follows their laws; bins, presence and Gower's distance beside slow derivations."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.ops.columns import Columns, Drawn, Law, binned_law, category_law, cuts, density, quantiles, whole_law

RNG = np.random.default_rng(0)
skewed = RNG.gamma(2.0, 3.0, 400)
NAN = float("nan")


def drawn(law: Law, count: int = 40_000) -> np.ndarray[Any, Any]:
    u = (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) / count
    return quantiles(torch.from_numpy(law.cells)[:, None], u)[:, 0].numpy()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), min_size=2, max_size=60), st.integers(2, 12))
def test_bins_hold_every_value_once_and_do_not_overlap(values: list[float], bins: int) -> None:
    array = np.array(values)
    if array.min() == array.max():
        return
    for by in (True, False):
        borders = cuts(array, bins, by)
        assert 3 <= len(borders) <= bins + 1
        assert (np.diff(borders) > 0).all()
        assert (borders[0], borders[-1]) == (array.min(), pytest.approx(array.max()))
        law = binned_law(array, bins, by, "uniform")
        held = [((array > a) & (array <= b)).sum() for a, b in pairwise(borders)]
        held[0] += (array == borders[0]).sum()
        share = np.diff(np.concatenate([[0.0], law.cells[0]]))
        if array.max() <= borders[-1]:
            np.testing.assert_allclose(share, np.array(held) / len(array), atol=1e-12)


def test_quantiles_that_coincide_are_one_and_too_few_become_bins_of_equal_width() -> None:
    np.testing.assert_allclose(cuts(np.array([0.0] * 60 + [1.0] * 20 + [5.0] * 20), 4), [0, 1, 5])
    np.testing.assert_allclose(cuts(np.array([0.0] * 90 + [1.0] * 10), 4), [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_bin_comes_as_often_as_in_the_table_and_values_stay_inside(draw: str) -> None:
    borders = cuts(skewed, 4)
    values = drawn(binned_law(skewed, 4, True, draw))
    assert (values >= borders[0]).all() and (values <= borders[-1]).all()
    for low, high in pairwise(borders):
        inside = (values > low) & (values <= high)
        assert abs(inside.mean() - ((skewed > low) & (skewed <= high)).mean()) < 0.005
        if draw == "uniform":
            assert abs(values[inside].mean() - (low + high) / 2) < 1e-3 * (borders[-1] - borders[0])


def test_the_normal_in_a_bin_is_the_truncated_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    borders = cuts(skewed, 4)
    inside = skewed[(borders[1] < skewed) & (borders[2] >= skewed)]
    mean, std = inside.mean(), inside.std()
    theirs = stats.truncnorm((borders[1] - mean) / std, (borders[2] - mean) / std, mean, std)
    values = drawn(binned_law(skewed, 4, True, "normal"))
    mine = np.sort(values[(values > borders[1]) & (values <= borders[2])])
    np.testing.assert_allclose(mine, theirs.ppf((np.arange(len(mine)) + 0.5) / len(mine)), atol=5e-3)


def test_without_bins_the_law_is_the_normal_or_the_density() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = drawn(whole_law(skewed, "normal"), 1001)
    np.testing.assert_allclose(
        values, stats.norm(skewed.mean(), skewed.std()).ppf((np.arange(1001) + 0.5) / 1001), rtol=1e-9
    )
    grid, height = density(skewed)
    width = 0.9 * min(skewed.std(ddof=1), stats.iqr(skewed) / 1.34) * 400**-0.2
    np.testing.assert_allclose(height, stats.gaussian_kde(skewed, width / skewed.std(ddof=1))(grid), rtol=1e-9)
    by_density = drawn(whole_law(skewed, "density"))
    assert abs(by_density.mean() - skewed.mean()) < 0.02 * skewed.std()
    assert abs(by_density.var() - skewed.var(ddof=1) - width**2) < 0.02 * skewed.var()


def test_categories_and_what_is_missing_come_as_often_as_they_are_there() -> None:
    codes = np.array([0.0] * 50 + [2.0] * 30 + [-1.0] * 20)
    values = drawn(category_law(codes), 1000)
    assert [int((values == code).sum()) for code in (-1, 0, 1, 2)] == [200, 500, 0, 300]
    gone = np.concatenate([skewed, np.full(100, np.nan)])
    assert np.isnan(drawn(binned_law(gone, 4, True, "uniform"), 1000)).sum() == 200
    assert np.isnan(drawn(binned_law(gone, 4, True, "normal"), 1000)).sum() == 200


TABLE = torch.tensor(
    [
        [*map(float, (v, c, d, 7))]
        for v, c, d in zip(skewed, RNG.integers(0, 3, 400), RNG.integers(0, 9, 400), strict=True)
    ],
    dtype=torch.float64,
)
TYPES = ("numeric", "categorical", "integer", "numeric")


@pytest.mark.parametrize(("bins", "draw"), [(4, "normal"), (4, "uniform"), (None, "density"), (None, "around")])
def test_rows_are_the_same_however_they_are_cut_into_blocks(bins: int | None, draw: str) -> None:
    columns = Columns.of(TABLE, TYPES, bins, True, draw)
    x, u = TABLE[:3] + torch.tensor([0.0, 0, 0, 1]), torch.rand(50, 4, dtype=torch.float64)
    points = Drawn.of(columns, x, u)
    whole = points.rows(0, 50, 0, 3).view(50, 3, 4)
    assert torch.equal(points.rows(10, 20, 1, 2).view(10, 4), whole[10:20, 1])
    assert torch.equal(whole[:, :, 3], x[:, 3].expand(50, 3))  # it does not vary, and stays even where it is another
    assert torch.equal(whole[:, :, 2], whole[:, :, 2].round())
    assert set(whole[:, :, 1].flatten().tolist()) <= {0.0, 1.0, 2.0}
    assert points == Drawn.of(Columns.of(TABLE, TYPES, bins, True, draw), x.clone(), u.clone())
    if draw == "around":
        np.testing.assert_allclose((whole[:, 1] - whole[:, 0])[:, 0], x[1, 0] - x[0, 0])


def test_presence_says_what_is_as_in_the_row() -> None:
    columns = Columns.of(TABLE, TYPES, 4, True, "uniform")
    x = TABLE[5]
    z = columns.presence(TABLE, x)
    borders = [cuts(TABLE[:, i].numpy(), 4) for i in (0, 2)]
    for place, column in enumerate((0, 2)):
        wanted = np.digitize(TABLE[:, column], borders[place][1:-1], right=True)
        assert np.array_equal(z[:, column].numpy(), (wanted == wanted[5]).astype(float))
    assert torch.equal(z[:, 1], (TABLE[:, 1] == x[1]).double())
    assert z[:, 3].tolist() == [1.0] * 400
    low, high = columns.borders(x)[0].tolist()
    assert low < float(x[0]) <= high
    assert columns.borders(x)[1].isnan().all() and columns.borders(x)[3].isnan().all()
    free = Columns.of(TABLE, TYPES, None, True, "normal").presence(TABLE, x)
    np.testing.assert_allclose(free[:, 0], (skewed - skewed.mean()) / skewed.std(), rtol=1e-12)


def test_missing_numbers_are_a_bin_of_their_own() -> None:
    table = torch.cat([TABLE, torch.tensor([[NAN, 1.0, 2.0, 7.0]], dtype=torch.float64)])
    columns = Columns.of(table, TYPES, 4, True, "uniform")
    assert columns.presence(table, table[400])[:, 0].tolist() == [0.0] * 400 + [1.0]
    assert columns.presence(table, table[0])[400, 0] == 0
    assert columns.borders(table[400])[0].isnan().all()


def gower_by_hand(one: list[float], other: list[float], spans: list[float], types: list[str]) -> float:
    far, counts = 0.0, 0
    for a, b, span, kind in zip(one, other, spans, types, strict=True):
        if kind == "boolean" and a == 0 == b:
            continue
        if kind == "numeric" and span == 0:
            continue
        counts += 1
        far += (abs(a - b) / span) if kind == "numeric" else float(a != b)
    return far / counts if counts else 0.0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 2), st.integers(0, 1), st.just(4.0)), min_size=2, max_size=8)
)
def test_gower_s_distance_is_the_mean_over_columns(rows: list[tuple[float, ...]]) -> None:
    kinds = ["numeric", "categorical", "boolean", "numeric"]
    values = torch.tensor(rows, dtype=torch.float64)
    columns = Columns.of(TABLE[:, [0, 1, 1, 3]], kinds, 4, True, "uniform")
    spans = (values.amax(0) - values.amin(0)).tolist()
    wanted = [gower_by_hand(row, values[0].tolist(), spans, kinds) for row in values.tolist()]
    np.testing.assert_allclose(columns.gower(values, values[0]), wanted, atol=1e-12)
