"""Budgets: how many samples and steps fit into the time there is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pellucid
from pellucid import LIME, Gradient, IntegratedGradients, SmoothGrad
from pellucid.api.budget import seconds_of, tolerating, within
from pellucid.core.errors import ParameterError


def price(methods: Sequence[Any]) -> float:
    """A second for a method, and a hundredth for each sample or step it may take."""
    limit = [
        m.max_samples if getattr(m, "tolerance", None) is not None else getattr(m, "samples", getattr(m, "steps", 0))
        for m in methods
    ]
    return len(methods) + sum(limit) / 100


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), (7, 7), ("2 min", 120)]
)
def test_times_as_people_write_them(text: Any, expected: float) -> None:
    assert seconds_of(text) == expected


def test_where_nothing_can_be_lowered_the_least_time_is_rounded_up() -> None:
    with pytest.raises(ParameterError) as refused:
        within(1.0, (Gradient(),), lambda _: 123.4)
    assert refused.value.wanted == "at least 130 s: no samples or steps can be lowered"
    assert refused.value.do == "a larger budget"


@pytest.mark.parametrize("text", ["", "0", "-3", "soon", "2 weeks", True])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(ParameterError, match="a time above zero"):
        seconds_of(text)


@given(st.floats(4.0, 40.0))
def test_the_budget_is_kept_and_used(budget: float) -> None:
    methods = (LIME(samples=2000), SmoothGrad(samples=500), IntegratedGradients(steps=200))
    chosen, said = within(budget, methods, price)
    assert price(chosen) <= budget
    if budget < price(methods):
        assert price(chosen) >= 0.6 * budget
        assert "samples 2000 →" in said[0]
        assert "steps 200 →" in said[2]
    else:
        assert chosen == methods
        assert said == ("", "", "")


def test_adaptive_methods_are_limited_before_their_first_round_is() -> None:
    (chosen,), _ = within(101.0, (LIME(samples=1000, tolerance=0.1),), price)
    assert chosen.samples == 1000  # pyright: ignore[reportAttributeAccessIssue]
    assert 5000 < chosen.max_samples <= 10_000  # pyright: ignore[reportAttributeAccessIssue]


def test_what_cannot_be_done_in_time_is_refused_before_it_begins() -> None:
    with pytest.raises(ParameterError, match=r"at least 2\.2 s"):
        within(1.5, (LIME(), Gradient()), price)


def test_a_tolerance_goes_to_all_methods_that_have_one() -> None:
    lime, gradient = tolerating((LIME(), Gradient()), 0.2)
    assert lime.tolerance == 0.2  # pyright: ignore[reportAttributeAccessIssue]
    assert gradient == Gradient()
    with pytest.raises(ParameterError, match="a method that has one"):
        tolerating((Gradient(),), 0.2)


def test_records_say_what_was_chosen() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 400), torch.nn.Linear(400, 3))
    x = torch.rand(2, 3, 4, 4)
    got = pellucid.explain(net, x, [LIME(regions="cells(4, 4)", samples=40_000), Gradient()], budget="0.3s")
    assert not any("stay within" in line for line in got[1].record.decisions)
    (line,) = (line for line in got[0].record.decisions if "stay within" in line)
    assert line.startswith("to stay within 0.3 s: samples 40000 → ")
    assert got[0].record.params["samples"] < 40_000


def test_too_few_for_a_method_is_the_budget_s_fault() -> None:
    def choosy(methods: Sequence[Any]) -> float:
        if methods[0].samples < 300:
            raise ParameterError(f"{methods[0].samples} samples for 300 pairs", "at least 300")
        return price(methods)

    with pytest.raises(
        ParameterError, match=r"of 3 s, in which there is time for \d+ samples for 300 pairs"
    ) as refused:
        within(3.0, (LIME(samples=2000),), choosy)
    assert re.fullmatch(r"at least 4(\.[0-4])? s, for the fewest samples and steps", refused.value.wanted)
    (chosen,), _ = within(4.4, (LIME(samples=2000),), choosy)
    assert 300 <= chosen.samples <= 340  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ParameterError, match=r"^100 samples for 300 pairs"):  # as asked, not as lowered
        within(3.0, (LIME(samples=100),), choosy)
