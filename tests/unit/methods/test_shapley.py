"""Games of regions: every estimator against enumeration by hand, axioms, peers, and how often intervals hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import (
    CELLS,
    PLAYERS,
    WHITE,
    additive,
    banzhaf_by_hand,
    designed,
    looked_up,
    number,
    shapley_by_hand,
    table,
    weights,
)
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

from pellucid.api import explain
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.banzhaf import Banzhaf
from pellucid.methods.exact_shapley import ExactShapley
from pellucid.methods.feature_ablation import FeatureAblation
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME
from pellucid.methods.permutation_shap import PermutationSHAP
from pellucid.ops.boards import Coalitions
from pellucid.ops.games import Played, Worth, efficiency
from pellucid.ops.ridge import ridge
from pellucid.ops.shapley_fit import shapley, shapley_fit
from pellucid.regions import Labels

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}
NET: Any = net(Convnet())
SHAPLEY = (ExactShapley(**BLACK), KernelSHAP(**BLACK), KernelSHAP(samples=40, **BLACK), PermutationSHAP(**BLACK))
EVERY = (*SHAPLEY, Banzhaf(samples=20, **BLACK), FeatureAblation(**BLACK), LIME(ridge=0.0, samples=20, **BLACK))


def solved(played: Played) -> Worth:
    fit = shapley_fit(played)
    return Worth(fit.coef, fit.std_error)


def one(model: Any, method: Any, x: Tensor = WHITE, target: Any = 0, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, output="logit", **more)[0]


def players(model: Any, method: Any, **more: Any) -> Tensor:
    return one(model, method, **more).extras["players"]


def close(got: Any, wanted: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    got, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (got, wanted))
    torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol)


# -- the right numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", SHAPLEY[:2], ids=lambda m: m.about.name)
def test_shapley_values_are_those_of_all_orders(method: Any) -> None:
    worths = table()
    for target in (0, 1):
        close(players(looked_up(worths), method, target=target)[0], shapley_by_hand(worths[:, target].tolist()))


def test_banzhaf_values_are_means_over_all_coalitions() -> None:
    worths = table()
    e = one(looked_up(worths), Banzhaf(**BLACK), target=1)
    close(e.extras["players"][0], banzhaf_by_hand(worths[:, 1].tolist()))
    assert not bool(e.extras["players_std_error"].any())


def test_ablation_takes_one_away() -> None:
    worths = table()
    wanted = [worths[63, 0] - worths[63 & ~(1 << i), 0] for i in range(PLAYERS)]
    close(players(looked_up(worths), FeatureAblation(**BLACK))[0], wanted)


@pytest.mark.parametrize("method", EVERY, ids=lambda m: m.about.name)
def test_every_estimator_is_exact_on_additive_games(method: Any) -> None:
    w = weights()
    for target in (0, 1):
        e = one(additive(w), method, target=target)
        close(e.extras["players"][0], w[:, target])
        assert "players_std_error" not in e.extras or float(e.extras["players_std_error"].max()) < 1e-9


@pytest.mark.parametrize("method", EVERY, ids=lambda m: m.about.name)
def test_values_are_painted_on_their_regions(method: Any) -> None:
    e = one(looked_up(table()), method)
    assert e.dims == ("batch", "height", "width")
    for k in range(PLAYERS):
        assert bool((e.values[0][e.extras["regions"][0] == k] == e.extras["players"][0, k]).all())


# -- axioms ------------------------------------------------------------------------------------------------------

GAMES = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.floats(-5, 5).map(lambda v: round(v, 3)), min_size=2**n, max_size=2**n)
)


@given(GAMES)
@settings(max_examples=50, deadline=None)
def test_exact_values_are_efficient_symmetric_linear_and_leave_dummies_alone(worths: list[float]) -> None:
    v = torch.tensor(worths, dtype=torch.float64)
    phi = shapley(v[None])[0]
    n = len(phi)
    close(phi, shapley_by_hand(worths))
    close(phi.sum(), v[-1] - v[0])
    close(shapley((3 * v + v.square())[None])[0], 3 * phi + shapley(v.square()[None])[0])
    at = torch.arange(2**n)
    ignored = v[at & ~1]  # nobody looks at player 0
    assert float(shapley(ignored[None])[0, 0]) == 0
    if n > 1:
        swapped = (at & ~3) | (at >> 1 & 1) | (at & 1) << 1
        alike = shapley((v + v[swapped])[None])[0]
        close(alike[0], alike[1])


@given(st.integers(2, 9), st.integers(4, 40), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_kernel_shap_is_efficient_with_any_number_of_samples(n: int, samples: int, seed: int) -> None:
    worths = table(targets=3, players=n, seed=seed)
    design = designed(KernelSHAP(samples=samples, seed=seed), n)
    phi = solved(Played(design, worths[number(design.shown)].mT)).values
    close(phi.sum(1), worths[-1] - worths[0])


def test_a_process_is_exact_where_all_coalitions_fit_and_refused_where_it_would_not_fit() -> None:
    worths, way = table(), {"estimator": "process", **BLACK}
    wanted = shapley_by_hand(worths[:, 0].tolist())
    close(players(looked_up(worths), KernelSHAP(**way))[0], wanted)
    few = one(looked_up(worths), KernelSHAP(samples=40, **way))
    close(few.extras["players"][0].sum(), worths[-1, 0] - worths[0, 0])
    assert float(few.extras["players_std_error"].min()) > 0
    for limit in ({"samples": 6001}, {"tolerance": 0.1}, {"until_top": 2}):
        with pytest.raises(ParameterError, match="at most 6000"):
            one(looked_up(worths), KernelSHAP(**limit, **way))


@pytest.mark.parametrize("antithetic", [False, True])
def test_permutations_are_efficient_and_leave_dummies_alone(antithetic: bool) -> None:
    worths = table()[torch.arange(64) & ~4]
    e = one(looked_up(worths), PermutationSHAP(samples=5, antithetic=antithetic, **BLACK))
    close(e.extras["players"].sum(), worths[63, 0] - worths[0, 0])
    assert float(e.extras["players"][0, 2]) == 0
    assert all(check.passed == (True,) for check in e.checks if check.name == "efficiency")


def test_antithetic_orders_are_exact_where_only_pairs_interact() -> None:
    draw = torch.Generator().manual_seed(3)
    pairs = torch.randn(PLAYERS, PLAYERS, generator=draw, dtype=torch.float64)
    shown = ((torch.arange(64)[:, None] >> torch.arange(PLAYERS)) & 1).double()
    worths = ((shown @ pairs) * shown).sum(1, keepdim=True)
    got = players(looked_up(worths), PermutationSHAP(samples=4, **BLACK))
    close(got[0], shapley_by_hand(worths[:, 0].tolist()))
    assert (
        float((players(looked_up(worths), PermutationSHAP(samples=4, antithetic=False, **BLACK)) - got).abs().max())
        > 0.1
    )


def test_nothing_is_made_sparse() -> None:
    w = torch.linspace(0.5, 1, 24, dtype=torch.float64)[:, None].expand(24, 2)
    from tests.unit.games import Shown

    model = Shown(lambda shown: shown @ w, (4, 6))
    for method in (
        KernelSHAP(samples=200, regions="cells(4, 6)", fill="black"),
        LIME(regions="cells(4, 6)", fill="black"),
    ):
        assert int((players(model, method, x=torch.ones(1, 3, 8, 12).double()) > 0.3).sum()) == 24


# -- pictures that differ ----------------------------------------------------------------------------------------

DRAWN = torch.tensor([[[9, 9, 4, 4]] * 4, [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7]], [[1] * 4] * 4])
SMALL = pictures(3, side=4)


@pytest.mark.parametrize(
    "make",
    [
        lambda r: ExactShapley(regions=r),
        lambda r: KernelSHAP(samples=12, regions=r),
        lambda r: PermutationSHAP(samples=4, regions=r),
        lambda r: Banzhaf(samples=12, regions=r),
        lambda r: FeatureAblation(regions=r),
        lambda r: LIME(samples=12, regions=r),
        lambda r: LIME(samples=12, regions=r, features=1),
    ],
)
def test_every_picture_has_its_own_players(make: Any) -> None:
    whole = one(NET, make(Labels(DRAWN)), SMALL)
    for i, drawn in enumerate(DRAWN):
        alone = one(NET, make(Labels(drawn)), SMALL[i : i + 1])
        close(whole.values[i : i + 1], alone.values)
        count = len(drawn.unique())
        assert alone.extras["players"].shape[1] == count
        close(whole.extras["players"][i : i + 1, :count], alone.extras["players"])
        assert not bool(whole.extras["players"][i, count:].any())


def test_a_single_region_gets_the_whole_difference() -> None:
    for method in (ExactShapley, KernelSHAP, PermutationSHAP, Banzhaf, FeatureAblation):
        e = one(NET, method(regions=torch.zeros(4, 4), fill="gray"), SMALL)
        with torch.no_grad():
            wanted = NET(SMALL)[:, 0] - NET(torch.full_like(SMALL, 0.5))[:, 0]
        close(e.extras["players"][:, 0], wanted)


def test_pictures_need_not_be_square_nor_have_three_channels() -> None:
    for channels in (1, 2, 4, 13):
        x = torch.rand(2, channels, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        model = torch.nn.Sequential(torch.nn.Flatten(), net(torch.nn.Linear(45 * channels, 3)))
        regions = (torch.arange(45) % 4 - 7).view(5, 9)
        for fill in ("region_mean", "black"):
            e = one(model, KernelSHAP(regions=regions, fill=fill), x)
            close(e.extras["players"], one(model, ExactShapley(regions=regions, fill=fill), x).extras["players"])


def test_the_mean_of_a_region_is_what_it_shows() -> None:
    seen: list[Tensor] = []

    class Spy(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return x.flatten(1)[:, :3]

    one(Spy(1, 1).double(), FeatureAblation(regions=DRAWN[1]), SMALL)
    rows = torch.cat(seen)
    for x in SMALL:
        for k in range(8):
            wanted = x.clone()
            for c in range(3):
                wanted[c][DRAWN[1] == k] = x[c][DRAWN[1] == k].mean()
            assert bool((rows - wanted).abs().flatten(1).amax(1).min() < 1e-12)


# -- work --------------------------------------------------------------------------------------------------------


def test_equal_coalitions_are_evaluated_once() -> None:
    for method in (LIME(regions="cells(1, 3)"), PermutationSHAP(samples=50, regions="cells(1, 3)")):
        assert one(NET, method, SMALL).record.passes.forward <= 3 * (8 + 1)


def test_methods_share_the_coalitions_that_they_have_in_common() -> None:
    def rows(*methods: Any) -> int:
        return explain(NET, SMALL, list(methods), target=0)[0].record.passes.forward

    small: dict[str, Any] = {"regions": "cells(2, 3)"}
    assert rows(ExactShapley(**small), KernelSHAP(**small), Banzhaf(**small)) == rows(ExactShapley(**small))
    assert rows(LIME(samples=30, **small), Banzhaf(samples=30, **small)) == rows(LIME(samples=30, **small))


def test_pictures_are_built_only_when_they_are_needed() -> None:
    shown = torch.zeros(1, 10_000, 50, dtype=torch.bool)
    points = Coalitions(
        torch.ones(1, 3, 64, 64), shown, torch.zeros(1, 64, 64, dtype=torch.int64), torch.zeros(1, 1, 3, 64, 64)
    )
    assert points.count == 10_000
    assert points.rows(7, 9, 0, 1).shape == (2, 3, 64, 64)


# -- errors and checks -------------------------------------------------------------------------------------------


def covered(found: list[Worth], truth: Tensor) -> float:
    values = torch.stack([w.values for w in found])
    error = torch.stack([w.std_error for w in found if w.std_error is not None])
    return float(((values - truth).abs() <= 1.96 * error).double().mean())


def curved(n: int) -> Tensor:
    """A game like that of a picture: a sigmoid of a sum, with pairs; [2^n, 1]."""
    draw = torch.Generator().manual_seed(11)
    z = ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).double()
    w = torch.randn(n, generator=draw, dtype=torch.float64)
    p = torch.randn(n, n, generator=draw, dtype=torch.float64) / 3
    return torch.sigmoid(z @ w + ((z @ p) * z).sum(1) - 0.5)[:, None]


@pytest.mark.parametrize("seeds", [120])
def test_intervals_of_shapley_values_hold_as_often_as_they_say(seeds: int) -> None:
    n, worths = 9, curved(9)
    truth = shapley(worths.mT)
    kernel, orders = [], {False: [], True: []}
    for seed in range(seeds):
        design = designed(KernelSHAP(samples=120, seed=seed), n)
        kernel.append(solved(Played(design, worths[number(design.shown)].mT)))
        for antithetic, found in orders.items():
            method = PermutationSHAP(samples=40, antithetic=antithetic, seed=seed)
            design = designed(method, n)
            found.append(method._mean(Played(design, worths[number(design.shown)].mT)))
    for found in (kernel, *orders.values()):
        assert 0.90 <= covered(found, truth) <= 0.99
        bias = torch.stack([w.values for w in found]).mean(0) - truth
        spread = torch.stack([w.values for w in found]).std(0) / seeds**0.5
        assert float((bias / spread).abs().max()) < 4.5


@pytest.mark.parametrize("design", ["coin", "paired", "sobol", "hadamard"])
def test_intervals_of_banzhaf_values_hold_as_often_as_they_say(design: str) -> None:
    n, worths = 9, curved(9)
    truth = torch.tensor([banzhaf_by_hand(worths[:, 0].tolist())])
    found = []
    for seed in range(120):
        drawn = designed(Banzhaf(samples=256, design=design, seed=seed), n)
        fit = ridge(drawn.shown, worths[number(drawn.shown)].mT, drawn.weight, group=drawn.group)
        found.append(Worth(fit.coef, fit.std_error))
    assert 0.90 <= covered(found, truth) <= 0.99


def test_where_nothing_is_to_be_found_the_noise_is_as_large_as_the_values() -> None:
    shown = ((torch.arange(64)[:, None] >> torch.arange(PLAYERS)) & 1).double()
    kinds = ((KernelSHAP, shapley_by_hand), (PermutationSHAP, shapley_by_hand), (Banzhaf, banzhaf_by_hand))
    for kind, truth in kinds:
        worths = table(1)
        rest = worths - shown @ torch.tensor(truth(worths[:, 0].tolist()), dtype=torch.float64)[:, None]
        noise = {check.name: check.value[0] for check in one(looked_up(rest), kind(samples=12, **BLACK)).checks}[
            "noise"
        ]
        assert noise > 0.5, kind


def test_values_that_do_not_add_up_turn_efficiency_red() -> None:
    worth = Worth(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    check = efficiency([worth], [torch.tensor([3.3, 0.0])])
    assert check.passed.tolist() == [[False], [True]]
    close(check.value[0], [0.3 / 3.3], rtol=1e-6)


def test_values_that_cancel_are_efficient_up_to_rounding() -> None:
    worths = table()
    worths[63] = worths[0]
    for method in SHAPLEY:
        assert {c.name: c.passed for c in one(looked_up(worths), method).checks}["efficiency"] == (True,)


def test_a_game_that_is_not_linear_turns_r2_red() -> None:
    parity = (1.0 - 2.0 * (torch.tensor([k.bit_count() for k in range(64)]) % 2))[:, None].double()
    checks = {c.name: c for c in one(looked_up(parity), Banzhaf(**BLACK)).checks}
    assert checks["r2"].passed == (False,)
    assert abs(checks["r2"].value[0]) < 1e-9


def test_too_many_players_for_exact_values_are_refused_before_anything_is_evaluated() -> None:
    with pytest.raises(ParameterError, match="at most 16"):
        one(NET, ExactShapley(regions="cells(4, 5)"), pictures(1))


GAMES = [LIME, KernelSHAP, ExactShapley, PermutationSHAP, Banzhaf, FeatureAblation]


@pytest.mark.parametrize("method", GAMES)
def test_no_game_of_rows_that_nobody_knows(method: Any) -> None:
    class Last(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(2)

    with pytest.raises(InputError, match="pictures"):
        one(net(Last()), method(), torch.rand(2, 3, 6).double())


def test_the_record_tells_the_regions() -> None:
    from pellucid.regions import Cells

    e = one(NET, FeatureAblation(regions=Cells(2, 3)), SMALL)
    again = one(NET, FeatureAblation(regions=e.record.params["regions"]), SMALL)
    assert torch.equal(again.values, e.values)


# -- peers -------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_shap_finds_the_same_where_all_coalitions_fit() -> None:
    shap = pytest.importorskip("shap")
    worths = table()

    def scores(z: Any) -> Any:
        return worths[number(torch.from_numpy(z))].numpy()

    peer = shap.KernelExplainer(scores, torch.zeros(1, PLAYERS).numpy())
    theirs = peer.shap_values(torch.ones(1, PLAYERS).numpy(), nsamples=200, l1_reg=False, silent=True)
    for target in (0, 1):
        close(players(looked_up(worths), KernelSHAP(**BLACK), target=target)[0], theirs[0, :, target], 1e-6, 1e-8)


@pytest.mark.peers
def test_captum_finds_the_same_by_all_orders_and_by_ablation() -> None:
    attr = pytest.importorskip("captum.attr")
    model = looked_up(table())
    mask = one(model, FeatureAblation(**BLACK)).extras["regions"][:, None].expand(1, 3, 8, 9)
    ablated = attr.FeatureAblation(model).attribute(WHITE, 0.0, target=1, feature_mask=mask)
    close(one(model, FeatureAblation(**BLACK), target=1).values, ablated[:, 0])
    few, halves = torch.arange(3).repeat_interleave(3).expand(1, 3, 8, 9), "cells(1, 3)"
    exact = attr.ShapleyValues(NET).attribute(
        pictures(1)[..., :8, :].new_ones(1, 3, 8, 9), 0.0, target=2, feature_mask=few.contiguous()
    )
    ours = one(NET, ExactShapley(regions=halves, fill="black"), WHITE, target=2)
    close(ours.values, exact[:, 0], 1e-6)
