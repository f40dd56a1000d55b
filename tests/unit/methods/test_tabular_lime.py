"""TabularLIME against its equations: columns of every type, refusals, several labels, errors, the engine's promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Table, TabularLIME
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.ops.columns import Columns, Drawn
from pellucid.testing import check_method

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(1)
N = 300


def mixed() -> Any:
    since = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 900, N), unit="D"))
    frame = pd.DataFrame(
        {
            "age": RNG.integers(18, 80, N),
            "weight": RNG.gamma(20, 4, N),
            "city": RNG.choice(["Bern", "Rome", "Oslo"], N),
            "member": RNG.random(N) < 0.3,
            "since": since,
            "planet": "Earth",
            "zero": 0.0,
        }
    )
    frame.loc[::7, "weight"] = np.nan
    frame.loc[::11, "city"] = None
    return frame


FRAME = mixed()
TABLE = Table.of(FRAME)
SOME = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def priced(frame: Any) -> Any:
    """What depends on bins and categories alone, so that a linear model of presence says it all."""
    city = (frame["city"] == "Rome").to_numpy(float)
    missing = frame["weight"].isna().to_numpy(float)
    return np.column_stack([2.0 * city - frame["member"].to_numpy(float), 3.0 * missing])


HANDLE = pellucid.wrap(priced, TABLE, emits="values")


def one(method: TabularLIME, row: int = 0, target: Any = 0, handle: Any = HANDLE) -> Explanation:
    return pellucid.explain(handle, FRAME.iloc[row : row + 1], method, target=target)[0]


def by_name(e: Explanation) -> dict[str, float]:
    return dict(zip(e.inputs.features, e.values[0].tolist(), strict=True))


def test_a_score_of_categories_and_missing_values_is_found_exactly() -> None:
    row = int(np.flatnonzero((FRAME["city"] == "Rome") & FRAME["member"] & FRAME["weight"].isna())[0])
    for method in (TabularLIME(ridge=0.0), TabularLIME(ridge=0.0, distance="gower", draw="uniform")):
        e = one(method, row)
        assert e.check("r2").value[0] == pytest.approx(1, abs=1e-9)  # pyright: ignore
        wanted = dict.fromkeys(FRAME.columns, 0.0) | {"city": 2.0, "member": -1.0}
        assert by_name(e) == pytest.approx(wanted, abs=1e-9)
        assert by_name(one(method, row, target=1))["weight"] == pytest.approx(3, abs=1e-9)
        assert float(e.extras["prediction"][0]) == pytest.approx(1.0, abs=1e-9)


def test_dates_and_columns_that_do_not_vary_stay_and_weigh_nothing() -> None:
    seen: list[Any] = []
    handle = pellucid.wrap(lambda frame: seen.append(frame) or priced(frame), TABLE, emits="values")
    row = FRAME.iloc[5:6].assign(zero=7.0)
    e = pellucid.explain(handle, row, TabularLIME(samples=64), target=0)[0]
    asked = pd.concat(seen)
    assert set(asked["zero"]) == {7.0} and set(asked["planet"]) == {"Earth"}
    assert set(asked["since"]) == {FRAME["since"][5]}
    assert asked["age"].dtype == FRAME["age"].dtype
    assert {name: by_name(e)[name] for name in ("since", "planet", "zero")} == {"since": 0, "planet": 0, "zero": 0}


def test_the_model_is_weighted_least_squares_of_what_was_drawn() -> None:
    """Ridge, written as least squares with rows added: the same rows, bins and kernel by hand."""
    numbers = Table.of(RNG.normal(size=(200, 3)))
    w = np.array([1.0, -2.0, 0.5])
    handle = pellucid.wrap(lambda rows: np.tanh(rows @ w), numbers)
    x = np.array([[0.3, -0.4, 1.0]])
    e = pellucid.explain(handle, x, TabularLIME(samples=500, bins=0, ridge=0.7), target=0)[0]
    u = TabularLIME()._design(3, 500, 0).shown
    columns = Columns.of(numbers.training, ["numeric"] * 3, None, True, "normal")
    rows = np.concatenate([x, Drawn.of(columns, torch.from_numpy(x), u).rows(0, 500, 0, 1).numpy()])
    z = (rows - numbers.training.numpy().mean(0)) / numbers.training.numpy().std(0)
    far = ((z - z[0]) ** 2).sum(1)
    root = np.exp(-far / (9 / 16 * 3) / 2) ** 0.5
    design = np.column_stack([z, np.ones(501)]) * root[:, None]
    design = np.concatenate([design, np.column_stack([np.eye(3) * 0.7**0.5, np.zeros(3)])])
    beta = np.linalg.lstsq(design, np.concatenate([np.tanh(rows @ w) * root, np.zeros(3)]), rcond=None)[0]
    np.testing.assert_allclose(e.values[0], beta[:3], rtol=1e-9)
    np.testing.assert_allclose(e.extras["intercept"], beta[3:], rtol=1e-9)
    np.testing.assert_allclose(e.extras["prediction"][0], z[0] @ beta[:3] + beta[3], rtol=1e-9)


@pytest.mark.parametrize("draw", ["normal", "density", "around"])
def test_a_linear_model_of_numbers_is_found_in_either_unit(draw: str) -> None:
    data = RNG.normal(size=(200, 3)) * [1, 10, 100] + [5, 0, -3]
    w, std = np.array([1.0, -0.2, 0.05]), data.std(0)
    handle = pellucid.wrap(lambda rows: rows @ w + 4, Table.of(data))
    for unit, wanted in (("std", w * std), ("value", w)):
        method = TabularLIME(bins=0, draw=draw, unit=unit, ridge=0.0)
        (e,) = pellucid.explain(handle, data[:2], method, target=0)
        np.testing.assert_allclose(e.values, np.stack([wanted, wanted]), rtol=1e-8)
        np.testing.assert_allclose(e.extras["prediction"], data[:2] @ w + 4, rtol=1e-8)
        assert "bins" not in e.extras


def test_explaining_is_linear_in_the_score() -> None:
    data = RNG.normal(size=(100, 4))
    fs = [lambda rows: np.sin(rows).sum(1), lambda rows: rows[:, 0] * rows[:, 1]]
    both = [*fs, lambda rows: 2 * fs[0](rows) - 3 * fs[1](rows)]
    f, g, mixed = (pellucid.explain(pellucid.wrap(h, Table.of(data)), data[:2], "tabular_lime")[0] for h in both)
    np.testing.assert_allclose(mixed.values, 2 * f.values - 3 * g.values, atol=1e-12)


def test_several_labels_at_once_are_as_each_alone() -> None:
    data = RNG.normal(size=(100, 4))
    handle = pellucid.wrap(lambda rows: np.stack([np.sin(rows).sum(1), rows[:, 0] * rows[:, 1]], 1), Table.of(data))
    for method in (TabularLIME(), TabularLIME(features=2)):
        together = pellucid.explain(handle, data[:2], method, target=[0, 1])
        for label in (0, 1):
            alone = pellucid.explain(handle, data[:2], method, target=label)[0]
            np.testing.assert_allclose(together[label].values, alone.values, atol=1e-12)


@pytest.mark.parametrize("way", ["forward_selection", "highest_weights", "lasso_path", "tree"])
def test_the_columns_that_matter_are_selected(way: str) -> None:
    data = RNG.normal(size=(300, 8))
    handle = pellucid.wrap(lambda rows: 3.0 * (rows[:, 2] > 0) + 2.0 * (rows[:, 5] > 0), Table.of(data))
    (e,) = pellucid.explain(handle, data[:3], TabularLIME(features=2, select=way))
    assert [row.nonzero().flatten().tolist() for row in e.values] == [[2, 5]] * 3


@pytest.mark.parametrize("design", ["coin", "paired", "sobol"])
def test_standard_errors_are_those_of_repeating(design: str) -> None:
    data = RNG.normal(size=(300, 3))
    handle = pellucid.wrap(lambda rows: np.sin(2 * rows).sum(1) + rows[:, 0] * rows[:, 1], Table.of(data))
    methods = [TabularLIME(samples=256, design=design, seed=seed) for seed in range(60)]
    found = pellucid.explain(handle, data[:1], methods)
    spread = torch.stack([e.values[0] for e in found]).std(0)
    errors = torch.stack([e.std_error[0] for e in found])  # pyright: ignore
    np.testing.assert_allclose(errors.square().mean(0).sqrt(), spread, rtol=0.35)
    values = torch.stack([e.values[0] for e in found])
    assert 0.88 <= float(((values - values.mean(0)).abs() <= 1.96 * errors).double().mean()) <= 1.0


def test_samples_are_added_until_the_error_is_as_small_as_asked_for() -> None:
    data = RNG.normal(size=(300, 3))
    handle = pellucid.wrap(lambda rows: np.sin(2 * rows).sum(1), Table.of(data))
    (loose,) = pellucid.explain(handle, data[:1], TabularLIME(samples=200))
    (tight,) = pellucid.explain(handle, data[:1], TabularLIME(samples=200, tolerance=0.03))
    assert float((tight.std_error / tight.values.abs().max()).max()) <= 0.03  # pyright: ignore
    assert tight.check("precision").passed == (True,)  # pyright: ignore
    assert tight.record.passes.forward > 4 * loose.record.passes.forward
    assert tight.extras["samples"].tolist() == [tight.record.passes.forward - 1]  # pyright: ignore


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    data = RNG.normal(size=(100, 3))
    handle = pellucid.wrap(lambda rows: np.sin(rows).sum(1), Table.of(data))
    small = pellucid.wrap(lambda rows: np.sin(rows).sum(1), Table.of(data), rows=7)
    state = torch.get_rng_state()
    (a,) = pellucid.explain(handle, data[:3], TabularLIME(samples=50))
    (b,) = pellucid.explain(small, data[:3], TabularLIME(samples=50))
    (c,) = pellucid.explain(handle, data[1:2], TabularLIME(samples=50))
    (other,) = pellucid.explain(handle, data[:3], TabularLIME(samples=50, seed=1))
    assert torch.equal(a.values, b.values)
    assert torch.equal(a.values[1:2], c.values)
    assert not torch.equal(a.values, other.values)
    assert torch.equal(state, torch.get_rng_state())


def test_a_torch_model_of_rows_is_explained_with_a_table() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    (mine,) = pellucid.explain(net, rows[:2], TabularLIME(table=rows), target=0, output="logit")
    handle = pellucid.wrap(lambda x: net(torch.as_tensor(x).float()).detach(), Table.of(rows.numpy().astype(float)))
    (same,) = pellucid.explain(handle, rows[:2].double(), TabularLIME(), target=0, output="logit")
    np.testing.assert_allclose(mine.values, same.values, atol=1e-4)


def test_it_keeps_the_promises_of_methods() -> None:
    rows = torch.randn(60, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = check_method(TabularLIME(table=rows, samples=64), models=("linear_rows",))
    assert {r.status for r in results} <= {"passed", "skipped"}
    assert sum(r.status == "passed" for r in results) >= 8


def test_words_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ParameterError, match="normal or uniform"):
        one(TabularLIME(draw="density"))
    with pytest.raises(ParameterError, match="normal, density or around"):
        one(TabularLIME(draw="uniform", bins=0))
    with pytest.raises(ParameterError, match="one bin"):
        one(TabularLIME(bins=1))
    with pytest.raises(InputError, match="missing numbers"):
        one(TabularLIME(bins=0), 0)
    with pytest.raises(InputError, match="training table"):
        pellucid.explain(torch.nn.Linear(3, 2), torch.zeros(1, 3), "tabular_lime")
    with pytest.raises(ParameterError, match="rows of 3 numbers"):
        pellucid.explain(torch.nn.Linear(3, 2), torch.zeros(1, 3), TabularLIME(table=torch.zeros(5, 4)))
    with pytest.raises(InputError, match="too far"):
        pellucid.explain(torch.nn.Linear(3, 2), torch.zeros(1, 3), TabularLIME(bins=0, width=1e-3, table=SOME))
    with pytest.raises(InputError, match="no column varies"):
        pellucid.explain(torch.nn.Linear(3, 2), torch.zeros(1, 3), TabularLIME(table=torch.zeros(5, 3)))


def test_bins_are_told_in_words() -> None:
    e = one(TabularLIME(), 1)
    said = dict(zip(e.inputs.features, e.to_frame().feature_desc, strict=True))
    ages = np.quantile(FRAME["age"], [0.25, 0.5, 0.75])
    place = int(np.searchsorted(ages, FRAME["age"][1]))
    low = f"{ages[place - 1]:.6g} < " if place else ""
    assert said["age"] == f"{low}age" + (f" <= {ages[place]:.6g}" if place < 3 else "")
    assert said["member"] == f"member = {FRAME['member'][1]}"
    assert said["planet"] == "planet = Earth"
