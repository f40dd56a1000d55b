"""TabularLIME with the definitions of R's lime, against what R answered: bins, Gower's distance, fits, the frame.

What was found: bins, their frequencies, their descriptions and Gower's distance are R's to the last digit recorded. On
R's matrix the fits agree to 1e-6 of the largest weight, as those of `LIME` do (see `test_lime_r`). Over 30 seeds each,
the means of all weights, of R² and of the intercept differ by less than their standard errors allow, and the weights
vary from seed to seed as much as R's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import Table, TabularLIME
from pellucid.ops.columns import Columns, binned_law, cuts
from pellucid.ops.surrogates import Surrogate

datasets = pytest.importorskip("sklearn.datasets")
pd = pytest.importorskip("pandas")

DATA = Path(__file__).parents[2] / "data" / "r_lime"
NAMES = ["Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"]
HELD = [0, 50, 100]
SPECIES = ["setosa", "versicolor", "virginica"]
AS_R: dict[str, Any] = {"draw": "uniform", "distance": "gower", "penalty": "glmnet", "samples": 4999}


def recorded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


def iris() -> tuple[Any, Any]:
    frame = pd.DataFrame(datasets.load_iris().data, columns=NAMES)
    return frame.drop(index=HELD), frame.loc[HELD]


TRAIN, ROWS = iris()
LDA = recorded("iris_lda_model")


def posterior(frame: Any) -> Any:
    """Linear discriminant analysis: prior · exp(−½ |(x − mean) scaling|²), normalised."""
    rows, scaling, means = frame.to_numpy(), np.array(LDA["coef"]), np.array(LDA["means"])
    log = -0.5 * (((rows[:, None] - means) @ scaling) ** 2).sum(2) + np.log(LDA["prior"])
    share = np.exp(log - log.max(1, keepdims=True))
    return share / share.sum(1, keepdims=True)


MODEL = pellucid.wrap(posterior, Table.of(TRAIN), labels=SPECIES)


def test_the_model_is_the_one_that_r_explained() -> None:
    np.testing.assert_allclose(posterior(ROWS), LDA["posterior"], rtol=1e-8)


@pytest.mark.parametrize("quantiles", [True, False])
def test_bins_and_their_frequencies_are_those_of_r(quantiles: bool) -> None:
    wanted = recorded("iris_bins")[f"quantile_{str(quantiles).upper()}"]
    for name in NAMES:
        column = TRAIN[name].to_numpy()
        np.testing.assert_allclose(cuts(column, 4, quantiles), wanted["bin_cuts"][name], rtol=1e-12)
        share = np.diff(binned_law(column, 4, quantiles, "uniform").cells[0], prepend=0.0)
        np.testing.assert_allclose(share, list(wanted["feature_distribution"][name].values()), rtol=1e-12)


def test_gower_s_distance_is_that_of_r() -> None:
    known = recorded("gower")
    table = Table.of(pd.DataFrame(known["data"]))
    assert [column.type for column in table.columns] == ["numeric", "integer", "categorical", "boolean"]
    columns = Columns.of(table.training, [c.type for c in table.columns], 4, True, "uniform")
    rows = table.training
    np.testing.assert_allclose(columns.gower(rows, rows[0]), known["distance_to_first"], rtol=1e-12)


@pytest.mark.parametrize("way", ["none", "forward_selection", "highest_weights", "lasso_path"])
def test_the_fits_on_the_same_matrix_are_those_of_r(way: str) -> None:
    data = recorded("surrogate_fits")
    x, y = (torch.tensor(data[key], dtype=torch.float64) for key in "xy")
    count = None if way == "none" else data["n_features"]
    ways = Surrogate(strength=1.0, penalty="glmnet", features=count, select=way)
    fit = ways.fit(x, y.mT, torch.tensor(data["weights"], dtype=torch.float64), torch.full((len(x),), -1))
    for row in data["fits"][way]:
        label, place = "abc".index(row["label"]), int(row["feature"].removeprefix("f")) - 1
        np.testing.assert_allclose(fit.coef[label, place], row["feature_weight"], rtol=1e-3)
        np.testing.assert_allclose(fit.r2[label], row["model_r2"], rtol=1e-6)
        np.testing.assert_allclose(fit.intercept[label], row["model_intercept"], rtol=1e-6)
        np.testing.assert_allclose(fit(x[:1])[label, 0], row["model_prediction"], rtol=1e-6)


def test_the_frame_tells_what_r_s_frame_tells() -> None:
    """R's two features of each label are found among all four: which two come first may depend on the seed."""
    wanted = recorded("iris_lda_frame")
    methods = [TabularLIME(seed=7, **AS_R), TabularLIME(features=2, seed=7, **AS_R)]
    every, few = (e.to_frame() for e in (pellucid.explain(MODEL, ROWS, one, top_k=2) for one in methods))
    assert list(few.columns[:13]) == wanted["columns"]
    assert len(few) == len(wanted["rows"])
    for row in wanted["rows"]:
        case = f"row {1 + HELD.index(int(row['case']) - 1)}"
        one = every[(every.case == case) & (every.label == row["label"]) & (every.feature == row["feature"])].iloc[0]
        assert one.feature_desc == row["feature_desc"]
        assert one.feature_value == row["feature_value"]
        assert one.model_type == row["model_type"]
        assert one.label_prob == pytest.approx(row["label_prob"], rel=1e-8)
        assert one.feature_weight == pytest.approx(row["feature_weight"], abs=6 * one.std_error)
        assert one.model_r2 == pytest.approx(row["model_r2"], abs=0.05)


SEEDS = 30


def test_over_seeds_the_weights_spread_as_those_of_r() -> None:
    lines = pd.DataFrame(recorded("iris_lda_weights_over_seeds"))
    theirs = lines.pivot_table(index="seed", columns="feature", values="weight")[NAMES]
    once = lines.drop_duplicates("seed")
    methods = [TabularLIME(seed=seed, **AS_R) for seed in range(SEEDS)]
    found = pellucid.explain(MODEL, ROWS.iloc[1:2], methods, target="versicolor")
    mine = torch.cat([e.values for e in found]).numpy()
    numbers = {
        **{name: (mine[:, i], theirs[name].to_numpy()) for i, name in enumerate(NAMES)},
        "intercept": (np.array([float(e.extras["intercept"][0]) for e in found]), once.intercept.to_numpy()),
        "r2": (np.array([e.check("r2").value[0] for e in found]), once.r2.to_numpy()),
    }
    for name, (ours, of_r) in numbers.items():
        error = np.sqrt((ours.var(ddof=1) + of_r.var(ddof=1)) / SEEDS)
        assert abs(ours.mean() - of_r.mean()) < 3.5 * error, (name, ours.mean(), of_r.mean(), error)
        assert 0.4 < ours.var(ddof=1) / of_r.var(ddof=1) < 2.5, (name, ours.std(), of_r.std())
    said = torch.stack([e.std_error[0] for e in found]).square().mean(0).sqrt().numpy()  # pyright: ignore
    np.testing.assert_allclose(said, mine.std(0, ddof=1), rtol=0.5)
