"""Designs whose weighted least squares are Shapley values: what is in them, and what it counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.ops.shapley_designs import KERNELS, border, leverage


@pytest.mark.parametrize("name", KERNELS)
@given(players=st.integers(1, 40), samples=st.integers(4, 400), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_designs_follow_the_seed_alone_and_hold_complements(name: str, players: int, samples: int, seed: int) -> None:
    before = torch.get_rng_state()
    design = KERNELS[name](players, samples, seed)
    everything = 2**players - 2
    assert samples - 1 <= len(design.shown) <= samples or len(design.shown) == everything <= samples
    again = KERNELS[name](players, samples, seed)
    assert torch.equal(again.shown, design.shown)
    assert torch.equal(torch.get_rng_state(), before)
    assert bool((design.weight > 0).all())
    size = design.shown.sum(1)
    assert not bool((size == 0).any() or (size == players).any())
    if len(design.shown) % 2 == 0:
        bits = [tuple(row) for row in design.shown.tolist()]
        assert sorted(bits) == sorted(tuple(not v for v in row) for row in bits)


@pytest.mark.parametrize("name", ["border", "leverage"])
@pytest.mark.parametrize(("players", "samples"), [(9, 300), (12, 400), (8, 250), (30, 200)])
def test_every_size_weighs_what_the_kernel_gives_it(name: str, players: int, samples: int) -> None:
    many = [KERNELS[name](players, samples, seed) for seed in range(60)]
    size = torch.cat([one.shown.sum(1) for one in many])
    got = torch.bincount(size, torch.cat([one.weight for one in many]), players + 1)[1:-1] / len(many)
    k = torch.arange(1, players).double()
    rtol = 0.15 if name == "border" else 1e-9  # border draws the sizes, leverage shares the rows out
    torch.testing.assert_close(got, (players - 1) / (k * (players - k)), rtol=rtol, atol=0)


def test_the_border_is_enumerated_as_far_as_the_samples_go() -> None:
    design = border(10, 300, 0)
    fixed = design.shown[design.group < 0]
    assert len(fixed.unique(dim=0)) == len(fixed) == 2 * (10 + 45)
    assert set(fixed.sum(1).tolist()) == {1, 9, 2, 8}
    drawn = design.shown[design.group >= 0]
    assert len(drawn) == 190
    assert 3 <= int(drawn.sum(1).min()) <= int(drawn.sum(1).max()) <= 7
    kernel = 9 / (45 * 2 * 8)
    torch.testing.assert_close(design.weight[fixed.sum(1).eq(2).nonzero()[0, 0]].item(), kernel)


@pytest.mark.parametrize(("players", "samples"), [(9, 300), (12, 401), (8, 250), (14, 30), (30, 10), (50, 500)])
def test_leverage_draws_without_replacement_and_shares_the_rows_out(players: int, samples: int) -> None:
    design = leverage(players, samples, 3)
    assert len(design.shown) == samples // 2 * 2
    assert len(design.shown.unique(dim=0)) == len(design.shown)
    assert design.stratum is not None and design.known is not None
    drawn = design.group >= 0
    each = torch.bincount(design.stratum[drawn]) // 2
    assert int(each[each > 0].min()) >= 2
    count = torch.bincount(design.shown.sum(1), minlength=players + 1)
    for k in range(1, players):
        there = math.comb(players, k)
        whole = bool((design.known[design.shown.sum(1) == k] >= 1).all()) and int(count[k]) > 0
        assert int(count[k]) <= there and (int(count[k]) == there or not whole)


@pytest.mark.peers
@pytest.mark.parametrize("samples", [60, 200, 600])
def test_the_shap_package_enumerates_the_same_sizes_with_the_same_weights(samples: int) -> None:
    shap = pytest.importorskip("shap")
    players = 10
    peer: Any = shap.KernelExplainer(lambda z: z.sum(1), torch.zeros(1, players).numpy())
    peer.shap_values(torch.ones(1, players).numpy(), nsamples=samples, l1_reg=False, silent=True)
    size = torch.from_numpy(peer.maskMatrix).sum(1).long()
    theirs = torch.bincount(size, torch.from_numpy(peer.kernelWeights).double().flatten(), players + 1)
    design = border(players, samples, 0)
    of = design.shown.sum(1)
    ours = torch.bincount(of, design.weight, players + 1)
    listed = of[design.group < 0].unique()
    torch.testing.assert_close((ours / ours.sum())[listed], (theirs / theirs.sum())[listed], rtol=1e-6, atol=0)
    assert all(int((size == k).sum()) == math.comb(players, int(k)) for k in listed)
