"""Dishonest handles are caught, each by the check that names what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Table
from pellucid.testing import NotConforming, check_adapter

DATA = np.random.default_rng(0).normal(size=(50, 3))
W = np.random.default_rng(1).normal(size=(3, 2))


def status(score: Any, front: Any = None, labels: Any = None, **options: Any) -> dict[str, str]:
    handle = pellucid.wrap(score, Table.of(DATA) if front is None else front, labels, **options)
    return {result.name: result.status for result in check_adapter(handle, DATA[:4], raises=False)}


def failed(found: dict[str, str]) -> set[str]:
    return {name for name, how in found.items() if how == "failed"}


def test_an_honest_one_passes() -> None:
    found = status(lambda rows: rows @ W, labels=["a", "b"])
    assert not failed(found)
    assert found["rows_come_back"] == found["labels_fit"] == "passed"


def test_rows_that_look_at_the_batch() -> None:
    found = status(lambda rows: (rows - rows.mean(0)) @ W)
    assert "rows_do_not_see_each_other" in failed(found)
    with pytest.raises(NotConforming, match=r"rows one at a time|one row many times|opposite"):
        check_adapter(pellucid.wrap(lambda rows: (rows - rows.mean(0)) @ W, Table.of(DATA)), DATA[:4])


def test_scores_that_are_drawn() -> None:
    draw = np.random.default_rng(0)
    assert "same_scores_twice" in failed(status(lambda rows: rows @ W + draw.normal(size=(len(rows), 2))))


def test_scores_that_move_the_random_state_of_everybody() -> None:
    def score(rows: Any) -> Any:
        np.random.rand()
        return rows @ W

    assert failed(status(score)) == {"nothing_is_left_behind"}


def test_probabilities_that_are_none() -> None:
    assert failed(status(lambda rows: rows @ W, emits="probabilities")) == {"outputs_are_what_they_are_said_to_be"}


def test_names_that_do_not_fit() -> None:
    assert "labels_fit" in failed(status(lambda rows: rows @ W, labels=["a", "a"]))
    assert "labels_fit" in failed(status(lambda rows: rows @ W, labels=["a", "b", "c"]))


class Rounding(Table):
    """A front that loses what stands behind the point."""

    def decoded(self, rows: torch.Tensor) -> Any:
        return rows.round().numpy()


def test_a_front_that_loses_something() -> None:
    whole = Table.of(DATA)
    front = Rounding(columns=whole.columns, background=whole.background)
    assert failed(status(lambda rows: rows @ W, front)) == {"rows_come_back"}


def test_rows_that_are_all_the_same() -> None:
    handle = pellucid.wrap(lambda rows: rows @ W, Table.of(DATA))
    found = {r.name: r.status for r in check_adapter(handle, np.ones((3, 3)), raises=False)}
    assert found["rows_can_be_told_apart"] == "failed"
    assert {r.name: r.status for r in check_adapter(handle, DATA[:1])}["rows_do_not_see_each_other"] == "skipped"


def test_torch_models_and_words_are_checked_too() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).eval()
    results = check_adapter(net, torch.from_numpy(DATA[:4]).float())
    assert {r.status for r in results} <= {"passed", "skipped"}
    words = pellucid.wrap(lambda texts: [[len(t), t.count("a")] for t in texts], pellucid.Words())
    found = {r.name: r.status for r in check_adapter(words, ["a cat sat", "on the mat"], raises=False)}
    assert found["rows_do_not_see_each_other"] == "passed"


def test_norms_that_look_at_the_batch_in_training_mode_are_caught() -> None:
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, track_running_stats=False), torch.nn.Linear(4, 2)
    )
    found = {r.name: r.status for r in check_adapter(net, torch.from_numpy(DATA[:4]).float(), raises=False)}
    assert "failed" in found.values()
