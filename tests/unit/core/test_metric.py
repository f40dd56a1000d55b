"""What a metric sees of a map, and what it gives back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.unit.core.values import made

from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.metric import METRICS, Map, metric, reading


def test_maps_that_say_nothing_are_told() -> None:
    values = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0))
    values[1], values[2], values[3, 1, 1], values[4, 0, 0] = 0, -2.5, math.nan, math.inf
    seen = Map.of(_with(values))
    assert seen.broken == ("", "the map is zero", "the map is constant", *["the map is not finite"] * 2)
    assert seen.values.dtype == torch.float64 and seen.values.shape == values.shape
    assert torch.equal(seen.values[:3], values[:3].double()) and not bool(seen.values[3:].any())
    assert Map.of(_with(values), flat=True).broken == ("", "", "", *["the map is not finite"] * 2)
    assert Map.of(_with(torch.zeros(2, 1))).broken == ("", "")  # one place cannot differ from others
    assert Map.of(_with(torch.ones(1, 2))).broken == ("the map is constant",)


def _with(values: torch.Tensor) -> Explanation:
    return replace(made(len(values), tuple(values.shape[1:]), picture=False), values=values)


def test_a_reading_has_a_reason_wherever_it_has_no_number() -> None:
    values = torch.tensor([1.0, 2.0, math.nan, math.inf, 5.0])
    got = reading(
        values,
        std_error=torch.arange(5.0),
        curve=(torch.tensor([[0.0, 1.0]]), torch.arange(10.0).view(5, 2)),
        extras={"raw": torch.arange(5.0)},
        without={"first": torch.tensor([1, 0, 0, 0, 0]) > 0, "second": torch.tensor([1, 1, 0, 0, 0]) > 0},
    )
    odd = "the number is not finite"
    assert got.reasons == ("first", "second", odd, odd, "")
    for one in (got.values, got.std_error, got.extras["raw"]):
        assert one is not None and one.dtype == torch.float64
        assert one.isnan().tolist() == [True] * 4 + [False] and float(one[4]) in (5.0, 4.0)
    assert got.curve is not None and got.curve.x.tolist() == [[0.0, 1.0]] * 5
    assert got.curve.y.tolist() == torch.arange(10.0).view(5, 2).tolist()
    assert values.tolist()[:2] == [1.0, 2.0]  # what was given stays
    plain = reading(torch.tensor([True, False]))
    assert (plain.values.tolist(), plain.std_error, plain.curve, plain.extras) == ([1.0, 0.0], None, None, {})


def test_what_draws_needs_a_seed() -> None:
    with pytest.raises(ParameterError, match="without a seed"):

        @metric(family="test", better="neither", range=(0.0, 1.0))
        class Drawing:
            """draws"""

            samples: int = 3

            async def measure(self, q: object, e: Map) -> object: ...

    assert "drawing" not in METRICS
