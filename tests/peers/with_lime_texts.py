"""A text, a model of moods, and LIME of both libraries on the same coalitions of its words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

import pellucid
from pellucid import LIME, Words
from pellucid.core.explanation import Explanation
from pellucid.ops.designs import by_hidden

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
