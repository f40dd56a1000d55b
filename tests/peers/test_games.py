"""Where a peer's game and ours differ: what holds for any game, which we pass and the peer fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.peers import models
from tests.peers import with_games as games
from tests.peers.models import Case, distance, filled, out_of_place, plain, rows
from tests.peers.with_captum import FILL
from tests.peers.with_games import FEW, PLAYERS, SAMPLES, regions
from torch import Tensor, nn

import pellucid

pytest.importorskip("captum")
pytest.importorskip("lime")
pytest.importorskip("shap")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
EXACT = 1e-9
SIZE = (12, 15)
WORTH = torch.linspace(0.02, 1.0, PLAYERS, dtype=torch.float64)


class Regions(nn.Module):
    """What every region is worth, when it is shown; and a curve through the sum."""

    def __init__(self, worth: Tensor, curve: Any = None) -> None:
        super().__init__()
        self.worth, self.curve = nn.Parameter(worth), curve or nn.Identity()
        where = regions(SIZE, PLAYERS)
        self.register_buffer("where", torch.stack([(where == i).double() / (where == i).sum() for i in range(PLAYERS)]))

    def forward(self, x: Tensor) -> Tensor:
        share = torch.einsum("bhw,phw->bp", x[:, 0], self.where)
        return self.curve(torch.stack([share @ self.worth, share.square() @ self.worth.flip(0) ** 2], 1))


def case(curve: Any = None) -> Case:
    """White beside the colour that hides; the second class is another game."""
    x = torch.ones(1, 3, *SIZE, dtype=torch.float64)
    return Case(name="", module=Regions(WORTH, curve).eval(), x=x, target=0, site="")


def ours(c: Case, method: Any, target: int | None = None) -> pellucid.Explanation:
    target = c.target if target is None else target
    return pellucid.explain(plain(c.module), c.x, [method], target=target, output="logit")[0]


def lost() -> Tensor:
    """What a region that is hidden takes with it, painted."""
    c = case()
    return games.painted(c, (WORTH * (1 - FILL[0]))[None])


def test_small_weights_survive():
    c = case()
    mine = ours(c, games.make("lime", samples=SAMPLES, design="coin", ridge=0.0)(c)).values
    theirs = games.captum_lasso(c)
    assert distance(mine, lost()) <= EXACT
    assert int((theirs == 0).sum()) > 0 and distance(theirs, lost()) > 0.01


def test_shapley_values_add_up():
    c = case(nn.Tanh())
    mine = ours(c, games.make("kernel_shap", samples=SAMPLES, design="kernel")(c)).extras["players"].sum()
    theirs = sum(float(games.captum_kernel_shap(c, 1e6)[0][games.labels(c) == i][0]) for i in range(PLAYERS))
    hidden = games.fill(c.x).expand_as(c.x[0])[None]
    with torch.no_grad():
        whole = float((c.module(c.x) - c.module(hidden))[0, 0])
    assert abs(float(mine) / whole - 1) <= EXACT
    assert abs(theirs / whole - 1) > 1e-7


def test_numbers_of_regions_are_only_names():
    c = models.case(games.SMALL)
    one, other = (ours(c, games.LIME[title].ours(c)).values for title in ("LIME", games.FROM_ONE))
    assert torch.equal(one, other)
    assert distance(games.lime_map(c), one) <= EXACT
    last = games.labels(c) == PLAYERS - 1
    assert not games.lime_map(c, first=1)[:, last].any() and one[:, last].all()


def test_every_label_has_its_own_fit():
    c = models.case(games.SMALL)
    with torch.no_grad():
        last = int(c.module(c.x)[0].argmax())
    of_target, of_last = (games.our_fit(ours(c, games.MEAN()(c), t))[0] for t in (c.target, last))
    assert last != c.target and float((of_target - of_last).abs().min()) > 1e-3
    alone, beside = games.lime_fit(c)[0], games.lime_fit(c, top=10)[0]
    assert distance(of_target, alone) <= EXACT
    assert distance(beside[1:], of_last[1:]) <= EXACT


def test_every_player_who_counts_has_a_value():
    c = case()
    mine = ours(c, games.make("kernel_shap", samples=SAMPLES, design="kernel")(c)).values
    assert distance(mine, lost()) <= EXACT
    assert distance(games.shap_kernel(c), lost()) <= EXACT
    theirs = games.shap_kernel(c, sparse=None)[0]
    assert sum(bool(theirs[games.labels(c) == i].any()) for i in range(PLAYERS)) <= 10
    assert distance(theirs[None], lost()) > 0.01


def test_deep_shap_does_not_mind_where_activations_write():
    def chain(inplace: bool) -> nn.Module:
        layers = (nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.Conv2d(6, 6, 3), nn.ReLU(inplace))
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(384, 3))

    written = filled(lambda: chain(True))
    best = int(written(rows(12)).argmax())
    c = Case(name="", module=written, x=rows(12), target=best, site="", twin=out_of_place(written))
    apart = Case(name="", module=c.theirs, x=c.x, target=best, site="")
    method = games.SHAP[games.DEEP].ours(c)
    assert distance(ours(c, method).values, ours(apart, method).values) <= EXACT
    assert distance(ours(c, method).values, games.deep(c)) <= 1e-6
    with pytest.raises(RuntimeError, match="inplace"):
        games.deep(Case(name="", module=written, x=c.x, target=best, site=""))


def test_all_orders_and_all_coalitions_are_one():
    c = case(nn.Tanh())
    exact = ours(c, games.make("exact_shapley", players=FEW)(c)).values
    everyone = ours(c, games.make("kernel_shap", players=FEW, samples=2**FEW)(c)).values
    assert distance(exact, everyone) <= EXACT
    assert distance(games.shap_kernel(c, FEW, 2**FEW), exact) <= EXACT
