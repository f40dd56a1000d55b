"""Rows that are no pictures: columns of tables behind a function, tokens of texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.unit.texts import Splitter, encoder

import pellucid
from pellucid import api, registry
from pellucid.core.explanation import Kind

from .planted import close

NAMES = [n for n in registry.metrics() if "mask" not in registry.find_metric(n).about.wants]
PICTURES_ONLY = {"road", "infidelity"}
W = np.random.default_rng(0).normal(size=(2, 6))


def test_columns_of_a_linear_function() -> None:
    """What is known of the linear model, where zero is the reference row."""
    handle = pellucid.wrap(lambda rows: np.asarray(rows) @ W.T, name="by hand")
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).float() + 0.1
    e = api.explain(handle, x, ["exact_shapley"], target=0, output="logit")
    able = [
        n for n in NAMES if registry.find_metric(n).about.needs <= handle.can
    ]  # a function has no weights to change
    got = {m.metric: m for m in api.measure(handle, e, able, inputs=x, output="logit")}
    close(e[0].values, x.double() * torch.tensor(W[0]), 1e-5)
    for name in ("fidelity_correlation", "sensitivity_n"):
        close(got[name].values, [1.0] * 3, 1e-5)
    close(got["completeness_gap"].values, [0.0] * 3, 1e-5)
    curve = got["deletion"].curve
    assert curve is not None
    for i in range(3):
        worth = sorted((x[i].double() * torch.tensor(W[0])).tolist(), reverse=True)
        left = [sum(worth[k:]) for k in range(7)]
        close(sorted(set(np.round(curve[i][1], 5)), reverse=True), sorted(set(np.round(left, 5)), reverse=True), 1e-4)
    assert {name for name, m in got.items() if any("not defined for" in why for why in m.reasons)} == PICTURES_ONLY


@pytest.mark.parametrize("name", NAMES)
def test_tokens(name: str) -> None:
    """Every metric says something of texts, or why not."""
    handle = pellucid.wrap(encoder(), Splitter())
    texts = ["the film was good", "very bad and not great a film"]
    e = api.explain(handle, texts, ["input_x_gradient", "gradient"])
    e = [one for one in e if one.kind is (Kind.SENSITIVITY if name == "infidelity" else Kind.CONTRIBUTION)] + list(
        e[1:]
    )
    if name == "input_invariance":
        both = api.measure(handle, e, [name, "deletion"], inputs=texts)  # B22: the others go on
        assert all("nothing can be added" in why for m in both if m.metric == name for why in m.reasons)
        assert not any(why for m in both if m.metric == "deletion" for why in m.reasons)
        return
    got = api.measure(handle, e, [name], inputs=texts)[0]
    if name in PICTURES_ONLY:
        assert all(why.startswith("not defined for") for why in got.reasons)
    elif name == "seed_stability":
        assert set(got.reasons) == {"the method draws nothing"}
    else:
        assert not any(got.reasons) and not any(map(math.isnan, got.values))


@pytest.mark.parametrize("name", sorted(set(registry.metrics()) - set(NAMES)))
def test_there_is_no_place_on_an_object_in_a_table(name: str) -> None:
    handle = pellucid.wrap(lambda rows: np.asarray(rows) @ W.T, name="by hand")
    x = torch.rand(2, 6, generator=torch.Generator().manual_seed(1))
    e = api.explain(handle, x, ["exact_shapley"], target=0)
    got = api.measure(handle, e, [name], inputs=x, masks=[[True] + [False] * 5] * 2)[0]
    assert all(why == "not defined for rows of shape (6,) without a mask" for why in got.reasons)
