"""What a model decides, case by case."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid.core.decision import decides, decision
from pellucid.core.site import Site
from pellucid.core.target import Class, Contrast, Pick, Score, Unit

ROWS = torch.arange(4)
OUTPUTS = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, -1.0], [-1.0, -2.0, -3.0]])


def index(*classes: int) -> torch.Tensor:
    return torch.tensor(classes)


def said(pick: Pick, outputs: torch.Tensor, emits: str, inner: Any = None) -> tuple[list[float], list[float]]:
    rows = torch.arange(len(outputs))
    return tuple(how(pick).value(outputs, rows, emits, inner).tolist() for how in (decision, decides))  # pyright: ignore


@pytest.mark.parametrize("emits", ["logits", "probabilities", "values", "classes"])
def test_of_several_classes_the_highest_and_the_first_among_equals(emits: str) -> None:
    first, second = (Pick(Class(c), "logit", index(c, c, c, c)) for c in (0, 1))
    assert said(first, OUTPUTS, emits) == ([1, 1, -1, 1], [1, 1, 1, 1])
    assert said(second, OUTPUTS, emits) == ([-1, -1, 1, -1], [1, 1, 1, 1])
    assert said(Pick(Class(0), "logit", index(0, 1, 1, 2)), OUTPUTS, emits)[0] == [1, -1, 1, -1]


def test_classes_that_exclude_nothing_are_more_likely_than_not() -> None:
    assert said(Pick(Class(0), "logit", index(0, 0, 0, 0)), OUTPUTS, "sigmoid_logits")[0] == [1, 1, -1, -1]
    assert said(Pick(Class(1), "logit", index(1, 1, 1, 1)), OUTPUTS, "sigmoid_logits")[0] == [1, 1, 1, -1]


@pytest.mark.parametrize(("emits", "half"), [("logits", 0.0), ("sigmoid_logits", 0.0), ("probabilities", 0.5)])
def test_a_single_output_is_more_likely_than_not(emits: str, half: float) -> None:
    outputs = torch.tensor([[half + 0.25], [half], [half - 0.25]])
    assert said(Pick(Class(0), "logit", index(0, 0, 0)), outputs, emits) == ([1, -1, -1], [1, 1, 1])


def test_a_contrast_is_the_higher_side() -> None:
    pick = Pick(Contrast(1, 2), "logit", index(1, 1, 2, 2), index(0, 2, 1, 0))
    assert said(pick, OUTPUTS, "logits") == ([-1, 1, -1, -1], [1, 1, 1, 1])
    level = Pick(Contrast(0, 1), "logit", index(0, 0, 0, 0), index(1, 1, 1, 1))
    assert said(level, OUTPUTS, "logits")[0] == [1, -1, -1, 1]  # equal is not higher


def test_what_is_no_answer_stays_a_number() -> None:
    value = Pick(Class(0), "logit", index(0, 0))
    one = torch.tensor([[3.5], [-2.0]])
    assert said(value, one, "values") == ([3.5, -2.0], [0, 0])
    total = Pick(Score(lambda out: out.sum(1), "total"), "logit")
    assert said(total, OUTPUTS, "logits") == (OUTPUTS.sum(1).tolist(), [0] * 4)
    unit = Pick(Unit(Site("layer"), 1), "logit")
    inner = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    assert said(unit, OUTPUTS, "logits", inner) == ([2, 4, 6, 8], [0] * 4)


def test_rows_are_numbered() -> None:
    """Copies of the clean rows 3 and 0 are judged by their classes."""
    pick = Pick(Class(0), "logit", index(0, 1, 2, 1))
    assert decision(pick).value(OUTPUTS[[3, 0]], torch.tensor([3, 0]), "logits").tolist() == [-1, 1]
