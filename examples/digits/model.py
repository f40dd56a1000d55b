"""The classifier of the digits project: a Keras net, and an object around it with `predict_proba`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it once, when it is imported

import keras
from keras import layers

from examples.digits.data import Digits

LAST = "second"
"""Name of the last convolution."""


def network() -> Any:
    """Two convolutions and two dense layers on the grey of a coloured picture; it ends in logits."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 3)),
            layers.Lambda(keras.ops.image.rgb_to_grayscale, name="grey"),
            layers.Conv2D(24, 3, activation="relu", name="first"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Conv2D(36, 3, activation="relu", name=LAST),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ],
        name="digits",
    )


class Classifier:
    """A trained net as the digits project uses it."""

    def __init__(self, net: Any) -> None:
        self.net = net

    @classmethod
    def trained(cls, digits: Digits, epochs: int, seed: int = 1) -> Classifier:
        """Adam at 1e-3 on the cross-entropy of the logits, 32 digits at a time."""
        keras.utils.set_random_seed(seed)
        net = network()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
        net.fit(digits.pictures, digits.labels, batch_size=32, epochs=epochs, verbose=0)
        return cls(net)

    def predict_proba(self, pictures: NDArray[Any]) -> NDArray[np.float32]:
        """[count, 10]. Logits, whatever the name says: the net ends without a softmax, and nobody put one behind it."""
        return self.net.predict(np.asarray(pictures, np.float32), batch_size=500, verbose=0)

    def right(self, digits: Digits) -> float:
        """Share of digits that are read as what they are."""
        return float((self.predict_proba(digits.pictures).argmax(1) == digits.labels).mean())
