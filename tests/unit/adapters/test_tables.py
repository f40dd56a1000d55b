"""Models of tables as people have them: pipelines, regressors, boosted trees with and without scikit-learn's dress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import ExactShapley, KernelSHAP, TabularLIME
from pellucid.adapters.function import emitted
from pellucid.core.errors import UnsupportedModel
from pellucid.testing import check_adapter

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
N = 240
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 80, N),
        "income": RNG.gamma(3, 20, N),
        "city": RNG.choice(np.array(["Bern", "Rome", "Oslo"], dtype=object), N),
        "member": RNG.random(N) < 0.4,
    }
)
FRAME.loc[::9, "income"] = np.nan
FRAME.loc[::13, "city"] = None
CODED = FRAME.assign(city=pd.Categorical(FRAME["city"]))
NUMBERS = np.column_stack([FRAME["age"], FRAME["income"].fillna(0), FRAME["member"]]).astype(float)
YES = ((FRAME["age"] > 40) ^ (FRAME["city"] == "Rome")).to_numpy(int)
THREE = ((FRAME["age"] > 40).to_numpy(int) + (FRAME["age"] > 60)).to_numpy(int)


def pipeline(last: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = [("numbers", numbers, ["age", "income"]), ("words", words, ["city", "member"])]
    return make_pipeline(ColumnTransformer(parts), last)


def linear(name: str, **options: Any) -> Any:
    from sklearn import linear_model

    return getattr(linear_model, name)(**options)


def xgb() -> Any:
    return pytest.importorskip("xgboost")


def lgb() -> Any:
    return pytest.importorskip("lightgbm")


def xgb_booster(data: Any, label: Any, **params: Any) -> Any:
    matrix = xgb().DMatrix(data, label=label, enable_categorical=True)
    return xgb().train(params, matrix, 8)


def lgb_booster(data: Any, label: Any, **params: Any) -> Any:
    return lgb().train({"verbose": -1, **params}, lgb().Dataset(data, label), 8)


def svc() -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC().fit(NUMBERS, YES)


Case = tuple[Callable[[], Any], Any, Callable[[Any, Any], Any]]
"""How a model is made, its table, and its scores by hand."""


def chances(model: Any, data: Any) -> Any:
    return model.predict_proba(data)


def both(chance: Any) -> Any:
    return np.stack([1 - chance, chance], 1)


CASES: dict[str, Case] = {
    "pipeline": (lambda: pipeline(linear("LogisticRegression")).fit(FRAME, YES), FRAME, chances),
    "regression": (lambda: pipeline(linear("Ridge")).fit(FRAME, FRAME["age"] * 2.0), FRAME, lambda m, d: m.predict(d)),
    "decision": (svc, NUMBERS, lambda m, d: m.decision_function(d)),
    "xgboost": (lambda: xgb().XGBClassifier(n_estimators=8, enable_categorical=True).fit(CODED, YES), CODED, chances),
    "xgboost of three": (lambda: xgb().XGBClassifier(n_estimators=8).fit(NUMBERS, THREE), NUMBERS, chances),
    "xgboost regression": (lambda: xgb().XGBRegressor(n_estimators=8).fit(CODED.drop(columns="city"), NUMBERS[:, 0]),
        CODED.drop(columns="city"), lambda m, d: m.predict(d)),
    "xgboost booster": (
        lambda: xgb_booster(CODED, YES, objective="binary:logistic"), CODED,
        lambda m, d: both(m.predict(xgb().DMatrix(d, enable_categorical=True))),
    ),
    "xgboost booster of three": (
        lambda: xgb_booster(NUMBERS, THREE, objective="multi:softprob", num_class=3), NUMBERS,
        lambda m, d: m.predict(xgb().DMatrix(d)),
    ),
    "xgboost booster of the best class": (
        lambda: xgb_booster(NUMBERS, THREE, objective="multi:softmax", num_class=3), NUMBERS,
        lambda m, d: m.predict(xgb().DMatrix(d), output_margin=True),
    ),
    "xgboost booster of numbers": (
        lambda: xgb_booster(NUMBERS, NUMBERS[:, 0]), NUMBERS, lambda m, d: m.predict(xgb().DMatrix(d))
    ),
    "lightgbm": (lambda: lgb().LGBMClassifier(n_estimators=8, verbose=-1).fit(CODED, YES), CODED, chances),
    "lightgbm booster": (lambda: lgb_booster(CODED, YES, objective="binary"), CODED, lambda m, d: both(m.predict(d))),
    "lightgbm booster of three": (
        lambda: lgb_booster(NUMBERS, THREE, objective="multiclass", num_class=3), NUMBERS, lambda m, d: m.predict(d)
    ),
    "lightgbm booster of numbers": (lambda: lgb_booster(NUMBERS, NUMBERS[:, 0]), NUMBERS, lambda m, d: m.predict(d)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_handle_gives_the_model_s_own_scores_and_is_honest(name: str) -> None:
    make, data, by_hand = CASES[name]
    model = make()
    handle = pellucid.wrap(model, data)
    some = data[:5]
    (e,) = pellucid.explain(handle, some, TabularLIME(samples=64))
    wanted = np.asarray(by_hand(model, some), dtype=float).reshape(5, -1)
    np.testing.assert_allclose(e.outputs, wanted, rtol=1e-6)
    assert e.values.shape == (5, data.shape[1]) and bool(e.values.isfinite().all())
    assert e.prediction.is_probability == (wanted.shape[1] > 1)
    results = check_adapter(handle, some)
    assert {result.status for result in results} <= {"passed", "skipped"}
    known = getattr(model, "classes_", None)
    if known is not None and wanted.shape[1] == len(known):
        assert handle.labels.names == tuple(map(str, known))


def test_shapley_values_of_a_pipeline_add_up_whatever_the_columns_are() -> None:
    model = pipeline(linear("LogisticRegression")).fit(FRAME, YES)
    handle = pellucid.wrap(model, FRAME)
    background = handle.preprocess.decoded(handle.preprocess.background)  # pyright: ignore
    (e,) = pellucid.explain(handle, FRAME.iloc[:3], ExactShapley(), target="1")
    gap = model.predict_proba(FRAME.iloc[:3])[:, 1] - model.predict_proba(background)[:, 1].mean()
    np.testing.assert_allclose(e.values.sum(1), gap, atol=1e-9)
    (k,) = pellucid.explain(handle, FRAME.iloc[:3], KernelSHAP(), target="1")
    np.testing.assert_allclose(k.values, e.values, atol=1e-6)


class Logits:
    """A `predict_proba` that returns logits, as some projects have it."""

    classes_ = np.array(["cat", "dog", "eel"])

    def predict_proba(self, rows: Any) -> Any:
        return np.asarray(rows, dtype=float) * [0.1, 0.01, 2.0]


def test_what_scores_are_is_seen_by_their_rows_and_not_by_the_name_of_the_function() -> None:
    (e,) = pellucid.explain(pellucid.wrap(Logits(), NUMBERS), NUMBERS[:4], TabularLIME(samples=64))
    np.testing.assert_allclose(
        e.target.score, torch.softmax(torch.from_numpy(Logits().predict_proba(NUMBERS[:4])), 1).max(1).values
    )
    logits = torch.tensor([[2.0, 1.0], [0.5, 0.1]])
    assert emitted(logits) == "logits"
    assert emitted(logits.softmax(1)) == "probabilities"
    assert emitted(torch.tensor([[1.5, -0.5]])) == "logits"  # it sums to one, and is none
    assert emitted(torch.tensor([[0.3], [0.4]])) == "values"


def test_one_of_several_answers_is_chosen() -> None:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(5, random_state=0).fit(NUMBERS, np.column_stack([YES, NUMBERS[:, 0] > 50]))
    with pytest.raises(UnsupportedModel, match="outputs=lambda"):
        pellucid.explain(pellucid.wrap(model, NUMBERS), NUMBERS[:2], "tabular_lime")
    handle = pellucid.wrap(model, NUMBERS, outputs=lambda answers: answers[1])
    (e,) = pellucid.explain(handle, NUMBERS[:2], TabularLIME(samples=64))
    np.testing.assert_allclose(e.outputs, model.predict_proba(NUMBERS[:2])[1])
