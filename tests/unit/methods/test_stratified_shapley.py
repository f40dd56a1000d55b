"""Shapley values from stratified orders: the orders, axioms, and how much nearer to the truth than plain ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import CELLS, PLAYERS, WHITE, additive, looked_up, number, shapley_by_hand, table, weights
from torch import Tensor

from pellucid.api import explain, wrap
from pellucid.methods.stratified_shapley import StratifiedShapley
from pellucid.ops.arrivals import added, arriving, stratified, williams
from pellucid.ops.designs import everything, orders
from pellucid.ops.games import Played
from pellucid.ops.shapley_fit import shapley

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}


def close(got: Any, wanted: Any) -> None:
    got, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (got, wanted))
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6, 7, 10])
def test_squares_are_latin_and_of_even_order_balanced(order: int) -> None:
    square = williams(order)
    for line in (*square, *square.mT):
        assert sorted(line.tolist()) == list(range(order))
    follow = {(int(a), int(b)) for row in square for a, b in pairwise(row)}
    assert order % 2 or len(follow) == order * (order - 1)


@given(st.integers(1, 30), st.integers(2, 8), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_everybody_arrives_once_in_every_part_of_the_way(players: int, strata: int, seed: int) -> None:
    sets = min(strata, players)
    order = stratified(players, 3 * sets, seed, strata)
    assert torch.equal(order.sort(1).values, torch.arange(players).expand(3 * sets, -1))
    if players % sets == 0:
        part = (order * sets // players).view(3, sets, players).sort(1).values
        assert torch.equal(part, torch.arange(sets)[:, None].expand(3, sets, players))


def test_every_place_is_equally_likely() -> None:
    order = stratified(7, 21_000, 1, 4)
    for i in range(7):
        assert torch.bincount(order[:, i], minlength=7).sub(3000).abs().max() < 250


def values(v: Tensor, samples: int = 24, strata: int = 4, seed: int = 0) -> Tensor:
    order = stratified(v.shape[0].bit_length() - 1, samples, seed, strata)
    design = arriving(order)
    return added(Played(design, v[number(design.shown)].mT), strata).values


@given(st.integers(1, 6), st.integers(4, 20), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_axioms(n: int, samples: int, seed: int) -> None:
    u, v, at = table(1, n, seed), table(1, n, seed + 1), torch.arange(2**n)
    close(values(u, samples).sum(), (u[-1] - u[0]).sum())
    close(values(2 * u - 3 * v, samples), 2 * values(u, samples) - 3 * values(v, samples))
    assert float(values(u[at & ~1], samples)[0, 0]) == 0


def test_enough_orders_find_the_shapley_values() -> None:
    worths = table()
    e = explain(looked_up(worths), WHITE, StratifiedShapley(samples=2000, **BLACK), target=0, output="logit")[0]
    off = e.extras["players"][0] - torch.tensor(shapley_by_hand(worths[:, 0].tolist()))
    assert float((off / e.extras["players_std_error"][0]).abs().max()) < 4
    w = weights()
    e = explain(additive(w), WHITE, StratifiedShapley(**BLACK), target=1, output="logit")[0]
    close(e.extras["players"][0], w[:, 1])
    assert e.extras["players"].shape == (1, PLAYERS)


def test_a_saturated_game_needs_fewer_orders_than_plain_ones() -> None:
    z = everything(10).shown.double()
    w = torch.randn(10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    v = torch.sigmoid(3 * (z @ w) - 1)[:, None]
    truth = shapley(v.mT)

    def error(order: Tensor) -> Tensor:
        design = arriving(order)
        return (added(Played(design, v[number(design.shown)].mT), 1).values - truth).square().mean()

    ours = torch.stack([error(stratified(10, 16, s, 4)) for s in range(60)]).mean()
    plain = torch.stack([error(orders(10, 16, s, antithetic=False)) for s in range(60)]).mean()
    assert ours < 0.9 * plain


def test_a_single_set_of_orders_has_no_error_rather_than_none() -> None:
    model = wrap(lambda rows: rows.prod(1) + rows.sum(1), np.random.default_rng(0).random((20, 6)))
    row = np.full((1, 6), 2.0)
    one = explain(model, row, StratifiedShapley(samples=4))[0]
    assert one.std_error is None and "players_std_error" not in one.extras and one.check("noise") is None
    two = explain(model, row, StratifiedShapley(samples=8))[0]
    assert two.std_error is not None and float(two.std_error.max()) > 0
