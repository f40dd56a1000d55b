"""Keras on the torch backend, and small nets written twice: in Keras, and in torch with the same weights."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("KERAS_BACKEND", "torch")  # read once, when keras is imported
keras: Any = pytest.importorskip("keras", reason="keras is not installed")
if keras.backend.backend() != "torch":
    pytest.skip(f"keras runs on {keras.backend.backend()} here", allow_module_level=True)
L: Any = keras.layers


def shaken(model: Any, seed: int = 0) -> Any:
    """Weights that no symmetry hides: biases and means that are not zero, variances that are not one."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        size = np.prod(variable.shape[:-1]) ** 0.5 if len(variable.shape) > 1 else 2
        value = random.normal(size=variable.shape) * 1.5 / size
        variable.assign(0.5 + np.abs(value) if "variance" in variable.path else value)
    return model


def layers() -> list[Any]:
    """Every kind of layer of a small classifier of 12 × 12 pictures."""
    return [
        L.Input((12, 12, 3)),
        L.Conv2D(4, 3, use_bias=False, name="first"),
        L.BatchNormalization(name="norm"),
        L.ReLU(name="relu"),
        L.DepthwiseConv2D(3, padding="same", name="deep"),
        L.BatchNormalization(scale=False, name="norm2"),
        L.ReLU(6.0, name="relu6"),
        L.SeparableConv2D(6, 3, strides=2, padding="same", activation="relu", name="last"),
        L.MaxPooling2D(name="pool"),
        L.Dropout(0.25, name="drop"),
        L.Flatten(name="flat"),
        L.Dense(8, name="dense"),
        L.BatchNormalization(name="norm3"),
        L.Activation("relu", name="act"),
        L.Dense(5, activation="softmax", name="top"),
    ]


@contextmanager
def precision(dtype: str) -> Generator[None]:
    """What Keras computes in meanwhile; on torch its matrix products and norms stay in float32 all the same."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def classifier() -> Any:
    return shaken(keras.Sequential(layers(), name="small"))


class InTorch(nn.Module):
    """The same net in torch."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-3)
        self.deep, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4, eps=1e-3)
        self.depth, self.last = nn.Conv2d(4, 4, 3, stride=2, groups=4, bias=False), nn.Conv2d(4, 6, 1)
        self.dense, self.norm3, self.top = nn.Linear(24, 8), nn.BatchNorm1d(8, eps=1e-3), nn.Linear(8, 5)
        self.act = nn.ReLU()
        self.double().eval()
        weights = {v.path.removeprefix("small/"): v.value.detach().double() for v in model.variables}

        def put(tensor: Tensor, value: Tensor) -> None:
            tensor.data.copy_(value.reshape(tensor.shape))

        put(self.first.weight, weights["first/kernel"].permute(3, 2, 0, 1))
        put(self.deep.weight, weights["deep/kernel"].permute(2, 3, 0, 1))
        put(self.deep.bias, weights["deep/bias"])
        put(self.depth.weight, weights["last/depthwise_kernel"].permute(2, 3, 0, 1))
        put(self.last.weight, weights["last/pointwise_kernel"].permute(3, 2, 0, 1))
        put(self.last.bias, weights["last/bias"])
        for name in ("dense", "top"):
            put(getattr(self, name).weight, weights[f"{name}/kernel"].t())
            put(getattr(self, name).bias, weights[f"{name}/bias"])
        for name in ("norm", "norm2", "norm3"):
            norm = getattr(self, name)
            put(norm.running_mean, weights[f"{name}/moving_mean"])
            put(norm.running_var, weights[f"{name}/moving_variance"])
            put(norm.bias, weights[f"{name}/beta"])
            put(norm.weight, weights.get(f"{name}/gamma", torch.ones_like(norm.weight)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu6(self.norm2(self.deep(x)))
        x = self.act(self.last(self.depth(F.pad(x, (0, 1, 0, 1)))))
        x = F.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1)
        return torch.softmax(self.top(F.relu(self.norm3(self.dense(x)))), 1)


def rows(count: int = 2, *, seed: int = 1) -> np.ndarray:
    """Pictures as Keras takes them."""
    return np.random.default_rng(seed).random((count, 12, 12, 3))
