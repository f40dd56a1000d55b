"""Robustness on tables: numbers move by a part of their column's range, categories stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid import api
from pellucid.core.errors import ParameterError
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.metrics import MaxSensitivity

pd = pytest.importorskip("pandas")
ALL = ["max_sensitivity", "avg_sensitivity", "local_lipschitz", "relative_input_stability", "relative_output_stability"]


def frame() -> Any:
    return pd.DataFrame(
        {"city": ["Bern", "Rome", "Oslo"] * 20, "size": np.linspace(0, 1000, 60), "share": np.linspace(0, 1, 60)}
    )


def test_columns_move_by_their_own_range_and_categories_do_not() -> None:
    table = frame()
    seen: list[Any] = []

    def score(rows: Any) -> Any:
        seen.append(rows)
        return rows["size"].to_numpy() / 1000 + rows["share"].to_numpy() + (rows["city"] == "Rome").to_numpy()

    model = api.wrap(score, table)
    rows = table.iloc[[31]]
    method = KernelSHAP(fill=table.iloc[[1]].assign(city="Rome", size=rows["size"].iloc[0], share=0.0))
    e = api.explain(model, rows, method)
    with pytest.raises(ParameterError, match="does not hold whole"):  # a frame is no part of a record
        api.measure(model, e, [MaxSensitivity()], inputs=rows)
    seen.clear()
    got = api.measure(model, e, [MaxSensitivity(radius=0.1)], inputs=rows, methods=[method])[0]
    assert not any(got.reasons)
    asked = pd.concat(seen)
    off = (asked[["size"]] - rows[["size"]].iloc[0]).abs().max()
    assert 90 < off["size"] <= 100.001
    there = asked["share"][asked["share"] > 0]  # zero is the fill's
    assert 0.09 < float((there - rows["share"].iloc[0]).abs().max()) <= 0.100001
    assert set(asked["city"]) == {"Rome"}


def test_where_nothing_can_move_the_reason_is_said() -> None:
    table = frame()[["city"]]
    model = api.wrap(lambda rows: (rows["city"] == "Rome").to_numpy() * 1.0, table)
    for m in api.measure(model, api.explain(model, table.iloc[:2], "kernel_shap"), ALL, inputs=table.iloc[:2]):
        assert set(m.reasons) == {"no column is a number: nothing lies nearby"}, m
