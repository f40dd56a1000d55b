"""Correlations, infidelity, imputation and completeness, where a linear model makes the right map known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pellucid import api
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.points import Masked
from pellucid.metrics import ROAD, CompletenessGap, FidelityCorrelation, Infidelity, SensitivityN
from pellucid.metrics.infidelity import squares
from pellucid.ops.correlation import jackknifed, pearson, ranks, spearman
from pellucid.ops.imputation import imputed
from pellucid.ops.removal import Order
from pellucid.ops.subsets import coins, sized

from .planted import Corner, Linear, close, explained, measured, pictures, random, weights

X, W = pictures(2), weights()
NET = Linear(W, 0.7)
RIGHT = W * (X - X.mean((2, 3), keepdim=True))  # contributions against the mean colour
GRADIENT = W.expand_as(X)


@pytest.mark.parametrize("metric", [FidelityCorrelation(), FidelityCorrelation(correlation="spearman"), SensitivityN()])
def test_the_contributions_of_a_linear_model_correlate_perfectly(metric: object) -> None:
    got = measured(metric, NET, X, RIGHT)
    close(got.values, [1.0, 1.0])
    close(measured(metric, NET, X, -3 * RIGHT).values, [-1.0, -1.0])
    assert got.std_error is not None
    close(got.std_error, [0.0, 0.0], 1e-6)


def test_fidelity_correlation_subset_by_subset() -> None:
    """Against NumPy: what the map says of every subset, and what the model does."""
    values = random(2, 6, 6, seed=3)
    seen: list[Tensor] = []

    class Looking(Corner):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x)

    net, fill = Looking(), X.mean((2, 3), keepdim=True).expand_as(X)
    e = explained(net, X, values)
    seen.clear()
    got = api.measure(api.wrap(net), e, [FidelityCorrelation(samples=50)], inputs=X)[0]
    rows = torch.cat(seen)
    with torch.no_grad():
        clean = Corner()(X).softmax(1)[:, 0]
        for b in range(2):
            hidden = [((r == fill[b]).all(0), r) for r in rows]
            mine = [
                (h, r) for h, r in hidden if torch.equal(torch.where(h, fill[b], X[b]), r) and 0 < int(h.sum()) < 36
            ]
            assert len(mine) == 50 and {int(h.sum()) for h, _ in mine} == {7}  # 20 % of 36
            said = [float(values[b][h].sum()) for h, _ in mine]
            fell = [float(clean[b] - Corner()(r[None]).softmax(1)[0, 0]) for _, r in mine]
            close(got.values[b], float(np.corrcoef(said, fell)[0, 1]))


def test_sensitivity_n_says_how_large_its_subsets_are() -> None:
    """From one part of 36 to 80 % of them, in equal ratios; at every size of a linear model exactly."""
    got = measured(SensitivityN(steps=3, samples=8, regions="pixels"), NET, X, RIGHT)
    assert got.curve is not None
    for x, y in got.curve:
        close(x, [1 / 36, (0.8 / 36) ** 0.5, 0.8])
        close(y, [1.0] * 3)
    few = measured(SensitivityN(steps=2, samples=8, regions="cells(1, 1)"), NET, X, RIGHT)
    assert all(math.isnan(v) for v in few.values) and few.curve is not None  # hidden or not, there is one part alone
    close(few.curve[0][0], [0.8, 0.8])


def test_a_model_that_does_not_care_has_no_correlation() -> None:
    """And no NaN becomes a zero."""
    got = measured(FidelityCorrelation(), Linear(torch.zeros_like(W)), X, RIGHT)
    assert all(math.isnan(v) for v in got.values) and all("does not change" in why for why in got.reasons)


def test_painted_regions_are_shared_out() -> None:
    """What a region is worth is counted once, however many pixels show it."""
    labels = torch.tensor([[0] * 5 + [1]] * 6)
    black = Linear(W.clamp(min=0))
    e = api.explain(api.wrap(black), X, ["exact_shapley"], target=0)[0]
    assert e.extras["players"].shape[0] == 2
    worth = random(2, 2, seed=8)
    painted = torch.stack([one[labels] for one in worth])
    regions = labels.expand(2, -1, -1)
    e = replace(e, values=painted, extras={"players": worth, "regions": regions}, kind=Kind.CONTRIBUTION)
    shared = replace(e, values=painted / torch.tensor([30.0, 6.0])[labels], extras={})
    one, other = (api.measure(api.wrap(black), one, ["fidelity_correlation"], inputs=X)[0] for one in (e, shared))
    close(one.values, other.values)


# -- infidelity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "values", "kind"),
    [
        (Infidelity(), RIGHT, Kind.CONTRIBUTION),
        (Infidelity(perturb="subsets"), RIGHT, Kind.CONTRIBUTION),
        (Infidelity(perturb="subsets", regions="pixels"), GRADIENT, Kind.SENSITIVITY),
        (Infidelity(window=1), GRADIENT, Kind.SENSITIVITY),
        (Infidelity(perturb="gaussian"), GRADIENT, Kind.SENSITIVITY),
        (Infidelity(perturb="gaussian", samples=8, seed=4), 5 * GRADIENT, Kind.SENSITIVITY),
    ],
)
def test_a_linear_model_has_no_infidelity(metric: Infidelity, values: Tensor, kind: Kind) -> None:
    got = measured(metric, NET, X, values, kind)
    close(got.values, [0.0, 0.0])
    scale = float(W.flatten()[0] / values[0].flatten()[0]) if kind is Kind.SENSITIVITY else 1.0
    close(got.extras["scale"], [scale] * 2)
    if scale == 1:
        close(got.extras["raw"], [0.0, 0.0])
    nothing = measured(metric, NET, X, random(2, 3, 6, 6, seed=77) - 0.5, kind)
    assert all(u > 0.2 for u in nothing.extras["unexplained"])


def test_contributions_say_nothing_of_small_noise() -> None:
    got = measured(Infidelity(perturb="gaussian"), NET, X, RIGHT)
    assert set(got.reasons) == {"a contribution says nothing of small noise"}


def test_a_sensitivity_without_channels_counts_for_each() -> None:
    flat = random(2, 6, 6, seed=4)
    for metric in (Infidelity(window=1), Infidelity(perturb="gaussian", samples=8)):
        wide, narrow = (
            measured(metric, Corner(), X, v, Kind.SENSITIVITY) for v in (flat[:, None].expand_as(X).clone(), flat)
        )
        close(wide.values, narrow.values)
        close(wide.extras["scale"], narrow.extras["scale"])


def test_infidelity_of_ones_own_perturbations_by_hand() -> None:
    """(noise, perturbed) as in Captum, photo by photo, with the raw and the optimally scaled error."""
    noise = random(5, 3, 6, 6, seed=2) * 0.1
    asked: list[tuple[int, ...]] = []

    def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(tuple(x.shape))
        x += 0  # a copy: what is done to it stays here
        return noise, x - noise

    values = random(2, 3, 6, 6, seed=4)
    got = measured(Infidelity(perturb=perturb, samples=5), Corner(), X, values, Kind.SENSITIVITY)
    assert asked == [(5, 3, 6, 6)] * 2
    with torch.no_grad():
        for b in range(2):
            fall = (Corner()(X[b : b + 1]).softmax(1) - Corner()(X[b] - noise).softmax(1))[:, 0]
            told = (noise * values[b]).flatten(1).sum(1)
            scale = (told * fall).mean() / (told**2).mean()
            close(got.extras["raw"][b], ((told - fall) ** 2).mean())
            close(got.values[b], ((scale * told - fall) ** 2).mean())
    with pytest.raises(ParameterError, match="perturb function"):
        measured(Infidelity(perturb=lambda x: x), Corner(), X, values, Kind.SENSITIVITY)
    with pytest.raises(ParameterError, match="window"):
        measured(Infidelity(window=7), Corner(), X, values)
    with pytest.raises(ParameterError, match="perturb"):
        measured(Infidelity(perturb="circles"), Corner(), X, values)


@pytest.mark.parametrize(("window", "side"), [(2, 2), (1, 1), (6, 6), (None, 1)])
def test_squares_lie_anywhere_in_the_picture_and_nowhere_else(window: int | None, side: int) -> None:
    """6 × 9: every square is whole, and every corner that leaves it whole comes up about equally often."""
    x = random(2, 3, 6, 9)
    many = 3000
    found = squares(SimpleNamespace(x=x), window, many, seed=3)  # pyright: ignore[reportArgumentType]
    corners = Counter[tuple[int, int]]()
    for hidden in found.view(many, 6, 9):
        down, across = hidden.nonzero().unbind(1)
        top, left = int(down.min()), int(across.min())
        square = torch.zeros(6, 9, dtype=torch.bool)
        square[top : top + side, left : left + side] = True
        assert torch.equal(hidden, square) and int(hidden.sum()) == side * side
        corners[top, left] += 1
    places = (7 - side) * (10 - side)
    expected = many / places
    assert len(corners) == places
    assert all(abs(n - expected) < 5 * expected**0.5 for n in corners.values())
    for wrong in (0, 7, 2.0, True):
        with pytest.raises(ParameterError, match="window"):
            squares(SimpleNamespace(x=x), wrong, 4, seed=0)  # pyright: ignore[reportArgumentType]


def test_hidden_places_show_each_row_its_own_fill() -> None:
    x = random(2, 3, 6, 6)
    hidden = squares(SimpleNamespace(x=x), 2, 5, seed=0)  # pyright: ignore[reportArgumentType]
    for fill in (random(2, 3, 6, 6, seed=1), random(1, 3, 6, 6, seed=2)):
        points = Masked(x, hidden, torch.arange(36).view(6, 6), fill)
        for b in range(2):
            got = points.rows(1, 4, b, b + 1)
            for k in range(3):
                there = hidden[k + 1].view(6, 6)
                assert torch.equal(got[k], torch.where(there, fill[min(b, len(fill) - 1)], x[b]))
        assert torch.equal(points.rows(0, 5, 0, 2).view(5, 2, 3, 6, 6)[1:4, 1], got)


def test_more_samples_are_other_samples() -> None:
    """B10: not the same repeated, so the error falls with their number."""
    errors = [measured(Infidelity(samples=n, window=2), Corner(), X, RIGHT).std_error for n in (16, 1024)]
    assert errors[0] is not None and errors[1] is not None
    assert 4 < errors[0][0] / errors[1][0] < 16


# -- ROAD --------------------------------------------------------------------------------------------------------


def test_infidelity_of_subsets_by_hand() -> None:
    """(Σ_S a − Δ)² over the subsets, from the metric that gives them away: every pixel's weight is its own question."""
    net, values = Corner(), random(2, 6, 6, seed=3)
    got = measured(Infidelity(samples=40, perturb="subsets", hidden=0.3, scaled=False), net, X, values)
    hidden = sized(36, torch.tensor([0.3]), 40, 0).view(40, 6, 6)
    assert set(hidden.flatten(1).sum(1).tolist()) == {11}
    with torch.no_grad():
        for b in range(2):
            fill = X[b].mean((1, 2), keepdim=True)
            rows = torch.stack([torch.where(h, fill, X[b]) for h in hidden])
            fall = net(X[b : b + 1]).softmax(1)[:, 0] - net(rows).softmax(1)[:, 0]
            said = (hidden * values[b]).sum((1, 2))
            close([got.values[b]], [float((said - fall).square().mean())], 1e-6)


def test_the_rows_of_fidelity_correlation_serve_infidelity_too() -> None:
    """Of five maps, and also where there are fewer: more samples begin with the same subsets."""
    handle = api.wrap(Corner())
    maps = [explained(Corner(), X, random(2, 6, 6, seed=s)) for s in range(5)]
    correlation = FidelityCorrelation(samples=30, hidden=0.2)
    alone = api.measure(handle, maps[:1], [correlation], inputs=X)
    assert alone[0].passes.forward == 2 * (1 + 30)
    for samples in (30, 12):
        both = [correlation, Infidelity(samples=samples, perturb="subsets", hidden=0.2)]
        got = api.measure(handle, maps, both, inputs=X)
        assert got[0].passes.forward == alone[0].passes.forward
        close(got[0].values, alone[0].values)
        close(got[9].values, api.measure(handle, maps[4], both[1], inputs=X)[0].values)
    other = api.measure(handle, maps, [correlation, Infidelity(samples=12, perturb="subsets", seed=1)], inputs=X)
    assert other[0].passes.forward == alone[0].passes.forward + 2 * 12


def test_more_subsets_begin_with_the_same() -> None:
    few, many = (sized(50, torch.tensor([0.1, 0.5]), n, 7).unflatten(0, (2, n)) for n in (5, 9))
    assert torch.equal(many[:, :5], few)
    assert few.sum(2).tolist() == [[5] * 5, [25] * 5]
    a, b = (coins(50, torch.tensor([0.4]), n, 7) for n in (5, 9))
    assert torch.equal(b[:5], a) and len({tuple(row) for row in b.tolist()}) == 9


def dense(x: Tensor, gone: Tensor) -> Tensor:
    """The same system with a matrix: every place that is gone is the weighted mean of its neighbours in the picture."""
    height, width = gone.shape
    n = height * width
    a, b = torch.eye(n, dtype=torch.float64), x.flatten(1).T.clone()
    for i in range(height):
        for j in range(width):
            if not gone[i, j]:
                continue
            row, total = i * width + j, 0.0
            b[row] = 0
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if (di or dj) and 0 <= i + di < height and 0 <= j + dj < width:
                        weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
                        a[row, (i + di) * width + j + dj] -= weight
                        total += weight
            a[row, row] = total
    return torch.linalg.solve(a, b).T.reshape(x.shape)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(2, 9), st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_imputation_solves_its_system(height: int, width: int, share: float, seed: int) -> None:
    x = random(2, 3, height, width, seed=seed)
    gone = random(2, height, width, seed=seed + 1) < share
    gone[:, 0, 0] = False
    got = imputed(x, gone)
    for b in range(2):
        close(got[b], dense(x[b], gone[b]), 1e-4)
    close(imputed(x[:1], gone[:1]), got[:1], 1e-12)
    assert torch.equal(torch.where(gone[:, None], 0, got), torch.where(gone[:, None], 0, x))


def test_a_plane_is_imputed_exactly_inside() -> None:
    down, across = torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="ij")
    plane = (2 + 0.1 * down - 0.3 * across).double()[None, None]
    gone = torch.zeros(1, 9, 8, dtype=torch.bool)
    gone[0, 3:6, 2:6] = True
    close(imputed(plane, gone), plane, 1e-5)


def test_road_by_hand() -> None:
    """B2: every row counts. B30: ties. And colour pictures."""
    flat = torch.zeros(2, 6, 6, dtype=torch.float64)
    flat[:, 1, 1], flat[:, 4, 2] = 2, 1
    got = measured(ROAD(shares=(0.25, 0.5), std=0.0), Corner(), X, flat)
    most = measured(ROAD(shares=(0.25, 0.5), std=0.0, first="most"), Corner(), X, flat)
    order = Order.of(flat)
    with torch.no_grad():
        for b in range(2):
            gaps, falls = [], []
            for count in (9, 18):
                low, high = (
                    Corner()(dense(X[b], one.rank[b] < count)[None]).softmax(1)[0, 0]
                    for one in (order.reversed(), order)
                )
                gaps.append(float(low - high) / 2)
                falls.append(float(Corner()(X[b : b + 1]).softmax(1)[0, 0] - high))
            close(got.values[b], sum(gaps) / 2, 1e-4)
            close(most.values[b], sum(falls) / 2, 1e-4)
    assert got.curve is not None
    close(got.curve[0][0], [0.25, 0.5])
    for wrong in ((), (0.0, 0.5), (0.5, 1.0), (-0.1,), (1.5,)):
        with pytest.raises(ParameterError, match="shares"):
            measured(ROAD(shares=wrong), Corner(), X, flat)
    noisy = [measured(ROAD(std=0.05, seed=seed), Corner(), X, flat).values for seed in (0, 0, 1)]
    assert noisy[0] == noisy[1] != noisy[2]


# -- completeness ------------------------------------------------------------------------------------------------


def test_completeness_is_a_gap_and_no_equality_of_floats() -> None:
    """B13: exact up to rounding is a gap of rounding."""
    handle = api.wrap(NET)
    them = api.explain(handle, X, ["integrated_gradients", "input_x_gradient", "exact_shapley", "gradient"], target=0)
    got = [m.values for m in api.measure(handle, them, ["completeness_gap"], inputs=X)]
    close(got[0], [0.0, 0.0])
    score = NET(X).detach()[:, 0].tolist()
    close(got[1], [abs(0.7 / s) for s in score])  # the bias is nobody's
    close(got[2], [0.0, 0.0])
    assert all(map(math.isnan, got[3]))
    whole = measured(CompletenessGap(baseline="mean"), NET, X, RIGHT * 1.25)
    close(whole.values, [0.25, 0.25])
    close(whole.extras["difference"], RIGHT.flatten(1).sum(1))
    same = measured(CompletenessGap(baseline="black"), Linear(torch.zeros_like(W), 3.0), X, RIGHT)
    assert set(same.reasons) == {"the difference of scores is rounding"}


# -- correlations ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=12))
def test_correlations(pairs: list[tuple[int, int]]) -> None:
    a, b = (torch.tensor(one, dtype=torch.float64) for one in zip(*pairs, strict=True))
    rank = [[(sum(v < w for v in one) + sum(v <= w for v in one) - 1) / 2 for w in one] for one in (a, b)]
    close(ranks(a), rank[0])
    constant = len(set(a.tolist())) == 1 or len(set(b.tolist())) == 1
    for how, (u, v) in {pearson: (a.numpy(), b.numpy()), spearman: (np.array(rank[0]), np.array(rank[1]))}.items():
        if constant:
            assert how(a, b).isnan()
            continue
        close(how(a, b), float(np.corrcoef(u, v)[0, 1]))
    if constant:
        return
    value, error = jackknifed(a, b, "pearson")
    close(value, pearson(a, b))
    keep = [torch.arange(len(a)) != i for i in range(len(a))]
    without = torch.stack([pearson(a[k], b[k]) for k in keep])
    if not without.isnan().any():
        close(error, ((len(a) - 1) / len(a) * (without - without.mean()).square().sum()).sqrt(), 1e-6)
