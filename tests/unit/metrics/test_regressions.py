"""Defects of other libraries, by the numbers of our list, that ours do not have. Those with a test of their own carry
the number there; here are the rest.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import api, registry
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.metrics import (
    ROAD,
    Deletion,
    FidelityCorrelation,
    Infidelity,
    Monotonicity,
    NonSensitivity,
    SensitivityN,
    Sufficiency,
)
from pellucid.testing import tiny

from .planted import Corner, Linear, close, explained, measured, pictures, random, weights

SOURCE = Path(pellucid.__file__).parent


def test_b1_random_maps_are_not_all_monotone() -> None:
    x = pictures(12)
    values = random(12, 3, 6, 6, seed=3)
    got = measured(Monotonicity(steps=12), Linear(weights() - 0.1), x, values)
    assert sum(got.values) < 6


@pytest.mark.parametrize("metric", [ROAD(shares=(0.3,)), SensitivityN(samples=16, steps=3), Sufficiency()])
def test_b2_b3_b16_every_row_counts_whatever_the_batch(metric: object) -> None:
    """All rows have a value of their own, and one batch of ten is ten batches of one."""
    x, values = pictures(10), random(10, 3, 6, 6, seed=4)
    whole = measured(metric, Corner(), x, values)
    assert len(whole.values) == 10 and len(set(whole.values)) == 10
    alone = [measured(metric, Corner(), x[i : i + 1], values[i : i + 1]).values[0] for i in range(10)]
    close(whole.values, alone, 1e-6)
    close(measured(metric, Corner(), x, values, rows=3).values, alone, 1e-6)


def test_b4_sensitivity_n_correlates_subsets_and_not_images() -> None:
    """One image has a value; and it is that of the sets themselves, for a model where the map is right."""
    x, w = pictures(1), weights()
    right = w * (x - x.mean((2, 3), keepdim=True))
    close(measured(SensitivityN(), Linear(w), x, right).values, [1.0])


def test_b7_b8_no_name_that_numpy_has_dropped() -> None:
    text = "".join(path.read_text("utf-8") for path in (SOURCE / "metrics").glob("*.py"))
    text += "".join(path.read_text("utf-8") for path in (SOURCE / "ops").glob("*.py"))
    assert not re.search(r"np\.trapz|np\.NaN|np\.float\b", text)


def test_b10_infidelity_of_sizes_that_no_window_divides() -> None:
    x, w = pictures(2, side=7), weights(side=7)
    values = w * (x - x.mean((2, 3), keepdim=True))
    close(measured(Infidelity(window=4), Linear(w), x, values).extras["raw"], [0.0, 0.0])


def test_b10_squares_do_not_pile_up() -> None:
    """Every row that the model is shown differs from the photo within one square, and there by the fill."""
    x, seen = pictures(1), []

    class Looking(Corner):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x)

    net = Looking()
    e = explained(net, x, random(1, 3, 6, 6))
    seen.clear()
    api.measure(api.wrap(net, evaluate="plain"), e, [Infidelity(window=2, samples=200, fill="black")], inputs=x)
    gone = torch.cat(seen) != x
    places = {tuple(torch.nonzero(one.any(0)).flatten().tolist()) for one in gone if one.any()}
    assert len(places) == 25  # all places of the square
    for place in places:
        rows, columns = set(place[::2]), set(place[1::2])
        assert len(place) == 8 and max(rows) - min(rows) == max(columns) - min(columns) == 1
    assert not torch.cat(seen)[gone].any()


@pytest.mark.parametrize("where", ["on a laptop", "in CI"])
def test_b20_what_has_to_be_known_is_in_the_result_wherever_it_runs(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a warning that somebody may silence nor one that is only shown in some places; and no filter is moved."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true") if where == "in CI" else monkeypatch.delenv("GITHUB_ACTIONS", False)
    before = list(warnings.filters)
    flat = torch.cat([random(2, 3, 6, 6), torch.zeros(1, 3, 6, 6)])
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        got = measured(Deletion(), Corner(), pictures(), flat)
    assert before == warnings.filters and not raised
    assert got.reasons == ("", "", "the map is zero") and "1 without a value" in repr(got)


@pytest.mark.parametrize(
    ("metric", "asked"),
    [(FidelityCorrelation(samples=20), 20), (Infidelity(perturb="gaussian", samples=20), 20), (NonSensitivity(), 36)],
    ids=lambda it: str(it)[:14],
)
def test_b21_b31_the_clean_score_is_asked_once(metric: object, asked: int) -> None:
    """One forward row per sample, or per part, and one for the photo, however small the chunks and large the batch."""
    for rows in (1, 3, "auto"):
        values = random(3, 3, 6, 6)
        got = measured(metric, Corner(), pictures(), values, Kind.SENSITIVITY, rows=rows)
        assert got.passes.forward == 3 * (1 + asked)


def test_b22_one_metric_that_does_not_apply_stops_none_of_the_others() -> None:
    table = tiny.make("linear_rows")
    handle = api.wrap(table.module)
    e = api.explain(handle, table.x, ["gradient"])
    got = api.measure(handle, e, ["deletion", "road", "sparseness"], inputs=table.x)
    assert not any(got[0].reasons) and not any(got[2].reasons)
    assert all(why.startswith("not defined for ROAD of rows") for why in got[1].reasons)
    with pytest.raises(ParameterError, match="shares"):  # a wrong parameter is an error, not a reason
        measured(ROAD(shares=2), Corner(), pictures(), random(3, 3, 6, 6))


def test_b32_memory_formats_and_half_precision() -> None:
    model = tiny.make("convnet")
    handle, x = api.wrap(model.module), model.x
    names = ["deletion", "infidelity", "max_sensitivity"]
    plain = api.measure(handle, api.explain(handle, x, ["gradient"]), names, inputs=x)
    last = x.contiguous(memory_format=torch.channels_last)
    other = api.measure(handle, api.explain(handle, last, ["gradient"]), names, inputs=last)
    for a, b in zip(plain, other, strict=True):
        close(a.values, b.values, 1e-5)
    half = api.wrap(tiny.make("convnet").module.to(torch.bfloat16))
    low = x.to(torch.bfloat16)
    rough = api.measure(half, api.explain(half, low, ["gradient"]), names, inputs=low)
    assert all(np.isfinite(m.values).all() for m in rough)
    assert all(isinstance(v, float) for m in rough for v in m.values)


def test_every_parameter_of_every_metric_is_explained() -> None:
    for name in registry.metrics():
        assert all(p.meaning for p in registry.parameters(registry.find_metric(name)))


def test_metrics_are_cited_like_methods() -> None:
    assert "petsiuk2018rise" in pellucid.cite("deletion") == pellucid.cite(Deletion()) == pellucid.cite(Deletion)
    got = measured(Deletion(), Corner(), pictures(), random(3, 3, 6, 6), Kind.CAM)
    assert pellucid.cite(got) == pellucid.cite("deletion") and "selvaraju" in pellucid.cite("grad_cam")
