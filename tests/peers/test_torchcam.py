"""Where a map of torchcam and ours differ: the formula by hand, or what a mask has to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.peers.models import Case, case, distance, filled, plain
from tests.peers.with_grad_cam import inside
from tests.peers.with_torchcam import STEPS, told
from torch import Tensor, nn

import pellucid
from pellucid import registry

pytest.importorskip("torchcam")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def ours(c: Case, name: str, **params: Any) -> Tensor:
    method = registry.make(name, {"at": c.site, **params})
    return pellucid.explain(plain(c.module), c.x, method, target=c.target, output="logit")[0].values


def test_alpha_is_a_quotient():
    """α = g² / (2 g² + g³ Σ A) by hand; and without the division."""
    c = case("resnet18")
    act, g = inside(c)
    below = 2 * g**2 + g**3 * act.sum((2, 3), keepdim=True)
    alpha = torch.where(g != 0, g**2 / torch.where(below != 0, below, 1.0), 0.0)
    maps = [((a * g.relu()).sum((2, 3), keepdim=True) * act).sum(1).relu() for a in (alpha, g**2)]
    assert distance(ours(c, "grad_cam_plus_plus"), maps[0]) <= 1e-9
    assert distance(told("GradCAMpp", c).clamp_min(0), maps[1]) <= 1e-9


class Watched(nn.Module):
    """Keeps the rows that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 5, stride=4), nn.Linear(4, 2)
        self.seen: list[Tensor] = []

    def __deepcopy__(self, _: Any) -> Watched:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.head(self.features(x).relu().mean((2, 3)))


def watched(name: str, theirs: str, steps: int = 0) -> tuple[Tensor, Tensor]:
    """Of a white picture, so that rows are masks: the brightest place of every row, ours and torchcam's."""
    net: Any = filled(Watched)
    x = torch.ones(1, 3, 21, 21, dtype=torch.float64)
    x[..., :9, :9] = 0.5
    x[..., 13:, 4:8] = 0.8
    c = Case(name="", module=net, x=x, target=0, site="features")
    found: list[Tensor] = []
    for run in (
        lambda: ours(c, name, **({"steps": steps} if steps else {})),
        lambda: told(theirs, c, **({"num_samples": steps} if steps else {})),
    ):
        net.seen.clear()
        run()
        rows = torch.cat(net.seen)
        found.append((rows / x).amax((1, 2, 3))[~(rows == x).flatten(1).all(1)])
    return found[0], found[1]


def test_masks_reach_from_zero_to_one():
    mine, theirs = watched("score_cam", "ScoreCAM")
    assert len(mine) >= 4 and len(theirs) >= 4
    torch.testing.assert_close(mine, torch.ones_like(mine))
    assert float(theirs.min()) < 0.99


def test_integrated_pictures_do_not_outshine_the_picture():
    mine, theirs = watched("is_cam", "ISCAM", STEPS)
    assert float(mine.max()) == pytest.approx(1.0) and float(mine.min()) == pytest.approx(1 / STEPS)
    assert float(theirs.max()) > 1.5
