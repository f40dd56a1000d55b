"""Anchors: bounds against root-finding, the search against enumeration of all sets, and how often its word holds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaln
from scipy.stats import binom
from torch import Tensor

from pellucid.ops.anchors import Aim, Anchor, Draws, _grown, search
from pellucid.ops.bounds import bounds, divergence, rate
from pellucid.ops.designs import everything

Agrees = Callable[[Tensor], Tensor]
"""Coalitions [draws, players] -> chance that the model agrees, [draws]."""


def found(players: int, agrees: Agrees, seed: int = 0, backgrounds: int = 1, **aim: Any) -> tuple[Anchor, list[Draws]]:
    """The anchor, and all that was asked on the way."""
    going = search(players, Aim(**aim), seed, backgrounds)
    asked: list[Draws] = []
    answer = None
    while True:
        try:
            draws = next(going) if answer is None else going.send(answer)
        except StopIteration as stop:
            return stop.value, asked
        asked.append(draws)
        answer = agrees(draws.shown).double()


def members(anchor: Anchor) -> tuple[int, ...]:
    return tuple(anchor.members.nonzero().flatten().tolist())


def precision(players: int, agrees: Agrees, held: tuple[int, ...], share: float = 0.5) -> float:
    """By enumeration of all coalitions."""
    z = everything(players).shown
    z = z[z[:, list(held)].all(1)]
    rest = [i for i in range(players) if i not in held]
    chance = torch.where(z[:, rest], share, 1 - share).double().prod(1)
    return float(chance @ agrees(z).double())


def both(a: int, b: int) -> Agrees:
    return lambda z: z[:, a] & z[:, b]


# -- bounds ------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 5000), part=st.floats(0, 1), risk=st.floats(-30, -0.5))
@settings(max_examples=200, deadline=None)
def test_bounds_are_the_roots(n: int, part: float, risk: float) -> None:
    s = float(round(part * n))
    hits, draws = torch.tensor([s]).double(), torch.tensor([float(n)]).double()
    beta = rate(hits, draws, risk)
    p = s / n
    known = binom.logpmf(s, n, p) - binom.logpmf(s, n, 0.5) - n * torch.tensor(2.0).log().item()  # log p^S (1-p)^(n-S)
    assert float(beta) == pytest.approx(known - betaln(s + 1, n - s + 1) - risk, rel=1e-6, abs=1e-5)
    low, high = (float(one) for one in bounds(hits, draws, beta))

    def gap(q: float) -> float:
        one, two = torch.tensor([p]).double(), torch.tensor([q]).double()
        return n * float(divergence(one, two)) - float(beta)

    tiny = 1e-15
    wanted_low = 0.0 if s == 0 or gap(tiny) <= 0 else brentq(gap, tiny, p, xtol=1e-12)
    wanted_high = 1.0 if s == n or gap(1 - tiny) <= 0 else brentq(gap, p, 1 - tiny, xtol=1e-12)
    assert low == pytest.approx(wanted_low, abs=1e-6)
    assert high == pytest.approx(wanted_high, abs=1e-6)


def test_nothing_drawn_nothing_known() -> None:
    zero = torch.zeros(2).double()
    low, high = bounds(zero, zero, rate(zero, zero, -2.0))
    assert low.tolist() == [0, 0]
    assert high.tolist() == [1, 1]


@pytest.mark.parametrize("p", [0.05, 0.5, 0.93])
def test_bounds_hold_at_all_times_at_once(p: float) -> None:
    """Looking after every single draw, 400 times, the truth is outside at any time in at most a tenth of the runs."""
    draw = torch.Generator().manual_seed(0)
    hits = (torch.rand(400, 400, generator=draw) < p).double().cumsum(1)
    draws = torch.arange(1, 401).double().expand_as(hits)
    low, high = bounds(hits, draws, rate(hits, draws, float(torch.tensor(0.1).log())))
    wrong = ((low > p) | (high < p)).any(1).double().mean()
    assert wrong <= 0.1


def test_bounds_hold_for_hits_in_part() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(400, 300, generator=draw, dtype=torch.float64)
    hits, draws = x.cumsum(1), torch.arange(1, 301).double().expand(400, -1)
    low, high = bounds(hits, draws, rate(hits, draws, float(torch.tensor(0.1).log())))
    assert ((low > 0.5) | (high < 0.5)).any(1).double().mean() <= 0.1


# -- planted anchors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_an_and_of_two_is_found(seed: int) -> None:
    anchor, _ = found(12, both(3, 8), seed)
    assert members(anchor) == (3, 8)
    assert anchor.held
    assert anchor.precision == 1
    assert anchor.low > 0.9
    assert anchor.high == 1
    assert anchor.coverage == 0.25


def test_a_reader_of_one_player_is_anchored_there() -> None:
    anchor, _ = found(20, lambda z: z[:, 7])
    assert members(anchor) == (7,)
    assert anchor.coverage == 0.5


def test_what_needs_nobody_is_anchored_by_nobody() -> None:
    anchor, asked = found(9, lambda z: torch.ones(len(z)))
    assert members(anchor) == ()
    assert anchor.held
    assert anchor.coverage == 1
    assert sum(len(one.shown) for one in asked) <= 200


def test_an_and_of_all_needs_all() -> None:
    anchor, _ = found(4, lambda z: z.all(1), samples=8000)
    assert members(anchor) == (0, 1, 2, 3)
    assert anchor.held


def noisy(players: int, seed: int) -> Agrees:
    """A chance of its own for every coalition, higher for those that show more of three players."""
    draw = torch.Generator().manual_seed(seed)
    at = torch.randperm(players, generator=draw)[:3]
    base = torch.rand(2**players, generator=draw)
    z = everything(players).shown
    part = z[:, at].double().mean(1)
    table = torch.where(part == 1, 1.0, base * (0.2 + 0.6 * part)).double()
    return lambda z: table[(z.long() << torch.arange(players)).sum(1)]


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_no_smaller_set_would_do_and_the_bounds_hold(share: float) -> None:
    """Against all sets of seven players, with exact precision."""
    for seed in range(4):
        agrees = noisy(7, seed)
        coins = torch.Generator().manual_seed(seed)
        anchor, _ = found(
            7,
            lambda z, agrees=agrees, coins=coins: torch.rand(len(z), generator=coins).double() < agrees(z),
            seed,
            samples=20000,
            share=share,
            beam=3,
        )
        exact = {held: precision(7, agrees, held, share) for size in range(8) for held in combinations(range(7), size)}
        true = exact[members(anchor)]
        assert anchor.held
        assert true > 0.9
        assert anchor.low <= true <= anchor.high
        better = [held for held, p in exact.items() if p >= 0.95 + 0.05 and len(held) < anchor.members.sum()]
        assert not better
        assert anchor.coverage == pytest.approx(share ** len(members(anchor)))


def test_the_word_holds_over_seeds() -> None:
    """Anchors said to reach 0.9 within 0.05 do, and the interval holds the truth, in at least 90 % of 60 runs."""
    agrees = noisy(6, 11)
    right = inside = 0
    for seed in range(60):
        coins = torch.Generator().manual_seed(1000 + seed)
        anchor, _ = found(
            6,
            lambda z, coins=coins: torch.rand(len(z), generator=coins).double() < agrees(z),
            seed,
            threshold=0.8,
            samples=3000,
        )
        true = precision(6, agrees, members(anchor))
        right += not anchor.held or true >= 0.8 - 0.05
        inside += anchor.low <= true <= anchor.high
    assert right >= 54
    assert inside >= 54


# -- the search --------------------------------------------------------------------------------------------------


def test_a_wider_beam_finds_what_one_misses() -> None:
    """The best pair has no member that is the best alone."""

    def agrees(z: Tensor) -> Tensor:
        lure = 0.8 * z[:, 0].double()
        return torch.where(z[:, 1] & z[:, 2], 1.0, lure)

    narrow, _ = found(5, agrees, beam=1, size=2, samples=6000)
    wide, _ = found(5, agrees, beam=3, size=2, samples=6000)
    assert members(wide) == (1, 2)
    assert wide.held
    assert not narrow.held


def unsure(z: Tensor) -> Tensor:
    """Seven players of 26 count, and all of them are needed: a model that is never sure of anything."""
    weight = torch.zeros(26).double()
    weight[torch.arange(7) * 3] = torch.linspace(1.2, 0.8, 7).double()
    return torch.sigmoid(2 * (z.double() @ weight - 5.3))


@pytest.mark.parametrize("seed", range(3))
def test_seven_of_twenty_six_are_found_in_few_draws(seed: int) -> None:
    """As many as the regions of a photo; bounds for all sets of seven at once take a thousand draws more."""
    coins = torch.Generator().manual_seed(seed)
    anchor, _ = found(26, lambda z: torch.rand(len(z), generator=coins).double() < unsure(z), seed, samples=2500)
    assert anchor.held
    z = torch.rand(20000, 26, generator=torch.Generator().manual_seed(99)) < 0.5
    true = float(unsure(z | anchor.members).mean())
    assert true >= 0.9
    assert anchor.low <= true <= anchor.high
    assert members(anchor) == tuple(range(0, 21, 3))


def test_a_trial_is_of_its_own_draws() -> None:
    """Draws that led to a set are not counted for it: the number behind its precision is that of the last questions."""
    anchor, asked = found(12, both(3, 8))
    held = [one for one in asked if bool(one.shown[:, list(members(anchor))].all())]
    assert anchor.draws <= sum(len(one.shown) for one in held)
    assert anchor.draws % 100 == 0


def test_every_set_is_grown_once() -> None:
    beam = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]]).bool()
    got = _grown(beam, lambda sets: torch.ones(len(sets)), 0.0)
    assert sorted(tuple(row.nonzero().flatten().tolist()) for row in got) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


def test_the_same_seed_asks_the_same() -> None:
    one, asked = found(10, both(1, 2), 5)
    two, again = found(10, both(1, 2), 5)
    assert torch.equal(one.members, two.members)
    assert len(asked) == len(again)
    assert all(torch.equal(a.shown, b.shown) for a, b in zip(asked, again, strict=True))
    _, other = found(10, both(1, 2), 6)
    assert not torch.equal(asked[0].shown, other[0].shown)


def test_draws_are_counted_and_limited() -> None:
    agrees = noisy(8, 3)
    for samples in (1, 30, 250):
        anchor, asked = found(8, agrees, samples=samples, batch=100)
        total = sum(len(one.shown) for one in asked)
        assert total <= samples
        assert anchor.draws <= total
        assert all(len(one.shown) <= 100 for one in asked)
    assert not anchor.held


def test_one_background_a_draw() -> None:
    _, asked = found(6, both(0, 1), backgrounds=5)
    behind = torch.cat([one.behind for one in asked])
    assert set(behind.tolist()) == set(range(5))


def test_global_random_state_stays() -> None:
    before = torch.get_rng_state()
    found(6, both(0, 1))
    assert torch.equal(torch.get_rng_state(), before)
