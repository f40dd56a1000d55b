"""Keras models from files: `keras:digits.keras`."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pellucid.adapters.torch.watch import Randomness
from pellucid.core.errors import InputError
from pellucid.preprocess import Preprocess
from pellucid.zoo.named import Named
from pellucid.zoo.packages import need

SCALES = ("Rescaling", "Normalization")
"""Layers by which a model scales its pictures itself."""


def from_keras(name: str, pretrained: bool) -> Named:
    """A model that `model.save("FILE.keras")` has written, with its weights, without running code from the file.

    name  the file; where a Keras does not run yet, it is started on torch, unless KERAS_BACKEND says otherwise

    Photos are resized to the model's size. Pixels run from 0 to 255 where the model begins with a layer that scales
    them, else from 0 to 1; `wrap(model, preprocess=...)` takes any other way.
    Errors: InputError for a missing file, another format, `pretrained=False`, or a file that would run code.
    """
    what, path = f"The model 'keras:{name}'", Path(name).expanduser()
    if not pretrained:
        raise InputError(f"{what} comes with its weights.", "pretrained=True.")
    if path.suffix != ".keras" or not path.is_file():
        raise InputError(
            f"{what} is no file that Keras 3 has written.",
            "an existing FILE.keras.",
            "model.save('FILE.keras'); HDF5 files and folders can run code when they are read, and are not.",
        )
    with _on_torch():
        keras: Any = need("keras", "keras", what)
    before = Randomness.now()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a stranger's file makes Keras raise
        raise InputError(
            f"{what} cannot be read ({type(error).__name__}: {str(error)[:300]}).",
            "a file of Keras' own layers.",
            "a Lambda or a layer of your own is code: build the model yourself, load_weights, and pass the model.",
        ) from error
    finally:
        before.restore()
    return Named(model, _preprocess(model), None)


@contextmanager
def _on_torch() -> Generator[None]:
    """Keras reads its backend once, when it is imported; nobody who has chosen one is overruled."""
    chosen = "keras" in sys.modules or "KERAS_BACKEND" in os.environ
    if not chosen:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        yield
    finally:
        if not chosen:
            del os.environ["KERAS_BACKEND"]


def _preprocess(model: Any) -> Preprocess:
    shape: Any = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        return Preprocess.identity()
    layers = [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]
    scale = 255.0 if any(layer in SCALES for layer in layers[:2]) else 1.0
    last = shape[-1] in (1, 3)
    sides = shape[1:3] if last else shape[2:]
    resize = None if None in sides else (int(sides[0]), int(sides[1]))
    return Preprocess(resize=resize, scale=scale, channels=1 if 1 in (shape[-1] if last else shape[1],) else 3)
