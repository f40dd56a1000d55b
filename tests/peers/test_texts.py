"""LIME for texts beside Python's lime, given the same coalitions and the same model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid
from pellucid import LIME, Words
from pellucid.core.explanation import Explanation
from pellucid.ops.designs import by_hidden

pytest.importorskip("lime")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
EXACT = 1e-8
TEXT = "Good food, really good food; but the waiter wasn't friendly, and the bill (37.50) was not good."
MOODS = {"good": 1.1, "friendly": 0.8, "but": -0.4, "not": -1.3, "bill": -0.2, "t": -0.7, "unkwordz": 0.1}
SAMPLES = 300


def moods(texts: Sequence[str]) -> np.ndarray:
    """Three classes; words count more where they are repeated, and a negation turns the next word around."""
    rows: list[list[float]] = []
    for text in texts:
        words = [word.lower() for word in re.findall(r"\w+", text)]
        mood = sum(MOODS.get(word, 0.0) * (-0.5 if i and words[i - 1] == "not" else 1) for i, word in enumerate(words))
        rows.append([math.tanh(mood) + 0.1 * len(words), -mood, 0.3])
    scores = np.exp(np.array(rows))
    return scores / scores.sum(1, keepdims=True)


@dataclass
class Given:
    """The random state of lime, which hands out given coalitions."""

    shown: Tensor
    place: int = field(default=0)

    def randint(self, low: int, high: int = 0, count: int = 0) -> Any:
        return (~self.shown).sum(1).numpy()

    def choice(self, players: Sequence[int], size: int, replace: bool) -> Any:
        self.place += 1
        return (~self.shown[self.place - 1]).nonzero().flatten().numpy()


def theirs(bow: bool, chosen: int, way: str, label: int) -> Any:
    from lime.lime_text import LimeTextExplainer

    made = LimeTextExplainer(bow=bow, feature_selection=way)
    count = len(set(re.findall(r"\w+", TEXT)) if bow else re.findall(r"\w+", TEXT))
    made.random_state = Given(by_hidden(count, SAMPLES, 0).shown)
    return made.explain_instance(TEXT, moods, labels=(label,), num_features=chosen, num_samples=SAMPLES + 1)


def ours(bow: bool, chosen: int | None, way: str, label: int) -> Explanation:
    method = LIME(
        samples=SAMPLES,
        regions="vocabulary" if bow else "words",
        fill="remove" if bow else "UNKWORDZ",
        design="by_hidden",
        features=chosen,
        select=way,
    )
    return pellucid.explain(pellucid.wrap(moods, Words(split=r"\W+")), TEXT, method, target=label)[0]


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("bow", [True, False], ids=["bag of words", "positions"])
@pytest.mark.parametrize("way", ["none", "forward_selection", "highest_weights", "lasso_path"])
def test_coefficients_score_and_local_prediction_are_those_of_lime(bow: bool, way: str, label: int) -> None:
    chosen = 100 if way == "none" else 5
    their = theirs(bow, chosen, way, label)
    our = ours(bow, None if way == "none" else chosen, way, label)
    wanted = torch.zeros(our.extras["players"].shape[1], dtype=torch.float64)
    for number, value in their.local_exp[label]:
        wanted[number] = float(value)
    got = our.extras["players"][0].double()
    assert int((wanted != 0).sum()) == len(their.local_exp[label]) >= 5
    assert float((got - wanted).abs().max()) < EXACT
    (r2,) = (check.value[0] for check in our.checks if check.name == "r2")
    fit = [float(our.extras["intercept"][0]), r2, float(our.extras["prediction"][0])]
    assert fit == pytest.approx([their.intercept[label], their.score, float(their.local_pred[0])], abs=EXACT)


def test_words_are_those_of_lime() -> None:
    from lime.lime_text import IndexedString

    for bow in (True, False):
        told = IndexedString(TEXT, bow=bow)
        our = ours(bow, None, "none", 0)
        assert our.extras["players"].shape[1] == told.num_words()
