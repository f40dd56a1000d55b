"""Samples are added until it is known who counts most: and then it is they, and it took no more than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import LIME, Banzhaf, KernelSHAP, PermutationSHAP, StratifiedShapley, TabularLIME
from pellucid.core.errors import ParameterError
from pellucid.core.points import generator
from pellucid.ops.enough import Until, Worth, separation

PLAYERS, TOP = 12, 3
X = torch.ones(1, PLAYERS, dtype=torch.float64)
SIGN = torch.tensor([1.0, -1.0] * (PLAYERS // 2), dtype=torch.float64)


def circle() -> Tensor:
    """Pairs that work together with their neighbours and against those one further: in sum nobody gains."""
    at = torch.arange(PLAYERS)
    apart = torch.minimum((at[:, None] - at) % PLAYERS, (at - at[:, None]) % PLAYERS)
    return (apart == 1).double() - (apart == 2).double()


def game(gap: float, order: Tensor) -> Callable[[Tensor], Tensor]:
    """v(z) = Σ w_i z_i + Σ_{i<j} c_ij z_i z_j + Π (2 z_i − 1) / 2 with Σ_j c_ij = 0.

    Every value, of LIME too, is w_i in large samples: parity is nobody's. The TOP first of `order` have
    weights from 1 up, the others up to 1 − gap; signs alternate.
    """
    weight = torch.cat([torch.linspace(1.4, 1.0, TOP), torch.linspace(1 - gap, 0.1, PLAYERS - TOP)]).double()
    w, c = torch.zeros(PLAYERS, dtype=torch.float64), circle()
    w[order] = weight
    return lambda z: (z @ (w * SIGN) + 0.3 * ((z @ c) * z).sum(1) + (2 * z - 1).prod(1) / 2)[:, None]


METHODS: list[Any] = [
    lambda seed: LIME(samples=48, until_top=TOP, seed=seed, ridge=0.01),
    lambda seed: LIME(samples=48, until_top=TOP, seed=seed, ridge=0.01, design="paired"),
    lambda seed: KernelSHAP(samples=48, until_top=TOP, seed=seed),
    lambda seed: Banzhaf(samples=48, until_top=TOP, seed=seed),
    lambda seed: PermutationSHAP(samples=4, until_top=TOP, seed=seed),
    lambda seed: PermutationSHAP(samples=4, until_top=TOP, seed=seed, antithetic=False),
    lambda seed: StratifiedShapley(samples=4, until_top=TOP, seed=seed),
]
SEEDS = 40


def runs(make: Callable[[int], Any], gap: float) -> tuple[float, float, float]:
    """How often the strongest are the strongest, and it is said so; and the calls that it took, in the mean."""
    right = said = calls = 0
    for seed in range(SEEDS):
        order = torch.randperm(PLAYERS, generator=generator(seed, "order"))
        model = pellucid.wrap(game(gap, order))
        got = explained(model, make(seed))
        found = set(got.values[0].abs().argsort(descending=True)[:TOP].tolist())
        right += found == set(order[:TOP].tolist())
        said += got.check("top").passed[0]
        calls += got.record.passes.forward
    return right / SEEDS, said / SEEDS, calls / SEEDS


@pytest.mark.parametrize("make", METHODS, ids=lambda make: f"{type(make(0)).__name__}")
def test_it_stops_at_the_right_ones_and_asks_more_where_they_are_closer(make: Callable[[int], Any]) -> None:
    easy, hard = runs(make, 0.5), runs(make, 0.25)
    for right, said, _ in (easy, hard):
        assert said == 1.0
        assert right >= 0.95
    at_once = easy[2] == hard[2]  # complements and reversed orders see through pairs: the first round is enough
    assert at_once or easy[2] < 0.7 * hard[2]
    assert easy[2] < 1000  # coalitions are what one asks for if one does not know: LIME's default


def test_players_that_are_alike_are_never_told_apart_and_the_chip_says_so() -> None:
    model = pellucid.wrap(lambda z: (z[:, :4].sum(1) + z[:, 4:8].prod(1))[:, None])
    for method in (LIME, KernelSHAP, Banzhaf):
        got = explained(model, method(samples=32, until_top=2, max_samples=600))
        assert got.check("top").passed == (False,)
        assert got.check("top").value[0] < 0
        assert any("top" in line for line in got.warnings)
        assert 300 < got.record.passes.forward <= 603
        assert explained(model, method(samples=500, until_top=4)).check("top").passed == (True,)


def test_values_known_exactly_and_few_players_need_no_second_round() -> None:
    model = pellucid.wrap(game(0.5, torch.arange(PLAYERS)))
    for method in (KernelSHAP(samples=2**PLAYERS, until_top=3), Banzhaf(samples=32, until_top=PLAYERS)):
        got = explained(model, method)
        assert got.record.passes.rounds == 1
        assert got.check("top").passed == (True,)


def test_of_two_rules_the_first_that_is_met_ends_it_and_the_other_is_no_warning() -> None:
    model = pellucid.wrap(game(0.5, torch.arange(PLAYERS)))
    one, other = explained(model, LIME(samples=64, until_top=3)), explained(model, LIME(samples=64, tolerance=0.01))
    assert one.record.passes.forward < other.record.passes.forward
    both = explained(model, LIME(samples=64, until_top=3, tolerance=0.01))
    assert both.record.passes.forward == one.record.passes.forward
    assert not both.check("precision").judged
    assert not any("precision" in line for line in both.warnings)
    assert both.check("top").judged


def test_columns_of_tables() -> None:
    w = torch.tensor([4.0, -3.0, 0.5, 0.2, 0.1], dtype=torch.float64)
    table = torch.randn(300, 5, generator=generator(1, "table"), dtype=torch.float64)
    method = TabularLIME(samples=100, until_top=2, table=table)
    model = pellucid.wrap(lambda z: (z @ w)[:, None].sigmoid())
    got: Any = pellucid.explain(model, table[:1], method, target=0, output="logit")[0]
    assert got.check("top").passed == (True,)
    assert set(got.values[0].abs().argsort(descending=True)[:2].tolist()) == {0, 1}
    assert got.record.passes.forward < 5000


def test_orders_too_are_added_until_errors_are_small() -> None:
    model = pellucid.wrap(game(0.5, torch.arange(PLAYERS)))
    for method in (PermutationSHAP, StratifiedShapley):
        rough, fine = (explained(model, method(samples=4, tolerance=t)) for t in (0.2, 0.05))
        for got, limit in ((rough, 0.2), (fine, 0.05)):
            assert got.check("precision").passed == (True,)
            assert got.check("precision").limit == limit
            assert got.check("efficiency").passed == (True,)
        assert fine.record.passes.forward >= rough.record.passes.forward


def test_the_separation_is_that_of_the_nearest_pair() -> None:
    values = torch.tensor([[5.0, -4.0, 3.0, 1.0]], dtype=torch.float64)
    error = torch.tensor([[0.1, 1.0, 0.1, 0.5]], dtype=torch.float64)
    nearest = (4 - 3) - 1.96 * (1.0**2 + 0.1**2) ** 0.5
    assert separation(Worth(values, error), 2) == pytest.approx(nearest / 5)
    assert separation(Worth(values), 2) == pytest.approx(1 / 5)
    assert separation(Worth(values * 0, error), 2) < 0
    assert separation(Worth(values, error), 4) == 0
    until = Until(samples=10, most=10**6, tolerance=None, seed=0, top=2)
    assert until.more(100, [Worth(values)]) == 0
    assert until.more(100, [Worth(values, error)]) == pytest.approx(110 * ((nearest - 1) ** 2 - 1), abs=1)


def test_what_is_no_number_of_players_is_refused() -> None:
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ParameterError, match="until_top"):
            LIME(until_top=wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="design='kernel'"):
        explained(pellucid.wrap(game(0.5, torch.arange(PLAYERS))), KernelSHAP(design="leverage", until_top=2))


def explained(model: Any, method: Any) -> Any:
    return pellucid.explain(model, X, method, target=0, output="logit")[0]
