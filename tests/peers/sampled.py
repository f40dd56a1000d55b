"""Methods that draw at random: the means of both libraries, and how many standard errors they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tests.peers.models import plain
from tests.peers.with_captum import attr
from tests.unit.propagation.nets import Net
from tests.unit.propagation.nets import row as random_row
from torch import Tensor

import pellucid
from pellucid import registry

SAMPLES, SPREAD = 4000, 0.1
X = random_row(1, 2, 5, 5, seed=7)
GROUNDS = (0.5, -1.0)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Captum draws from the global random states: set them, and put them back."""
    numbers = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numbers)


def noise_tunnel(net: Net) -> Tensor:
    made = attr().NoiseTunnel(attr().Saliency(net))
    std = SPREAD * float(X.max() - X.min())
    kept: dict[str, Any] = {"nt_type": "smoothgrad", "nt_samples": SAMPLES, "stdevs": std, "target": 1, "abs": False}
    return made.attribute(X.clone(), **kept)


def gradient_shap(net: Net) -> Tensor:
    grounds = torch.stack([torch.full_like(X[0], g) for g in GROUNDS])
    return attr().GradientShap(net).attribute(X.clone(), grounds, n_samples=SAMPLES, stdevs=0.0, target=1)


COMPARED: dict[str, tuple[Any, Callable[[Net], Tensor], str]] = {
    "SmoothGrad": (registry.make("smooth_grad", {"samples": SAMPLES, "spread": SPREAD}), noise_tunnel, "NoiseTunnel"),
    "Expected Gradients": (
        registry.make("expected_gradients", {"samples": SAMPLES, "baselines": GROUNDS}),
        gradient_shap,
        "GradientShap",
    ),
}
LIMIT = 6.0
"""Standard errors of the difference, for the worst of 50 values."""


def apart(title: str) -> tuple[float, float]:
    """(largest distance in standard errors of the difference, largest standard error relative to the largest value)."""
    net = Net(torch.tanh)
    method, theirs, _ = COMPARED[title]
    got = pellucid.explain(plain(net), X, [method], target=1, output="logit")[0]
    with drawing(1):
        other = theirs(net).detach()
    error = got.std_error
    if error is None:
        raise ValueError(f"{title} without standard errors")
    both = (2 * error.square()).sqrt()  # as many draws on either side
    return float(((got.values - other).abs() / both).max()), float(error.max() / got.values.abs().max())
