"""Designs: what is drawn how often, with whom, and that nothing else matters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.errors import ParameterError
from pellucid.ops.designs import (
    BY_COUNT,
    DESIGNS,
    chains,
    coin,
    distinct,
    everything,
    hadamard,
    orders,
    paired,
    sobol,
    uniform,
)
from pellucid.ops.shapley_designs import shapley_kernel


@pytest.mark.parametrize("name", DESIGNS)
@given(players=st.integers(1, 40), samples=st.integers(2, 300), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_designs_have_their_size_and_follow_the_seed_alone(name: str, players: int, samples: int, seed: int) -> None:
    before = torch.get_rng_state()
    one = DESIGNS[name](players, samples, seed)
    assert one.shown.shape == (samples, players)
    assert one.shown.dtype == torch.bool
    assert len(one.weight) == len(one.group) == samples
    assert len(one.group.unique()) >= 2 or name in ("paired", "hadamard")
    again = DESIGNS[name](players, samples, seed)
    assert torch.equal(again.shown, one.shown)
    assert torch.equal(torch.get_rng_state(), before)
    if players * samples > 60:
        assert not torch.equal(DESIGNS[name](players, samples, seed + 1).shown, one.shown)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_player_is_shown_half_the_time_and_pairs_a_quarter(name: str) -> None:
    shown = DESIGNS[name](20, 4096, 3).shown.double()
    both = shown.mT @ shown / len(shown)
    off = both - 0.25 - 0.25 * torch.eye(20)
    assert float(off.abs().max()) < 4.5 * 0.25 / math.sqrt(4096) * 2


@pytest.mark.parametrize("name", BY_COUNT)
def test_every_number_of_players_is_as_likely_and_so_is_everyone(name: str) -> None:
    shown = BY_COUNT[name](8, 8 * 2000, 3).shown
    counted = (~shown if name == "by_hidden" else shown).sum(1)
    assert counted.min() == 1 and counted.max() == 8
    assert float((torch.bincount(counted)[1:].double() / 2000 - 1).abs().max()) < 5 * math.sqrt(7 / 8 / 2000)
    for count in range(1, 8):
        each = shown[counted == count].double().mean(0)
        assert float((each - each.mean()).abs().max()) < 5 * 0.5 / math.sqrt(1900)
    with pytest.raises(ParameterError, match="one half"):
        BY_COUNT[name](9, 10, 3, share=0.2)


@pytest.mark.parametrize("name", BY_COUNT)
@given(players=st.integers(1, 40), samples=st.integers(2, 300), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_draws_by_number_follow_the_seed_alone(name: str, players: int, samples: int, seed: int) -> None:
    one = BY_COUNT[name](players, samples, seed)
    assert one.shown.shape == (samples, players) and one.group.tolist() == list(range(samples))
    assert torch.equal(BY_COUNT[name](players, samples, seed).shown, one.shown)


@pytest.mark.parametrize("name", ["coin", "sobol"])
def test_other_shares(name: str) -> None:
    shown = DESIGNS[name](9, 4096, 3, share=0.2).shown.double()
    assert float((shown.mean(0) - 0.2).abs().max()) < 5 * 0.4 / 64


@pytest.mark.parametrize("name", ["paired", "hadamard"])
def test_complements_show_half(name: str) -> None:
    with pytest.raises(ParameterError, match="one half"):
        DESIGNS[name](9, 10, 3, share=0.2)


@pytest.mark.parametrize("make", [paired, hadamard, shapley_kernel])
def test_complements_follow_each_other_in_one_group(make: Any) -> None:
    design = make(9, 40, 1)
    assert torch.equal(design.shown[::2], ~design.shown[1::2])
    assert torch.equal(design.group[::2], design.group[1::2])


@pytest.mark.parametrize("players", [1, 3, 7, 8, 20])
def test_blocks_of_hadamard_columns_are_orthogonal(players: int) -> None:
    order = 1 << players.bit_length()
    sign = 2.0 * hadamard(players, 2 * order, 4).shown.double() - 1
    assert torch.equal(sign.mT @ sign, 2.0 * order * torch.eye(players, dtype=torch.float64))
    assert torch.equal(sign.sum(0), torch.zeros(players, dtype=torch.float64))
    triples = (sign[:, :, None] * sign[:, None, :]).flatten(1)
    assert not bool((sign.mT @ triples).any())  # pairs of players do not disturb single ones


def test_blocks_are_groups_where_there_are_eight() -> None:
    assert len(hadamard(3, 8 * 8, 0).group.unique()) == 8
    assert len(hadamard(3, 7 * 8, 0).group.unique()) == 28


def test_scrambles_are_independent_and_each_one_is_even() -> None:
    design = uniform(5, 256, 2)
    assert len(design.group.unique()) == 16
    for k in range(16):
        one = design.shown[design.group == k]
        for column in one.mT:  # one point in every sixteenth of the line
            assert torch.equal((column * 16).long().sort().values, torch.arange(16))
    assert not torch.equal(design.shown[:16], design.shown[16:32])
    assert torch.equal(sobol(5, 256, 2, 0.3).shown, design.shown < 0.3)


def test_a_sobol_design_has_a_largest_number_of_players() -> None:
    with pytest.raises(ParameterError, match="coin"):
        uniform(30000, 2, 0)


def test_everything_lists_every_coalition_by_its_number() -> None:
    shown = everything(4).shown
    assert [[bool(k >> i & 1) for i in range(4)] for k in range(16)] == shown.tolist()
    with pytest.raises(ParameterError):
        everything(21)


@pytest.mark.parametrize("players", [1, 2, 3, 6])
def test_the_shapley_kernel_of_all_coalitions(players: int) -> None:
    design = shapley_kernel(players, 2**players, 0)
    wanted = {}
    for k in range(1, 2**players - 1):
        size = k.bit_count()
        wanted[k] = (players - 1) / (math.comb(players, size) * size * (players - size))
    bits = (design.shown.long() << torch.arange(players)).sum(1).tolist()
    assert bits == list(wanted)
    torch.testing.assert_close(design.weight, torch.tensor(list(wanted.values()), dtype=torch.float64).view(-1))


def test_sizes_are_drawn_with_the_weight_of_the_kernel() -> None:
    players, samples = 8, 200
    many = torch.cat([shapley_kernel(players, samples, s).shown.sum(1) for s in range(100)])
    share = torch.bincount(many, minlength=players) / len(many)
    kernel = torch.tensor([0.0] + [1 / (k * (players - k)) for k in range(1, players)])
    torch.testing.assert_close(share, kernel / kernel.sum(), rtol=0, atol=0.015)


def test_more_samples_than_players_can_make_are_never_drawn_twice() -> None:
    assert len(shapley_kernel(6, 62, 0).shown.unique(dim=0)) == len(shapley_kernel(6, 10**6, 0).shown) == 62
    assert len(shapley_kernel(6, 61, 0).shown) == 61


@pytest.mark.parametrize("antithetic", [False, True])
def test_orders_are_permutations(antithetic: bool) -> None:
    places = orders(7, 9, 2, antithetic)
    assert torch.equal(places.sort(1).values, torch.arange(7).expand(9, 7))
    if antithetic:
        assert torch.equal(places[1:8:2], 6 - places[:8:2])


def test_chains_let_players_arrive_in_their_order() -> None:
    got = chains(torch.tensor([[1, 0, 2]]))[0].long().tolist()
    assert got == [[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]]


def test_distinct_coalitions_and_their_numbers() -> None:
    shown = coin(3, 50, 0).shown
    once, at = distinct(shown)
    assert len(once) == 8
    assert torch.equal(once[at], shown)
    turned, _ = distinct(shown.flip(0))
    assert torch.equal(once, turned)


def test_beside_puts_all_or_none_first() -> None:
    design = coin(3, 4, 0).beside(shown=True, weight=0.5).beside(shown=False)
    assert design.shown[:2].tolist() == [[False] * 3, [True] * 3]
    assert design.weight[:3].tolist() == [1.0, 0.5, 1.0]
    assert design.group.tolist() == [-1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(("samples", "scrambles"), [(5, 5), (8, 8), (32, 8), (100, 12), (256, 16)])
def test_low_discrepancy_designs_have_at_least_eight_scrambles(samples: int, scrambles: int) -> None:
    group = uniform(6, samples, 0).group
    assert group.unique().tolist() == list(range(scrambles))
    sizes = torch.bincount(group)
    assert int(sizes.max() - sizes.min()) <= 1 and int(sizes.sum()) == samples
