"""Tables: any frame becomes rows of numbers and comes back as it was; who plays, and what hidden columns show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid import ExactShapley, Table
from pellucid.core.errors import InputError, ParameterError

pd = pytest.importorskip("pandas")


def mixed() -> Any:
    return pd.DataFrame(
        {
            "age": [30, 40, 50, 30],
            "weight": [1.5, np.nan, 2.5, 70.25],
            "grade": pd.Categorical(["a", "b", None, "a"], categories=["b", "a", "never"]),
            "city": ["Bern", "Rome", "Bern", "Oslo"],
            "member": [True, False, True, True],
            "since": pd.to_datetime(["2020-01-01 00:00", "2021-05-06 10:30", "2022-01-01 00:00", "1969-07-20 20:17"]),
            "count": pd.array([1, None, 3, 4], dtype="Int64"),
        }
    )


def as_polars(frame: Any) -> Any:
    return pytest.importorskip("polars").from_pandas(frame)


def as_arrow(frame: Any) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(frame).replace_schema_metadata(None)


@pytest.mark.parametrize("kind", [lambda f: f, as_polars, as_arrow], ids=["pandas", "polars", "arrow"])
def test_a_frame_comes_back_as_it_was(kind: Any) -> None:
    frame = kind(mixed())
    table = Table.of(frame)
    rows, about = table.rows_of(frame)
    assert rows.dtype == torch.float64
    assert rows.shape == (4, 7)
    back = table.decoded(rows)
    if hasattr(frame, "iloc"):
        pd.testing.assert_frame_equal(back, frame)
    else:
        assert back.equals(frame)
        assert back.schema == frame.schema
    assert about.features == ("age", "weight", "grade", "city", "member", "since", "count")
    assert about.cells[1] == (40, "missing", "b", "Rome", "False", "2021-05-06 10:30:00", "missing")
    assert [c.type for c in table.columns] == [
        *("integer", "numeric", "categorical", "categorical", "boolean", "date", "integer"),
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3), min_size=1, max_size=5))
def test_arrays_come_back_to_the_bit(rows: list[list[float]]) -> None:
    array = np.array(rows)
    table = Table.of(array)
    assert np.array_equal(table.decoded(table.rows_of(array)[0]), array)


@pytest.mark.parametrize("kind", [lambda f: f, as_polars, as_arrow], ids=["pandas", "polars", "arrow"])
@pytest.mark.parametrize("name", ["age", "weight", "grade", "city", "member", "since", "count"])
def test_a_row_may_miss_what_no_row_of_the_table_missed(kind: Any, name: str) -> None:
    whole = mixed().dropna()
    assert len(whole) == 2
    row = whole.iloc[:1].copy()
    row[name] = None
    table = Table.of(kind(whole))
    rows, about = table.rows_of(kind(row))
    assert [cell == "missing" for cell in about.cells[0]] == [other == name for other in about.features]
    back = table.decoded(torch.cat([rows, table.rows_of(kind(whole))[0]]))
    back = back if hasattr(back, "iloc") else back.to_pandas()
    assert back.isna().sum().to_dict() == {other: int(other == name) for other in table.names}
    for other in table.names:
        alike = str if other not in ("age", "count") else int  # pandas writes 30.0 beside a missing one
        assert [alike(v) for v in back[other][1:]] == [alike(v) for v in whole[other]]


def test_dates_may_be_missing() -> None:
    frame = mixed()
    frame.loc[1, "since"] = pd.NaT
    table = Table.of(frame)
    pd.testing.assert_frame_equal(table.decoded(table.rows_of(frame)[0]), frame)


def test_a_series_is_read_by_its_names() -> None:
    frame = mixed()
    table = Table.of(frame)
    whole = table.rows_of(frame)[0]
    assert torch.equal(table.rows_of(frame.iloc[3])[0], whole[3:])
    assert torch.equal(table.rows_of(frame.iloc[3][::-1])[0], whole[3:])
    numbers = Table.of(frame[["age", "count"]].dropna().astype(float))
    assert numbers.rows_of(pd.Series({"count": 3.0, "age": 50.0}))[0].tolist() == [[50.0, 3.0]]
    assert numbers.rows_of(pd.Series([50.0, 3.0]))[0].tolist() == [[50.0, 3.0]]  # without names by place
    assert torch.equal(table.rows_of(frame.iloc[[0, 3]].to_numpy())[0], whole[[0, 3]])  # an array of objects
    with pytest.raises(InputError, match="without count"):
        numbers.rows_of(pd.Series({"age": 50.0}))


def test_one_row_may_be_a_mapping_or_a_vector() -> None:
    frame = mixed()
    table = Table.of(frame)
    whole = table.rows_of(frame)[0]
    assert torch.equal(table.rows_of(frame.iloc[3].to_dict())[0], whole[3:])
    array = Table.of(np.arange(6.0).reshape(2, 3))
    assert array.rows_of(np.array([5.0, 1.0, 2.0]))[0].tolist() == [[5.0, 1.0, 2.0]]


def test_numbers_may_stand_for_categories() -> None:
    array = np.array([[3.0, 0.1], [7.0, 0.2], [3.0, 0.3]])
    table = Table.of(array, names=["kind", "size"], types={"kind": "categorical"})
    rows, about = table.rows_of(array)
    assert rows[:, 0].tolist() == [0, 1, 0]
    assert about.cells[1] == ("7.0", 0.2)
    assert np.array_equal(table.decoded(rows).astype(float), array)


def test_the_background_is_drawn_with_a_seed_or_given() -> None:
    data = np.arange(400.0).reshape(200, 2)
    one, again, other = (Table.of(data, seed=s).background for s in (0, 0, 1))
    assert one.shape == (100, 2)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert Table.of(data, background=data[:3]).background.tolist() == data[:3].tolist()


def priced(frame: Any) -> Any:
    price = frame["city"].map({"Bern": 3.0, "Rome": 2.0, "Oslo": 5.0}).to_numpy(float)
    return price + 10.0 * frame["member"].to_numpy(float) * frame["age"].to_numpy(float)


def test_shapley_values_of_a_table_add_up_from_the_background_and_leave_idle_columns_alone() -> None:
    frame = mixed()
    model = pellucid.wrap(priced, Table.of(frame))
    (got,) = pellucid.explain(model, frame, ExactShapley())
    expected = priced(frame) - priced_in_mean(frame)
    assert np.allclose(got.values.sum(1), expected)
    assert got.values[:, [1, 2, 5, 6]].abs().max() < 1e-9
    assert got.inputs.features[3] == "city"


def priced_in_mean(frame: Any) -> float:
    return float(priced(frame).mean())


def test_groups_by_name_play_together() -> None:
    frame = mixed()
    together = {"who": ["age", "member"]}
    table = Table.of(frame, groups=together)
    (got,) = pellucid.explain(pellucid.wrap(priced, table), frame, ExactShapley())
    (also,) = pellucid.explain(pellucid.wrap(priced, frame), frame, ExactShapley(regions=together))
    assert torch.equal(got.values, also.values)
    assert torch.equal(got.values[:, 0], got.values[:, 4])
    assert got.extras["players"].shape == (4, 6)


def test_groups_that_are_none_are_told_how_groups_are_written() -> None:
    frame = mixed()
    model = pellucid.wrap(lambda rows: rows["age"].to_numpy(), frame)
    for regions in ([["age", "weight"], ["city"]], [0, 1], "ages"):
        with pytest.raises(ParameterError, match="7 numbers; or groups by name"):
            pellucid.explain(model, frame.iloc[:1], ExactShapley(regions=regions))


def test_what_does_not_fit_is_refused() -> None:
    frame = mixed()
    table = Table.of(frame)
    with pytest.raises(InputError, match=r"'Paris' in column 'city'"):
        table.rows_of(frame.assign(city="Paris"))
    with pytest.raises(InputError, match="without member"):
        table.rows_of(frame.drop(columns="member"))
    with pytest.raises(InputError, match="without rows"):
        table.rows_of(frame.head(0))
    with pytest.raises(InputError, match="a list as a table"):
        Table.of([1, 2])
    with pytest.raises(InputError, match="column 'age'"):
        table.rows_of(frame.assign(age=["x"] * 4))
    with pytest.raises(ParameterError, match="perhaps 'city'"):
        Table.of(frame, types={"citty": "categorical"})
    with pytest.raises(ParameterError, match="type 'colour'"):
        Table.of(frame, types={"city": "colour"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="as numeric"):
        Table.of(frame, types={"city": "numeric"})
    with pytest.raises(ParameterError, match="fill 'black'"):
        pellucid.explain(pellucid.wrap(priced, table), frame, ExactShapley(fill="black"))


def test_a_torch_model_takes_tables_too() -> None:
    array = np.arange(12.0).reshape(4, 3)
    net = torch.nn.Linear(3, 2)
    (got,) = pellucid.explain(pellucid.wrap(net, array), array, "input_x_gradient", target=0)
    assert got.inputs.features == ("x0", "x1", "x2")
    assert torch.allclose(got.values, torch.from_numpy(array).float() * net.weight[0].detach())


def test_a_typical_row_has_medians_and_the_most_frequent_categories() -> None:
    frame = mixed()
    table = Table.of(frame)
    cells = table.decoded(table.typical[None]).iloc[0]
    assert (cells["grade"], cells["city"], cells["member"]) == ("a", "Bern", True)
    assert (cells["age"], cells["weight"], cells["count"]) == (30, 2.5, 3)  # the lower of two in the middle
    assert cells["since"] == pd.Timestamp("2020-01-01")
    nobody = Table.of(pd.DataFrame({"kind": pd.Series([None, None], dtype="category"), "size": [1.0, 3.0]}))
    assert nobody.typical.tolist() == [-1.0, 1.0]


def test_metrics_hide_columns_behind_the_typical_row() -> None:
    """A linear model: comprehensiveness is the weight of what goes, from its typical value."""
    known = np.random.default_rng(0).normal(5.0, 1.0, (60, 3))
    weights = np.array([0.02, -0.01, 0.03])
    model = pellucid.wrap(lambda rows: 0.5 + np.asarray(rows) @ weights[:, None], Table.of(known))
    got = pellucid.explain(model, known[:4], "kernel_shap", target=0)[0]
    [deletion] = pellucid.measure(model, got, "deletion", inputs=known[:4], output="logit")
    typical = np.sort(known, 0)[(len(known) - 1) // 2]
    order = (-got.values).argsort(1).numpy()
    for row, first, (gone, curve) in zip(known, order, deletion.curve, strict=False):
        shown, expected = row.copy(), [0.5 + row @ weights]
        for column in first:
            shown[column] = typical[column]
            expected.append(0.5 + shown @ weights)
        assert curve == pytest.approx([expected[round(3 * share)] for share in gone])
