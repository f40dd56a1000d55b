"""Owen values of a binary tree: against all orders that the tree allows, Shapley values, budgets, and shap."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.games import CELLS, PLAYERS, WHITE, additive, by_orders, looked_up, number, table, weights
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

from pellucid.api import explain, wrap
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.exact_shapley import ExactShapley
from pellucid.methods.owen_shapley import OwenShapley
from pellucid.ops.hierarchy import merges, nearest
from pellucid.ops.owen import Splitting
from pellucid.regions import Labels

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}
TREE = [[0, [1, 2]], [[3, 4], 5]]
ROW = torch.arange(PLAYERS)


def one(model: Any, method: Any, x: Tensor = WHITE, target: Any = 0) -> Explanation:
    return explain(model, x, method, target=target, output="logit")[0]


def close(got: Any, wanted: Any, rtol: float = 1e-9) -> None:
    got, wanted = (torch.as_tensor(v, dtype=torch.float64) for v in (got, wanted))
    torch.testing.assert_close(got, wanted, rtol=rtol, atol=1e-11)


def orders(tree: Any) -> list[list[int]]:
    """All orders of arrival in which no part is interrupted by others."""
    if isinstance(tree, int):
        return [[tree]]
    left, right = map(orders, tree)
    return [one for a, b in product(left, right) for one in (a + b, b + a)]


def owen_by_hand(worths: list[float], tree: Any) -> list[float]:
    """Over all orders that the tree allows, the mean of what each player adds to those before it."""
    return by_orders(worths, orders(tree))


def split(worths: list[float], steps: list[list[int]], calls: int) -> Splitting:
    """A game given by all of its scores, played to the end of the budget."""
    last = len(worths) - 1
    done = Splitting(steps, calls, {0: worths[0], last: worths[last]})
    while wanted := done.wants():
        done.take({s: worths[s] for s in wanted})
    return done


def test_values_are_those_of_all_orders_that_the_tree_allows() -> None:
    worths = table()
    for target in (0, 1):
        e = one(looked_up(worths), OwenShapley(hierarchy=TREE, **BLACK), target=target)
        close(e.extras["players"][0], owen_by_hand(worths[:, target].tolist(), TREE))
        assert not bool(e.extras["unresolved"].any())
        assert all(check.passed == (True,) for check in e.checks)


def nested(steps: list[list[int]]) -> Any:
    parts: list[Any] = list(range(len(steps) + 1))
    for a, b in steps:
        parts.append([parts[a], parts[b]])
    return parts[-1]


@st.composite
def trees(draw: st.DrawFn) -> list[list[int]]:
    n = draw(st.integers(2, 8))
    free, steps = list(range(n)), []
    for k in range(n - 1):
        pair = [free.pop(draw(st.integers(0, len(free) - 1))) for _ in range(2)]
        steps.append(pair)
        free.append(n + k)
    return steps


@given(trees(), st.integers(0, 5), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_values_are_exact_when_all_is_split_and_add_up_at_any_time(steps: list[list[int]], seed: int, calls: int):
    n = len(steps) + 1
    worths = table(1, n, seed)[:, 0].tolist()
    done = split(worths, steps, calls)
    assert len(done.v) <= calls + 2
    close(sum(done.values()), worths[-1] - worths[0])
    assert 0 <= done.unresolved <= 1
    if not done.heap:
        close(done.values(), owen_by_hand(worths, nested(steps)))
    close(split(worths, steps, 10**6).values(), owen_by_hand(worths, nested(steps)))


@given(trees(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_axioms(steps: list[list[int]], seed: int) -> None:
    n = len(steps) + 1
    at = torch.arange(2**n)
    u, v = table(1, n, seed)[:, 0], table(1, n, seed + 1)[:, 0]

    def values(w: Tensor) -> Tensor:
        return torch.tensor(split(w.tolist(), steps, 10**6).values(), dtype=torch.float64)

    close(values(2 * u - 3 * v), 2 * values(u) - 3 * values(v))
    assert float(values(u[at & ~1])[0]) == 0
    a, b = steps[0]  # two single players that the tree joins first
    swapped = (at & ~(1 << a | 1 << b)) | (at >> a & 1) << b | (at >> b & 1) << a
    alike = values(u + u[swapped])
    close(alike[a], alike[b])


def test_a_tree_of_two_players_has_shapley_values() -> None:
    tree: dict[str, Any] = {"hierarchy": [0, 1], "regions": "cells(1, 2)"}
    owen = one(NET, OwenShapley(**tree), SMALL)
    close(owen.extras["players"], one(NET, ExactShapley(regions="cells(1, 2)"), SMALL).extras["players"])


def test_additive_games_are_exact_once_split() -> None:
    w = weights()
    e = one(additive(w), OwenShapley(**BLACK), target=1)
    close(e.extras["players"][0], w[:, 1])


def test_the_budget_goes_where_the_credit_is() -> None:
    """Only one of 16 players counts: the way down to it costs two calls for each of the four levels."""
    steps = nearest(torch.arange(16)).tolist()
    worths = [float(s >> 11 & 1) for s in range(2**16)]
    done = split(worths, steps, 2 + 4 * 2 + 8 * 2 + 16 * 2)
    values = done.values()
    close(values[11], 1.0)
    assert done.unresolved == 0
    close(sum(values), 1.0)


def test_a_budget_that_is_spent_says_what_it_shared_out() -> None:
    worths = table()
    e = one(looked_up(worths), OwenShapley(calls=2, hierarchy=TREE, **BLACK))
    check = {c.name: c for c in e.checks}
    assert check["efficiency"].passed == (True,)
    assert check["unresolved"].value[0] == pytest.approx(1.0)
    assert check["unresolved"].passed == (False,)
    close(e.extras["unresolved"], e.extras["players"])
    a, b = e.extras["players"][0, :3], e.extras["players"][0, 3:]
    close(a, a[:1].expand(3))
    close(b, b[:1].expand(3))
    half = [(worths[7, 0] - worths[0, 0]) / 6 + (worths[63, 0] - worths[56, 0]) / 6]
    close(a[:1], half)


def test_targets_do_not_change_each_other_and_share_their_calls() -> None:
    method = OwenShapley(calls=9, regions="cells(3, 3)")
    alone = [one(NET, method, SMALL, target=t).values for t in (0, 1)]
    both = explain(NET, SMALL, method, target=[0, 1], output="logit")
    assert both[0].record.passes.forward <= 3 * (2 * 9 + 2) + 10
    for e, wanted in zip(both, alone, strict=True):
        close(e.values, wanted)


def test_columns_of_a_linear_model_get_their_weight_times_their_way_from_the_mean_background() -> None:
    draw = torch.Generator().manual_seed(0)
    w, x, ground = (torch.randn(*size, 5, generator=draw).double() for size in ((2,), (3,), (4,)))
    model = wrap(lambda rows: rows @ w.T, name="by hand")
    for tree in ("nearest", [[0, 4], [1, [2, 3]]]):
        e = explain(model, x, OwenShapley(hierarchy=tree, fill=ground), target=1, output="logit")[0]
        close(e.values, w[1] * (x - ground.mean(0)))
        assert e.dims == ("batch", "feature")


# -- where not all is split ---------------------------------------------------------------------------------------

DRAWS = ("orders", "process")


@pytest.mark.parametrize("estimator", DRAWS)
def test_values_are_exact_where_the_calls_suffice_for_the_whole_tree(estimator: str) -> None:
    worths = table()
    got = one(looked_up(worths), OwenShapley(estimator=estimator, hierarchy=TREE, **BLACK), target=1)
    close(got.extras["players"][0], owen_by_hand(worths[:, 1].tolist(), TREE))
    assert got.std_error is not None
    assert not bool(got.std_error.any())
    assert got.record.passes.forward <= 28 + 1  # as many coalitions as the tree has, and the photo


@pytest.mark.parametrize("estimator", DRAWS)
def test_calls_are_counted_and_values_add_up(estimator: str) -> None:
    """A net's 16 cells; every target is answered by the same calls."""
    method = OwenShapley(estimator=estimator, calls=70, regions="cells(4, 4)", fill="black")
    both = explain(NET, SMALL, method, target=[0, 1], output="logit")
    assert both[0].record.passes.forward <= 3 * (70 + 2) + 3
    assert both[0].record.passes.rounds == 1
    for e in both:
        assert {c.name: c.passed for c in e.checks}["efficiency"] == (True,) * 3
        assert e.std_error is not None
        assert bool((e.std_error > 0).any())


def cells(estimator: str, worths: Tensor, seed: int = 0) -> Tensor:
    """What the nine players of a looked-up game are worth with 36 of the 66 calls that the tree has; [target, 9]."""
    model = wrap(lambda rows: worths[number(rows)], name="looked up")
    method = OwenShapley(estimator=estimator, calls=36, seed=seed, fill=torch.zeros(1, 9).double())
    made = explain(model, torch.ones(1, 9).double(), method, target=[0, 1], output="logit")
    return torch.stack([e.extras["players"][0].double() for e in made])


@given(st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_orders_are_linear_and_leave_dummies_alone(game: int, seed: int) -> None:
    u, v = table(2, 9, game), table(2, 9, game + 1)
    u = u[torch.arange(512) & ~16]  # player 4 does nothing
    close(cells("orders", 2 * u - 3 * v, seed), 2 * cells("orders", u, seed) - 3 * cells("orders", v, seed), 1e-7)
    assert float(cells("orders", u, seed)[:, 4].abs().max()) == 0


def test_additive_games_are_exact_from_any_orders() -> None:
    w = weights(2, 9)
    z = (torch.arange(512)[:, None] >> torch.arange(9) & 1).double()
    close(cells("orders", 0.3 + z @ w), w.mT, 1e-7)


@pytest.mark.parametrize("estimator", DRAWS)
def test_a_seed_says_what_is_asked(estimator: str) -> None:
    v, state = table(2, 9), torch.random.get_rng_state()
    first = cells(estimator, v)
    assert torch.equal(first, cells(estimator, v))
    assert not torch.equal(first, cells(estimator, v, seed=1))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("estimator", DRAWS)
def test_what_is_drawn_for_a_picture_does_not_depend_on_the_others(estimator: str) -> None:
    """Three pictures of 1, 4 and 16 players, the last of which has too many coalitions for the calls."""
    drawn = torch.stack([torch.ones(4, 4), torch.arange(4.0).repeat(4, 1), torch.arange(16.0).view(4, 4)]).long()
    method = OwenShapley(estimator=estimator, calls=70, regions=Labels(drawn), fill="black")
    whole = one(NET, method, SMALL)
    for i in range(3):
        alone = one(NET, replace(method, regions=Labels(drawn[i])), SMALL[i : i + 1])
        close(whole.values[i : i + 1], alone.values, 1e-7)


@pytest.mark.parametrize("estimator", DRAWS)
def test_where_nothing_matters_everybody_has_nothing(estimator: str) -> None:
    """Each cell is one pixel, which its own mean colour does not hide."""
    got = one(NET, OwenShapley(estimator=estimator, calls=70, regions="cells(4, 4)"), SMALL)
    assert not bool(got.values.any())
    assert {c.name: c.passed for c in got.checks}["efficiency"] == (True,) * 3


def test_too_few_calls_for_two_pairs_of_orders_are_refused() -> None:
    with pytest.raises(ParameterError, match="pairs of orders"):
        one(NET, OwenShapley(estimator="orders", calls=20, regions="cells(4, 4)"), SMALL)


# -- trees -------------------------------------------------------------------------------------------------------

NET: Any = net(Convnet())
SMALL = pictures(3, side=4)
DRAWN = torch.tensor([[[9, 9, 4, 4]] * 4, [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7]], [[1] * 4] * 4])


def test_every_picture_has_its_own_tree() -> None:
    whole = one(NET, OwenShapley(regions=Labels(DRAWN)), SMALL)
    for i, drawn in enumerate(DRAWN):
        alone = one(NET, OwenShapley(regions=Labels(drawn)), SMALL[i : i + 1])
        close(whole.values[i : i + 1], alone.values)
        steps = alone.extras["hierarchy"][0]
        assert torch.equal(whole.extras["hierarchy"][i, : len(steps)], steps)
        assert bool((whole.extras["hierarchy"][i, len(steps) :] == -1).all())


def test_columns_are_merged_by_nearness() -> None:
    assert nearest(torch.arange(4)).tolist() == [[0, 1], [2, 3], [4, 5]]
    words = torch.tensor([-1, 0, 0, 1, 2, 3, 3, -1])
    assert nearest(words).tolist()[-1] == [4, 5] or len(nearest(words)) == 3


def test_neighbours_of_like_colour_are_merged_first() -> None:
    labels = torch.tensor([[0, 1], [2, 3]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    colour = torch.tensor([0.0, 1.0, 0.0, 1.0])[labels].expand(3, 4, 4)
    assert nearest(labels, colour).tolist() == [[0, 2], [1, 3], [4, 5]]
    assert nearest(labels, colour.mT).tolist() == [[0, 1], [2, 3], [4, 5]]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_trees_join_every_part_once_and_only_neighbours(height: int, width: int, many: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.unique(torch.randint(many, (height, width), generator=draw), return_inverse=True)[1]
    steps = nearest(labels, torch.rand(3, height, width, generator=draw))
    assert torch.equal(merges(steps, labels), steps)
    assert torch.equal(merges(steps.numpy(), labels), steps)


def test_lists_of_more_than_two_are_halved() -> None:
    assert merges([[0, 1, 2], [3, 4, 5]], ROW).tolist() == [[0, 1], [6, 2], [3, 4], [8, 5], [7, 9]]


@pytest.mark.parametrize(
    "wrong",
    [
        "colour",
        [[0, 1], 2],
        [[0, 1], [2, 3], [4, 4]],
        [[0, 1], [2, 3], [4, 6]],
        [0, [1, "2"], 3, 4, 5],
        torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [8, 8]]),
        torch.tensor([[0, 10], [2, 3], [4, 5], [6, 7], [8, 1]]),
    ],
)
def test_trees_that_leave_players_out_are_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError):
        merges(wrong, ROW)


# -- peers -------------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("seed", [0, 1])
def test_shap_finds_the_same_in_the_same_tree(seed: int) -> None:
    shap = pytest.importorskip("shap")
    worths, steps = table(2, PLAYERS, seed), nearest(ROW)
    size = [1.0] * PLAYERS
    size += [0.0] * len(steps)
    for k, (a, b) in enumerate(steps.tolist()):
        size[PLAYERS + k] = size[a] + size[b]
    told = torch.stack([torch.arange(1.0, PLAYERS), torch.tensor(size[PLAYERS:])], 1)
    linkage = torch.cat([steps, told], 1).double().numpy()

    def scores(z: Any) -> Any:
        return worths[number(torch.from_numpy(z))].numpy()

    masker = shap.maskers.Partition(torch.zeros(1, PLAYERS).numpy(), clustering=linkage)
    peer = shap.PartitionExplainer(scores, masker)
    theirs = peer(torch.ones(1, PLAYERS).numpy(), max_evals=10_000, silent=True).values
    for target in (0, 1):
        ours = one(looked_up(worths), OwenShapley(hierarchy=steps, **BLACK), target=target)
        close(ours.extras["players"][0], theirs[0, :, target], 1e-6)
