"""Sobol attribution where nothing lies between there and not there: words, tokens, categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.texts import Splitter, encoder

from pellucid import SobolAttribution, Words
from pellucid.api import as_regressor, explain, wrap

VALUE = {"very": 1.0, "good": 2.0, "bad": -3.0, "film": 0.0}


def test_indices_of_words_are_the_shares_of_their_squares() -> None:
    seen: set[str] = set()

    def mood(texts: list[str]) -> list[float]:
        seen.update(word for text in texts for word in text.split())
        return [sum(VALUE[word] for word in text.split()) for text in texts]

    model = as_regressor(wrap(mood, Words(joined_by=" ")))
    for order in ("total", "first"):
        e = explain(model, "very good bad film", SobolAttribution(samples=512, order=order))[0]
        found = e.extras["players"][0].double()
        torch.testing.assert_close(found, torch.tensor([1.0, 4.0, 9.0, 0.0]).double() / 14, atol=0.06, rtol=0)
    assert seen == set(VALUE)


def test_tokens_are_there_or_masked() -> None:
    model = wrap(encoder(), Splitter(), ["bad", "so so", "good"])
    e = explain(model, "the film was terrib ##ly good", SobolAttribution(samples=16))[0]
    assert bool(e.values.isfinite().all()) and e.extras["players"].shape == (1, 5)


def test_a_category_is_never_between_two_others() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"city": ["Bern", "Rome", "Oslo"] * 4, "size": np.arange(12.0), "idle": [0.5] * 12})
    seen: set[tuple[str, float]] = set()

    def score(rows: Any) -> Any:
        seen.update(zip(rows["city"], rows["size"], strict=True))
        return 4.0 * (rows["city"] == "Oslo").to_numpy() + rows["size"].to_numpy() / 5.0

    fill = pd.DataFrame({"city": ["Bern"], "size": [0.0], "idle": [0.5]})
    row = pd.DataFrame({"city": ["Oslo"], "size": [10.0], "idle": [0.5]})
    e = explain(as_regressor(wrap(score, frame)), row, SobolAttribution(samples=512, fill=fill))[0]
    assert seen == {("Bern", 0.0), ("Bern", 10.0), ("Oslo", 0.0), ("Oslo", 10.0)}
    torch.testing.assert_close(e.values[0].double(), torch.tensor([0.8, 0.2, 0.0]).double(), atol=0.06, rtol=0)
