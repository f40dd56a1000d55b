"""LIME for texts beside Python's lime, given the same coalitions and the same model."""

from __future__ import annotations

import pytest
import torch
from tests.peers.with_lime_texts import TEXT, ours, theirs

pytest.importorskip("lime")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
EXACT = 1e-8


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
