"""Models that only score: hashed once in a call and again in the next, read once, refused when they become others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import FeatureAblation, Table, Words
from pellucid.core.errors import UnsupportedModel

X = np.random.default_rng(0).normal(size=(40, 3))


class Counted:
    """A linear model that counts how often it is written down."""

    written = 0

    def __init__(self, weight: float) -> None:
        self.weight = np.array([weight, 1.0, -1.0])

    def __call__(self, rows: Any) -> Any:
        return rows @ self.weight

    def __reduce__(self) -> tuple[Any, ...]:
        Counted.written += 1
        return (Counted, (float(self.weight[0]),))


def test_a_model_is_hashed_once_in_a_call_and_again_in_the_next() -> None:
    function = Counted(2.0)
    model = pellucid.wrap(function, Table.of(X, background=4))
    many = np.tile(X, (60, 1))  # three waves
    Counted.written = 0
    (first,) = pellucid.explain(model, many, FeatureAblation())
    assert Counted.written == 1
    pellucid.measure(model, first, "sparseness", inputs=many)
    assert Counted.written == 2
    function.weight[0] = 5.0  # in place, as `partial_fit` does
    (second,) = pellucid.explain(model, many, FeatureAblation())
    assert first.record.model.fingerprint != second.record.model.fingerprint
    with pytest.raises(pellucid.core.errors.PellucidError, match="other weights"):
        pellucid.measure(model, first, "sparseness", inputs=many)


def test_a_model_that_is_fitted_to_other_classes_is_refused_and_then_looked_at_again() -> None:
    outputs = 2

    def scores(rows: Any) -> Any:
        return np.concatenate([rows, rows], 1)[:, :outputs]

    model = pellucid.wrap(scores, Table.of(X, background=4))
    assert pellucid.explain(model, X[:2], FeatureAblation())[0].outputs.shape == (2, 2)
    outputs = 3
    with pytest.raises(UnsupportedModel, match="gives 3 scores, and gave 2 before"):
        pellucid.explain(model, X[:2], FeatureAblation())
    assert pellucid.explain(model, X[:2], FeatureAblation())[0].outputs.shape == (2, 3)


@pytest.mark.parametrize("kind", ["table", "texts"])
def test_inputs_are_read_once_with_and_without_progress(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    front = Table.of(X, background=4) if kind == "table" else Words()
    inputs: Any = X[:5] if kind == "table" else ["one two", "three four five"]
    model = pellucid.wrap((lambda rows: np.asarray([len(str(row)) for row in rows], float)), front)
    calls: list[Any] = []
    own = type(front).rows_of
    monkeypatch.setattr(type(front), "rows_of", lambda self, given: calls.append(given) or own(self, given))
    told: list[tuple[int, int]] = []
    pellucid.explain(model, inputs, FeatureAblation(), progress=lambda *at: told.append(at), budget="5m")
    assert len(calls) == 1
    assert told[-1][0] == told[-1][1]


def test_a_generator_of_texts_is_not_used_up_by_progress() -> None:
    model = pellucid.wrap((lambda texts: np.asarray([len(one) for one in texts], float)), Words())
    given = (text for text in ("one two", "three four"))
    assert len(pellucid.explain(model, given, FeatureAblation(), progress=lambda *at: None)[0]) == 2
