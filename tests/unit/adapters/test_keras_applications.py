"""Two models of keras.applications with random weights: real architectures, single precision, Keras' own defaults."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from tests.unit.adapters.keras_nets import keras, precision  # isort: skip

import pellucid

SIDE = 72
LAST = {"Xception": "block14_sepconv2_act", "MobileNetV2": "out_relu"}


@pytest.fixture(scope="module", params=LAST)
def named(request: pytest.FixtureRequest) -> Generator[tuple[str, Any]]:
    with precision("float32"):
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, request.param)(weights=None, input_shape=(SIDE, SIDE, 3), classes=10)
        alive(model)
        yield request.param, pellucid.wrap(model)
    keras.utils.clear_session()


def alive(model: Any) -> None:
    """Activations of size one all the way, without any bias: variances of a batch, means of zero."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(photo(4), training=True)
    for norm in norms:
        norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))


def photo(count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).random((count, SIDE, SIDE, 3), dtype=np.float32)


def test_sums_are_whole_and_layers_are_found(named: tuple[str, Any]) -> None:
    """Without biases, as fresh weights are, LRP hands all of the score to the input; DeepLIFT always its change."""
    name, handle = named
    methods = ["gradient", "grad_cam", pellucid.LRP(composite="epsilon"), "deep_lift"]
    slope, cam, relevance, contributions = pellucid.explain(handle, photo(), methods)
    assert slope.values.shape == (1, 3, SIDE, SIDE) and bool(slope.values.any())
    assert cam.record.at == LAST[name] and cam.values.shape == (1, 3, 3)
    assert float(relevance.values.sum()) == pytest.approx(relevance.target.score[0], rel=5e-3)
    (check,) = (c for c in contributions.checks if c.name == "completeness")
    assert all(check.passed)
