"""Samples are added until the errors are as small as was asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import LIME, Banzhaf, KernelSHAP
from pellucid.core.errors import ParameterError
from pellucid.core.points import generator
from pellucid.ops.games import Game

X = torch.randn(2, 14, generator=generator(3, "tolerance"), dtype=torch.float64)
W = torch.randn(14, 14, generator=generator(4, "tolerance"), dtype=torch.float64)


def crossed(rows: Tensor) -> Tensor:
    """A game of pairs and more."""
    pairs = ((rows @ W) * rows).sum(1) / 8
    return torch.stack([torch.sigmoid(pairs + rows.sum(1)), rows.sum(1)], 1)


def explained(method: Any) -> Any:
    (got,) = pellucid.explain(pellucid.wrap(crossed), X, method, target=0, output="logit")
    return got


@pytest.mark.parametrize("method", [LIME, KernelSHAP, Banzhaf])
def test_the_error_asked_for_is_reached_and_more_are_taken_for_a_smaller_one(method: Any) -> None:
    rough, fine = (explained(method(samples=64, tolerance=t)) for t in (0.15, 0.05))
    for got, limit in ((rough, 0.15), (fine, 0.05)):
        noise = got.std_error.amax(1) / got.values.abs().amax(1)
        assert noise.max() <= limit
        assert got.check("precision").passed == (True, True)
        assert got.check("precision").value == pytest.approx(noise.tolist())
    assert fine.record.passes.forward > 3 * rough.record.passes.forward
    assert rough.record.passes.rounds <= 5


def test_values_are_nearer_the_truth_when_the_tolerance_is_small() -> None:
    truth = explained(KernelSHAP(samples=2**14)).values
    off = [(explained(KernelSHAP(samples=64, tolerance=t)).values - truth).abs().amax() for t in (0.3, 0.02)]
    assert off[1] < 0.5 * off[0]
    assert off[1] < 0.06 * truth.abs().amax()


def test_exact_values_need_no_second_round() -> None:
    (got,) = pellucid.explain(
        pellucid.wrap(crossed), X, KernelSHAP(samples=2**14, tolerance=1e-9), target=0, output="logit"
    )
    assert got.record.passes.rounds == 1


@pytest.mark.parametrize("method", [LIME, KernelSHAP, Banzhaf])
def test_where_nothing_counts_the_first_round_is_enough(method: Any) -> None:
    """A model that always says the same: what is left of its scores is rounding, of which no error is small."""
    always = pellucid.wrap(lambda rows: torch.full((len(rows), 2), 0.1, dtype=torch.float64) / 3)
    (got,) = pellucid.explain(always, X, method(samples=64, tolerance=0.1), target=0, output="logit")
    assert float(got.values.abs().max()) == 0.0
    assert got.check("precision").passed == (True, True)
    assert got.extras["samples"].tolist() == [64, 64]


def test_a_plan_begins_with_the_first_round() -> None:
    planned = pellucid.plan(pellucid.wrap(crossed), X, LIME(samples=64, tolerance=0.1), output="logit")
    assert planned.least.forward <= 2 * (64 + 2) < planned.most.forward / 10


def test_how_many_were_taken_is_told_of_every_row() -> None:
    fine = explained(LIME(samples=64, tolerance=0.05))
    (taken,) = set(fine.extras["samples"].tolist())
    assert taken > 64 and fine.record.passes.forward == pytest.approx(2 * taken, rel=0.02)
    assert "samples" not in explained(LIME(samples=64)).extras


def test_what_cannot_be_reached_says_so() -> None:
    got = explained(LIME(samples=16, tolerance=1e-6, max_samples=512))
    assert got.check("precision").passed == (False, False)
    assert any("precision" in line for line in got.warnings)
    assert got.record.passes.forward <= 2 * (512 + 2) + 2


@pytest.mark.parametrize("method", [LIME, Banzhaf])
@pytest.mark.parametrize("what", ["columns", "pictures"])
def test_no_round_asks_again_what_an_earlier_one_did(method: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five players have 32 coalitions, however many are drawn; pictures may have other numbers of players."""

    def run() -> Any:
        model = pellucid.wrap(lambda rows: rows.flatten(1).sin().sum(1, keepdim=True).square())
        x, regions = (X[:, :5], "auto") if what == "columns" else (PICTURES, torch.stack([LABELS % 4, LABELS % 5]))
        how = {"samples": 8, "tolerance": 1e-3, "max_samples": 300, "regions": regions}
        return pellucid.explain(model, x, method(**how), target=0, output="logit")[0]

    got, plain = run(), Game.play
    monkeypatch.setattr(Game, "play", lambda self, q, design, before=None: plain(self, q, design))
    again = run()
    assert torch.allclose(got.values, again.values, atol=1e-9)
    assert got.record.passes.rounds > 1
    assert got.record.passes.forward <= 2 * (32 + 1 + 3)  # pictures with fewer players repeat a coalition
    assert again.record.passes.forward > got.record.passes.forward


PICTURES = torch.randn(2, 3, 8, 8, generator=generator(6, "pictures"), dtype=torch.float64)
LABELS = torch.arange(64).view(8, 8) // 4


def test_no_tolerance_for_draws_without_replacement() -> None:
    with pytest.raises(ParameterError, match="design='kernel'"):
        explained(KernelSHAP(design="leverage", tolerance=0.1))
