"""Coalitions, orders and values of trees of players: against all orders written out, and conditioning by hand."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import by_orders
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.ops.arrivals import added
from pellucid.ops.designs import distinct, everything
from pellucid.ops.games import Played, Worth
from pellucid.ops.hierarchy import nearest
from pellucid.ops.owen_designs import (
    NEAR,
    ROUGH,
    UNKNOWN,
    Owen,
    chosen,
    coalitions,
    count,
    exchanged,
    members,
    orders,
    paired,
    places,
    telling,
)
from pellucid.ops.smooth import smooth

TEN = torch.tensor([[0, 1], [2, 3], [10, 4], [11, 5], [12, 13], [6, 7], [15, 8], [16, 9], [14, 17]])
NUMBER = 2 ** torch.arange(10)


@st.composite
def trees(draw: st.DrawFn) -> Tensor:
    n = draw(st.integers(1, 7))
    free, steps = list(range(n)), []
    for k in range(n - 1):
        steps.append([free.pop(draw(st.integers(0, len(free) - 1))) for _ in range(2)])
        free.append(n + k)
    return torch.tensor(steps, dtype=torch.int64).view(-1, 2)


def written_out(tree: Tensor) -> list[list[int]]:
    """All orders of arrival in which no part is interrupted by others."""
    parts: list[Any] = [[[i]] for i in range(len(tree) + 1)]
    for a, b in tree.tolist():
        parts.append([one for x, y in product(parts[a], parts[b]) for one in (x + y, y + x)])
    return parts[-1]


def by_hand(tree: Tensor, v: Tensor) -> Tensor:
    """Owen values [player, ...] of all scores [2^players, ...]: what each adds, over all orders."""
    return torch.stack(by_orders(v, written_out(tree)))


def linear(tree: Tensor) -> Tensor:
    """The same as a matrix, [player, 2^players]."""
    return by_hand(tree, torch.eye(2 ** (len(tree) + 1), dtype=torch.float64))


def numbers(shown: Tensor) -> Tensor:
    return (shown.long() << torch.arange(shown.shape[1])).sum(1)


def powers(players: int, near: float) -> Tensor:
    every = everything(players).shown
    return near ** (every[:, None] != every).sum(2).double()


@given(trees())
@settings(max_examples=40, deadline=None)
def test_coalitions_are_those_that_the_orders_pass_through(tree: Tensor) -> None:
    passed = {0}
    for order in written_out(tree):
        before = 0
        for i in order:
            before |= 1 << i
            passed.add(before)
    found = numbers(coalitions(tree)).tolist()
    assert sorted(found) == sorted(passed)  # each once
    assert found[:2] == [0, 2 ** (len(tree) + 1) - 1]
    assert count(tree) == len(found)


@given(trees())
@settings(max_examples=40, deadline=None)
def test_coins_make_every_order_once_and_turned_all_its_reverse(tree: Tensor) -> None:
    coins = everything(len(tree)).shown if len(tree) else torch.zeros(1, 0, dtype=torch.bool)
    at, turned = places(tree, coins), places(tree, ~coins)
    assert sorted(at.argsort(1).tolist()) == sorted(written_out(tree))
    assert torch.equal(turned, len(tree) - at)
    two = paired(tree, 5, 0)
    assert torch.equal(two[1::2], len(tree) - two[::2])


@given(trees(), st.sampled_from([0.0, 0.3, 0.95]))
@settings(max_examples=40, deadline=None)
def test_values_of_powers_and_their_variance_are_those_of_all_orders(tree: Tensor, near: float) -> None:
    players = len(tree) + 1
    k, map_ = powers(players, near), linear(tree)
    torch.testing.assert_close(Owen(tree).games(everything(players).shown, near), (map_ @ k).mT, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(Owen(tree).prior(near), (map_ @ k @ map_.mT).diagonal(), rtol=1e-12, atol=1e-14)


@given(trees(), st.integers(2, 60), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_orders_come_in_whole_pairs_and_ask_for_no_more_than_they_may(tree: Tensor, calls: int, seed: int) -> None:
    players = len(tree) + 1
    if count(tree) <= calls + 2:
        return  # all are asked for then
    try:
        design = orders(tree, calls, seed)
    except ParameterError:
        assert calls < 4 * (players - 1)
        return
    assert len(distinct(design.shown)[0]) <= calls + 2
    assert len(design.shown) % (2 * (players + 1)) == 0
    assert len(design.shown) >= 4 * (players + 1)
    assert torch.equal(design.shown, orders(tree, calls, seed).shown)


def test_orders_use_the_calls_that_there_are() -> None:
    """A pair of orders of ten players asks for 18 coalitions at most: fewer are never left."""
    for calls in (40, 50, 60):
        assert count(TEN) == 84
        for seed in range(5):
            assert len(distinct(orders(TEN, calls, seed).shown)[0]) - 2 > calls - 18


def test_too_few_calls_for_an_error_or_too_many_to_choose_among_are_refused() -> None:
    with pytest.raises(ParameterError, match="at least 28"):
        orders(TEN, 20, 0)
    with pytest.raises(ParameterError, match="at most 4096"):
        telling(TEN, 5000, 0)


@cache
def by_conditioning() -> tuple[Tensor, Tensor]:
    """The values of ten players as a matrix on all coalitions of their tree, and the covariances of these."""
    every = coalitions(TEN)
    near = float(torch.tensor(-4 / (NEAR * 10), dtype=torch.float64).exp())
    k = near ** (every[:, None] != every).sum(2).double()
    return linear(TEN)[:, numbers(every)], k + ROUGH * torch.eye(len(k), dtype=torch.float64) + UNKNOWN


def left(known: Tensor) -> tuple[Tensor, Tensor]:
    """The same with covariances as they are once some scores are known."""
    map_, k = by_conditioning()
    return map_, k - k[:, known] @ torch.linalg.solve(k[known][:, known], k[known])


def gains(known: Tensor) -> Tensor:
    """By how much the values' variances fall together with each further coalition."""
    map_, k = left(known)
    found = (map_ @ k).square().sum(0) / k.diagonal().clamp_min(ROUGH / 2)
    found[known] = -1
    return found


def uncertain(known: Tensor) -> float:
    """The sum of the values' variances."""
    map_, k = left(known)
    return float((map_ @ k @ map_.mT).diagonal().sum())


def test_each_coalition_chosen_tells_more_than_any_other_would() -> None:
    every = coalitions(TEN)
    got = chosen(every, TEN, 22)
    assert got[:2].tolist() == [0, 1]
    assert len(set(got.tolist())) == 22
    for step in range(2, 22):
        found = gains(got[:step])
        assert float(found[got[step]]) > 0.999 * float(found.max())


@pytest.mark.parametrize("many", [12, 22, 40])
def test_exchanges_tell_more_until_the_one_that_tells_least_is_the_best_there_is(many: int) -> None:
    every, draw = coalitions(TEN), torch.Generator().manual_seed(many)
    for before in (
        chosen(every, TEN, many),
        torch.cat([torch.arange(2), 2 + torch.randperm(len(every) - 2, generator=draw)[: many - 2]]),
    ):
        found = exchanged(every, TEN, before)
        assert found[:2].tolist() == [0, 1]
        assert len(set(found.tolist())) == many
        assert uncertain(found) <= uncertain(before) + 1e-9
        again = exchanged(every, TEN, found)
        if torch.equal(again, found):  # not stopped by their number
            without = [torch.cat([found[:k], found[k + 1 :]]) for k in range(2, many)]
            least = min(without, key=uncertain)
            (gone,) = set(found.tolist()) - set(least.tolist())
            best = gains(least)
            assert float(best[gone]) > 0.999 * float(best.max())
    assert not torch.equal(found, before)


def curved(z: Tensor) -> Tensor:
    """A game like that of a picture: a sigmoid of a sum with pairs; [rows]."""
    draw = torch.Generator().manual_seed(11)
    n = z.shape[1]
    w = torch.randn(n, generator=draw, dtype=torch.float64)
    p = torch.randn(n, n, generator=draw, dtype=torch.float64) / 3
    return torch.sigmoid(z.double() @ w + ((z.double() @ p) * z).sum(1) - 0.5)


def test_what_tells_most_leaves_less_of_an_error_than_orders_do_and_those_less_than_nothing_known() -> None:
    truth = by_hand(TEN, curved(everything(10).shown))
    off: dict[str, list[float]] = {"process": [], "orders": []}
    for seed in range(6):
        chosen, drawn = telling(TEN, 40, seed), orders(TEN, 40, seed)
        process = smooth(chosen.shown, curved(chosen.shown)[None], Owen(TEN)).values[0]
        mean = added(Played(drawn, curved(drawn.shown)[None]), 2).values[0]
        for name, values in (("process", process), ("orders", mean)):
            off[name].append(float((values - truth).square().mean()))
    process, mean = (sum(some) / 6 for some in off.values())
    assert process < mean / 1.5
    assert mean < float(truth.var()) / 4


@pytest.mark.parametrize("pairs", [10, 30])
def test_intervals_of_orders_hold_the_truth(pairs: int) -> None:
    truth = by_hand(TEN, curved(everything(10).shown))
    found: list[Worth] = []
    for seed in range(100):
        design = orders_of(pairs, seed)
        found.append(added(Played(design, curved(design.shown)[None]), 2))
    t = {10: 2.26, 30: 2.05}[pairs]
    error = torch.stack([one.std_error[0] for one in found if one.std_error is not None])
    values = torch.stack([one.values[0] for one in found])
    share = float(((values - truth).abs() <= t * error).double().mean())
    assert 0.90 <= share <= 0.99, share
    mean = values.mean(0) - truth
    assert bool((mean.abs() < 4 * values.std(0) / 10).all())  # unbiased


def orders_of(pairs: int, seed: int) -> Any:
    from pellucid.ops.arrivals import arriving

    return arriving(paired(TEN, pairs, seed))


def test_the_process_knows_its_error() -> None:
    """Games drawn from a process whose ρ and c are none of those that are tried."""
    factor = torch.linalg.cholesky(powers(10, 0.8) + 0.02 * torch.eye(1024, dtype=torch.float64))
    off: list[Tensor] = []
    for seed in range(30):
        draw = torch.Generator().manual_seed(seed)
        v = factor @ torch.randn(1024, generator=draw, dtype=torch.float64) + 5
        shown = telling(TEN, 50, seed).shown
        found = smooth(shown, v[numbers(shown)][None], Owen(TEN))
        assert found.std_error is not None
        sampled = found.std_error[0] > 1e-9  # of some players all coalitions are known
        off.append(((found.values[0] - linear_ten() @ v) / found.std_error[0])[sampled])
    assert 0.8 < float(torch.cat(off).square().mean().sqrt()) < 1.25


def linear_ten() -> Tensor:
    every = coalitions(TEN)
    found = torch.zeros(10, 1024, dtype=torch.float64)
    found[:, numbers(every)] = Owen(TEN).games(every, 0.0).mT
    return found


def test_trees_with_too_many_coalitions_are_looked_at_along_random_orders() -> None:
    """More players than fit into a whole number, in a chain: 2^70 coalitions."""
    n = 71
    tree = torch.tensor([[0, 1], *([n + k, k + 2] for k in range(n - 2))])
    assert count(tree) > 2**70
    assert bool(members(tree)[-1].all())
    shown = telling(tree, 300, 0).shown
    assert len(shown) == 302
    assert shown[0].sum() == 0
    assert shown[1].all()
    assert len(distinct(shown)[0]) == 302
    w = torch.linspace(-1, 1, n, dtype=torch.float64)
    found = smooth(shown, (shown.double() @ w)[None], Owen(tree))
    torch.testing.assert_close(found.values.sum(1), w.sum()[None], rtol=1e-6, atol=1e-9)
    assert float((found.values[0] - w).square().mean().sqrt()) < 0.1


def test_a_row_of_players_is_merged_into_a_tree_that_orders_keep_together() -> None:
    tree = nearest(torch.arange(12))
    at = paired(tree, 20, 3)
    for who in members(tree):
        there = at[:, who]
        assert bool((there.amax(1) - there.amin(1) == int(who.sum()) - 1).all())
