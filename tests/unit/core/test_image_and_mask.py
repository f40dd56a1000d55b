"""`get_image_and_mask`, against the Python `lime` on the same picture, regions and weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.views.planted import planted

from pellucid.core.errors import InputError, ParameterError, TargetError
from pellucid.core.explanation import Explanation, Explanations

WEIGHTS = [0.5, -0.4, 0.02, 0.3, -0.05, 0.0, -0.6, 0.01, 0.25]
SIDE = 24


def regions() -> torch.Tensor:
    line = torch.arange(SIDE) // 8
    return line[:, None] * 3 + line


def explained(target: str = "tabby") -> Explanation:
    players = torch.tensor([WEIGHTS])
    e = planted(players[0][regions()][None], side=SIDE, target=target)
    return replace(e, extras={"players": players, "regions": regions()[None]})


SIGNS = [(True, False), (False, True), (False, False)]


@pytest.mark.peers
@pytest.mark.parametrize(("positive", "negative"), SIGNS)
def test_it_gives_what_the_python_lime_gives(positive: bool, negative: bool) -> None:
    theirs = pytest.importorskip("lime.lime_image")
    e = explained()
    other = theirs.ImageExplanation(e.inputs.picture[0].numpy(), regions().numpy())  # type: ignore[index]
    other.local_exp = {281: sorted(enumerate(WEIGHTS), key=lambda one: -abs(one[1]))}
    for hide, count, least in product((False, True), (1, 3, 5, 100), (0.0, 0.03, 0.35)):
        settings: dict[str, Any] = {
            "positive_only": positive,
            "negative_only": negative,
            "hide_rest": hide,
            "num_features": count,
            "min_weight": least,
        }
        wanted, where = other.get_image_and_mask(281, **settings)
        picture, mask = e.get_image_and_mask(281, **settings)
        if not (positive or negative) and count == 100 and not least:
            where = np.where(regions() == WEIGHTS.index(0.0), 0, where)  # there a weight of nothing counts for it
            elsewhere = regions().numpy() != WEIGHTS.index(0.0)
            np.testing.assert_array_equal(picture[elsewhere], wanted[elsewhere])
        else:
            np.testing.assert_array_equal(picture, wanted)
        np.testing.assert_array_equal(mask, where)
        assert picture.dtype == np.uint8


def test_by_default_the_five_best_that_count_for_it_in_their_picture() -> None:
    picture, mask = explained().get_image_and_mask()
    assert set(np.unique(regions().numpy()[mask == 1])) == {0, 2, 3, 7, 8}
    np.testing.assert_array_equal(picture, explained().inputs.picture[0])  # type: ignore[index]
    alone, mask = explained().get_image_and_mask(num_features=2, hide_rest=True)
    assert int(alone[mask == 0].max()) == 0
    assert bool((alone[mask == 1] > 0).any())


def test_the_explanation_stays_as_it_is() -> None:
    e = explained()
    before = e.inputs.picture.clone()  # type: ignore[union-attr]
    picture, _ = e.get_image_and_mask(positive_only=False)
    picture[:] = 7
    assert torch.equal(e.inputs.picture, before)  # type: ignore[arg-type]


def test_labels_are_found_among_several_explanations() -> None:
    every = Explanations((explained("lynx"), explained("tabby")))
    np.testing.assert_array_equal(every.get_image_and_mask("tabby")[1], explained().get_image_and_mask("tabby")[1])
    np.testing.assert_array_equal(every.get_image_and_mask()[1], explained().get_image_and_mask()[1])
    with pytest.raises(InputError, match="no explanation matches"):
        every.get_image_and_mask("puma")
    with pytest.raises(TargetError, match="puma"):
        explained().get_image_and_mask("puma")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="one of them"):
        explained().get_image_and_mask(negative_only=True)
    with pytest.raises(ParameterError, match="num_features=0"):
        explained().get_image_and_mask(num_features=0)
    with pytest.raises(InputError, match="cut into regions"):
        planted(torch.ones(1, 4, 4)).get_image_and_mask()
