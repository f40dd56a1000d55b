"""Traps of games and perturbations that other libraries fall into, where no other test shows that ours do not.

docs/reliability.md lists all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.games import designed, number
from torch import Tensor, nn

from pellucid import Preprocess, Top, explain, registry, wrap
from pellucid.core.errors import InputError
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.permutation_shap import PermutationSHAP
from pellucid.methods.stratified_shapley import StratifiedShapley
from pellucid.ops.designs import everything
from pellucid.ops.games import Played, Worth
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import shapley, shapley_fit

GAMES = [name for name in registry.names() if registry.find(name).about.family == "perturbation"]


def local(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(net: nn.Sequential, std: float) -> nn.Sequential:
    """In double precision, from a generator of our own."""
    for p in net.double().parameters():
        nn.init.normal_(p, generator=local(p.numel()), std=std)
    return net


# -- shapes (2) ------------------------------------------------------------------------------------------------------


class Volumes(nn.Module):
    """Two classes of [batch, channel, depth, height, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, 240, generator=local(), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w.T


@pytest.mark.parametrize("name", GAMES)
def test_volumes_are_refused_by_what_plays_on_pictures(name: str) -> None:
    """And never taken for pictures of another layout. Gradients do not mind."""
    x = torch.rand(2, 2, 4, 5, 6, generator=local(), dtype=torch.float64)
    with pytest.raises(InputError, match=r"\(2, 4, 5, 6\)"):
        explain(Volumes(), x, name, target=0)
    model = Volumes()
    e = explain(model, x, "gradient", target=1, output="logit")[0]
    torch.testing.assert_close(e.values, model.w[1].detach().view(2, 4, 5, 6).expand(2, -1, -1, -1, -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_have_their_channels_last_and_rows_first(channels: Any) -> None:
    """Grey photos are [height, width]; one and the same picture has one and the same map."""
    photo = np.random.default_rng(0).integers(0, 255, (6, 8, 3)[: 3 if channels == 3 else 2], np.uint8)
    row = torch.from_numpy(photo.reshape(6, 8, -1)).movedim(2, 0)[None].float() / 255
    model = drawn(nn.Sequential(nn.Flatten(), nn.Linear(48 * channels, 2)), 1.0).float()
    method = registry.make("kernel_shap", {"regions": "cells(2, 4)"})
    seen = explain(wrap(model, Preprocess(channels=channels)), [photo], method, target=0)[0]
    fed = explain(model, row, method, target=0)[0]
    torch.testing.assert_close(seen.extras["players"], fed.extras["players"], rtol=1e-5, atol=1e-6)


# -- axioms of all that sample (8) ---------------------------------------------------------------------------------

PLAYERS = 10


def kernel(design: str, seed: int, v: Tensor) -> Worth:
    asked = designed(KernelSHAP(samples=300, seed=seed, design=design), PLAYERS)
    fit = shapley_fit(Played(asked, v[number(asked.shown)].mT))
    return Worth(fit.coef, fit.std_error)


def arriving(method: Any, v: Tensor) -> Worth:
    asked = designed(method, PLAYERS)
    return method._mean(Played(asked, v[number(asked.shown)].mT))


SAMPLERS: dict[str, Any] = {
    **{f"kernel, {design}": (lambda seed, v, design=design: kernel(design, seed, v)) for design in KERNELS},
    "permutations": lambda seed, v: arriving(PermutationSHAP(samples=40, antithetic=False, seed=seed), v),
    "antithetic permutations": lambda seed, v: arriving(PermutationSHAP(samples=40, seed=seed), v),
    "stratified permutations": lambda seed, v: arriving(StratifiedShapley(seed=seed), v),
}


def within(apart: Tensor, error: Tensor) -> bool:
    """In all of a few dozen comparisons."""
    return bool((apart.abs() <= 5 * error + 1e-9).all())


@pytest.mark.parametrize("name", SAMPLERS)
def test_axioms_on_games_of_ten_players(name: str) -> None:
    """Sums, linearity and idle players exactly; equal players and exact values within the error that is reported."""
    sampled, z = SAMPLERS[name], everything(PLAYERS).shown.double()
    draw = local(3)
    w, p = torch.randn(PLAYERS, generator=draw).double(), torch.randn(PLAYERS, PLAYERS, generator=draw).double() / 3
    w[7], p[7], p[:, 7] = 0, 0, 0  # idle
    w[2], p[2], p[:, 2] = w[1], p[1], p[:, 1]  # the like of 1
    p[1, 2] = p[2, 1] = p[1, 1] = p[2, 2] = 0.0
    inner = z @ w + ((z @ p) * z).sum(1)
    one, other = torch.sigmoid(inner)[:, None], inner.square()[:, None] / 10
    for seed in range(3):
        a, b, both = (sampled(seed, v) for v in (one, other, 2 * one - other))
        torch.testing.assert_close(both.values, 2 * a.values - b.values, rtol=1e-9, atol=1e-9)
        for v, got in ((one, a), (other, b)):
            assert got.std_error is not None
            assert float(got.values.sum()) == pytest.approx(float(v[-1] - v[0]), rel=1e-6)
            assert within(got.values - shapley(v.mT), got.std_error)
            assert within(got.values[:, 1] - got.values[:, 2], got.std_error[:, 1] + got.std_error[:, 2])
            idle = got.values[:, 7]
            assert within(idle, got.std_error[:, 7]) if name.startswith("kernel") else not bool(idle.any())


# -- windows (11) ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["occlusion", "feature_ablation", "permutation_shap"])
def test_what_shows_the_fill_already_is_worth_nothing(name: str) -> None:
    """Hiding a window of the fill's own colour changes no pixel."""
    x = torch.rand(2, 3, 8, 8, generator=local(), dtype=torch.float64)
    x[..., :4, :4] = 0.25
    model = drawn(nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Tanh(), nn.Linear(3, 2)), 0.1)
    how: dict[str, Any] = {"window": 2, "stride": 2} if name == "occlusion" else {"regions": "cells(4, 4)"}
    e = explain(model, x, registry.make(name, {"fill": 0.25, **how}), target=0)[0]
    worth = e.values.view(2, 8, 8)
    assert float(worth[..., :4, :4].abs().max()) <= 1e-12 < float(worth[..., 4:, 4:].abs().min())


# -- sums (16) -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", ["deep_lift", "deep_lift_shap", "kernel_shap", "integrated_gradients"])
def test_every_rank_adds_up_to_its_own_class_whatever_the_size_of_the_scores(name: str, size: float) -> None:
    """Rows whose classes rank differently: values add up to the change of the class that has the rank."""
    net = drawn(nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 4)), 0.5)
    net[3].weight.data *= size
    net[3].bias.data *= size
    x = torch.randn(3, 3, 4, 4, generator=local(2), dtype=torch.float64)
    low = torch.full_like(x, 0.25)
    hidden = {"baselines": low[:1]} if name == "deep_lift_shap" else {"baseline": 0.25}
    how = {"regions": "cells(2, 2)", "fill": 0.25} if name == "kernel_shap" else hidden
    more = {"steps": 400} if name == "integrated_gradients" else {}
    got = explain(net, x, registry.make(name, {**how, **more}), target=Top(3), output="logit")
    with torch.no_grad():
        after, before = net(x), net(low)
    ranked = after.argsort(1, descending=True)
    assert len({tuple(row) for row in ranked.tolist()}) > 1 and len(got) == 3
    for k, e in enumerate(got):
        change = (after - before).gather(1, ranked[:, k : k + 1])[:, 0]
        worth = e.extras["players"] if name == "kernel_shap" else e.values
        assert torch.equal(torch.tensor(e.target.index), ranked[:, k])
        off = (worth.flatten(1).sum(1) - change).abs() / change.abs()
        assert float(off.max()) < (0.02 if name == "integrated_gradients" else 1e-6)
        check = next(c for c in e.checks if c.name in ("completeness", "efficiency"))
        assert all(check.passed) and max(check.value) < 0.05  # a share, and no number in units of the score
