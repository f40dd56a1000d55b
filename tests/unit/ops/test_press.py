"""R² of rows held out: as fitting again without each of them, and low where a good fit was no knowledge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pellucid
from pellucid import LIME, Banzhaf, KernelSHAP, ShapleyInteractions
from pellucid.core.points import generator
from pellucid.ops.designs import Design, coin
from pellucid.ops.games import Played
from pellucid.ops.press import once, press
from pellucid.ops.ridge import ridge
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import pairs, shapley_fit, shapley_held_out, shared_pairs, single
from pellucid.ops.surrogates import Surrogate


def left_out(y: Tensor, w: Tensor, sets: list[Tensor], fit: Callable[[Tensor], Callable[[], Tensor]]) -> Tensor:
    """The definition: every set of rows predicted by what was fitted to the others, and by their mean."""
    wrong, mean = torch.zeros_like(y), torch.zeros_like(y)
    for out in sets:
        kept = torch.ones(len(w), dtype=torch.bool)
        kept[out] = False
        wrong[:, out] = y[:, out] - fit(kept)()[:, out]
        mean[:, out] = y[:, out] - (y[:, kept] @ w[kept] / w[kept].sum())[:, None]
    return 1 - wrong.square() @ w / (mean.square() @ w)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 40), st.sampled_from([0.0, 0.1, 3.0]))
def test_it_is_what_fitting_without_each_row_gives(seed: int, features: int, more: int, strength: float) -> None:
    draw, rows = generator(seed, "press"), features + 1 + more
    x = torch.randn(rows, features, generator=draw, dtype=torch.float64)
    y = torch.randn(3, rows, generator=draw, dtype=torch.float64) + x.sum(1)
    w = torch.rand(rows, generator=draw, dtype=torch.float64) + 0.1
    wanted = left_out(
        y, w, list(torch.arange(rows).split(1)), lambda kept: lambda: ridge(x[kept], y[:, kept], w[kept], strength)(x)
    )
    assert torch.allclose(press(x, y, w, strength), wanted, rtol=1e-7, atol=1e-7)


def test_rows_that_others_say_nothing_of_are_predicted_by_the_mean() -> None:
    x = torch.eye(5, dtype=torch.float64)
    y = torch.randn(2, 5, generator=generator(1, "press"), dtype=torch.float64)
    assert torch.allclose(press(x[:, :4], y, torch.ones(5).double()), torch.zeros(2).double())
    assert torch.equal(press(x[:2, :1], y[:, :2], torch.ones(2).double()), torch.ones(2).double())
    assert torch.equal(press(x, y * 0 + 3, torch.ones(5).double()), torch.ones(2).double())


def played(players: int, samples: int, seed: int) -> Played:
    """Coins that come again: few players, many draws, of a game that does not add up."""
    design = coin(players, samples, seed)
    z = design.shown.double()
    return Played(design, torch.stack([z.prod(1) + z[:, 0] * z[:, 1], z.sum(1).sin()]))


def test_a_coalition_that_was_drawn_again_is_not_held_out_by_half() -> None:
    game = played(4, 60, 0)
    z = game.design.shown
    design, scores = once(game.design, game.scores)
    assert len(design.shown) < 17 < 60
    assert float(design.weight.sum()) == 60
    _, number = torch.unique(z.to(torch.uint8), dim=0, return_inverse=True)
    sets = [(number == i).nonzero()[:, 0] for i in range(int(number.max()) + 1)]
    w = torch.ones(60, dtype=torch.float64)

    def fit(kept: Tensor) -> Callable[[], Tensor]:
        return lambda: ridge(z[kept].double(), game.scores[:, kept], w[kept], 0.5)(z)

    wrong = left_out(game.scores, w, sets, fit)
    assert torch.allclose(press(design.shown, scores, design.weight, 0.5), wrong, atol=1e-10)
    assert (press(z, game.scores, w, 0.5) > wrong).all()  # draws one by one would know better


@pytest.mark.parametrize("penalty", ["ridge", "glmnet"])
def test_limes_model_is_held_out_as_it_is_fitted(penalty: str) -> None:
    design = once(*(lambda p: (p.design, p.scores))(played(7, 90, 3)))[0]
    z = design.shown.double()
    scores = torch.stack([(z @ torch.arange(7.0).double()) + z[:, 1] * z[:, 2], z.prod(1) + z[:, 3]])
    near = torch.rand(len(z), generator=generator(3, "near"), dtype=torch.float64) + 0.2
    alone = torch.full((len(z),), -1)
    way = Surrogate(strength=1.0, penalty=penalty, features=None, select="auto")

    def fit(kept: Tensor) -> Callable[[], Tensor]:
        return lambda: way.fit(z[kept], scores[:, kept], near[kept], alone[kept])(z)

    wanted = left_out(scores, near, list(torch.arange(len(z)).split(1)), fit)
    # glmnet's scales are those of all rows, where they are left out one by one
    assert torch.allclose(way.held_out(z, scores, near), wanted, atol=1e-9 if penalty == "ridge" else 2e-3)


def test_features_are_chosen_again_where_rows_are_held_out() -> None:
    """Of forty players who do nothing, the best two explain something where they were chosen, and nothing elsewhere."""
    z = coin(40, 80, 0).shown.double()
    scores = torch.randn(1, 80, generator=generator(5, "noise"), dtype=torch.float64)
    near, way = torch.ones(80).double(), Surrogate(strength=0.0, penalty="ridge", features=4, select="auto")
    fit = way.fit(z, scores, near, torch.full((80,), -1))
    kept = fit.coef[0] != 0
    assert fit.r2 > 0.2
    assert press(z[:, kept], scores, near) > 0.1  # what leaving out after choosing would say
    assert way.held_out(z, scores, near) < 0.05


@pytest.mark.parametrize("terms", [single, pairs, shared_pairs])
def test_shapley_values_are_held_out_as_they_are_fitted(terms: Any) -> None:
    drawn = KERNELS["kernel"](6, 50, 1).beside(shown=True).beside(shown=False)
    z = drawn.shown.double()
    scores = torch.stack([z.prod(1) + z[:, 0] * z[:, 1] + z[:, 4], (z @ torch.arange(6.0).double()).sin()])
    game = Played(drawn, scores)
    design, v = once(drawn.after(2), scores[:, 2:])
    weight = design.weight

    def fit(kept: Tensor) -> Callable[[], Tensor]:
        some = Design(
            shown=torch.cat([drawn.shown[:2], design.shown[kept]]),
            weight=torch.cat([weight.new_ones(2), weight[kept]]),
            group=torch.full((2 + int(kept.sum()),), -1),
        )
        found = shapley_fit(Played(some, torch.cat([scores[:, :2], v[:, kept]], 1)), terms)
        return lambda: found(terms(design.shown.double()))

    wanted = left_out(v, weight, list(torch.arange(len(weight)).split(1)), fit)
    assert torch.allclose(shapley_held_out(game, terms), wanted, atol=1e-8)
    if terms is shared_pairs:
        assert torch.allclose(wanted, shapley_held_out(game, pairs), atol=1e-8)  # one model in two ways


# -- as users see it -----------------------------------------------------------------------------------------------

X = torch.ones(1, 30, dtype=torch.float64)


def parity(z: Tensor) -> Tensor:
    """Half a sum, half a game of which no player's part can be told."""
    return ((2 * z - 1).prod(1) + 0.1 * z[:, 0])[:, None]


def added(z: Tensor) -> Tensor:
    return (z @ torch.arange(30.0, dtype=torch.float64))[:, None]


def checks(fn: Callable[[Tensor], Tensor], method: Any) -> Any:
    return pellucid.explain(pellucid.wrap(fn), X, method, target=0, output="logit")[0]


def test_few_samples_fit_anything_and_the_chip_is_red() -> None:
    """As many samples as players fit parity nearly whole; of no coalition that was not asked do they know anything."""
    few = checks(parity, LIME(samples=34, ridge=1e-6, design="coin"))
    assert few.check("r2").passed == (True,)
    assert few.check("held_out").passed == (False,)
    assert few.check("held_out").value[0] < 0.1
    assert any("held_out" in line for line in few.warnings)
    many = checks(parity, Banzhaf(samples=200))
    assert many.check("held_out").value[0] < 0.2
    assert many.check("held_out").passed == (False,)


@pytest.mark.parametrize("method", [LIME(samples=200, ridge=1e-6), Banzhaf(samples=100), KernelSHAP(samples=120)])
def test_what_adds_up_is_foretold_at_no_extra_call(method: Any) -> None:
    got = checks(added, method)
    assert got.check("held_out").value[0] == pytest.approx(1, abs=1e-5)
    assert got.check("held_out").passed == (True,)
    assert got.record.passes.forward <= 1 + method.samples + 2


def test_shapley_values_of_a_game_that_does_not_add_up_are_no_warning() -> None:
    got = checks(parity, KernelSHAP(samples=200))
    assert got.check("held_out").value[0] < 0.2
    assert not got.check("held_out").judged
    assert not any("held_out" in line for line in got.warnings)
    small = pellucid.wrap(lambda z: (z[:, :3].prod(1) - z[:, 3:6].prod(1))[:, None])
    deep: Any = pellucid.explain(small, X[:, :6], ShapleyInteractions(samples=60), target=0, output="logit")[0]
    assert deep.check("held_out").value[0] < deep.check("r2").value[0] - 0.05
    plain = replace(deep.check("held_out"), value=(0.0,))
    assert plain.judged
