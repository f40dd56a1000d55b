"""The bundled model still looks at the cup: our own assertions, as teams use them on their models."""

from __future__ import annotations

import pytest
import torch

import pellucid
from pellucid.core.explanation import Explanations
from pellucid.testing import assert_mass_in, assert_not_degenerate
from pellucid.testing.assertions import Snapshot


@pytest.fixture(scope="module")
def coffee() -> Explanations:
    photo = pellucid.zoo.sample_photos()[1]
    return pellucid.explain(
        "efficientnet_lite0", photo, ["grad_cam", "gradient", "input_x_gradient"], target="espresso"
    )


def cup() -> torch.Tensor:
    """The round of the cup in the model's view of 224 × 224 pixels; a third of it."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    return ((x - 105) / 78.0) ** 2 + ((y - 78) / 82.0) ** 2 <= 1


def test_maps_say_something(coffee: Explanations) -> None:
    assert_not_degenerate(coffee)


def test_espresso_is_seen_in_the_cup(coffee: Explanations) -> None:
    assert 0.3 < float(cup().double().mean()) < 0.4
    assert_mass_in(coffee.sel(method="grad_cam"), cup(), share=0.6)
    with pytest.raises(AssertionError, match="of the positive attribution lies in the mask"):
        assert_mass_in(coffee.sel(method="grad_cam"), ~cup(), share=0.6)


def test_it_looks_as_it_did(coffee: Explanations, explanation_snapshot: Snapshot) -> None:
    explanation_snapshot(coffee.sel(method="grad_cam"), correlation=0.99, overlap=0.9, distance=0.05)
