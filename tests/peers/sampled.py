"""Methods that draw at random: the means of both libraries, and how many standard errors they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tests.peers.models import plain
from tests.peers.with_captum import attr
from tests.unit.propagation.nets import Net
from tests.unit.propagation.nets import row as random_row
from torch import Tensor, nn

import pellucid
from pellucid import registry

SAMPLES, SPREAD = 4000, 0.1
X = random_row(1, 2, 5, 5, seed=7)
GROUNDS = (0.5, -1.0)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Peers draw from the global random states: set them, and put them back."""
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


class Double(nn.Module):
    """Takes rows in double precision."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


def gradient_explainer(net: Net) -> Tensor:
    import shap

    grounds = torch.stack([torch.full_like(X[0], g) for g in GROUNDS])
    twice = nn.Sequential(Double(), net)  # shap makes single precision of the points
    made = shap.GradientExplainer(twice, grounds, batch_size=500)
    return torch.as_tensor(made.shap_values(X.clone(), nsamples=SAMPLES, rseed=1))[..., 1]


LIMIT = 6.0
"""Standard errors of the difference, for the worst of 50 values."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One comparison of means."""

    title: str
    peer: str
    method: Any
    theirs: Callable[[Net], Tensor]

    def __str__(self) -> str:
        return f"{self.title}: {self.peer}"

    def apart(self) -> tuple[float, float]:
        """(largest distance in standard errors of the difference, largest standard error relative to all values)."""
        net = Net(torch.tanh)
        got = pellucid.explain(plain(net), X, [self.method], target=1, output="logit")[0]
        with drawing(1):
            other = self.theirs(net).detach()
        error = got.std_error
        if error is None:
            raise ValueError(f"{self.title} without standard errors")
        both = (2 * error.square()).sqrt()  # as many draws on either side
        return float(((got.values - other).abs() / both).max()), float(error.max() / got.values.abs().max())


SMOOTH = registry.make("smooth_grad", {"samples": SAMPLES, "spread": SPREAD})
EXPECTED = registry.make("expected_gradients", {"samples": SAMPLES, "baselines": GROUNDS})
COMPARED = (
    Sampled("SmoothGrad", "Captum NoiseTunnel", SMOOTH, noise_tunnel),
    Sampled("Expected Gradients", "Captum GradientShap", EXPECTED, gradient_shap),
    Sampled("Expected Gradients", "shap GradientExplainer", EXPECTED, gradient_explainer),
)
