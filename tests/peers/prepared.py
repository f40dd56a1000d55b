"""The prepared evaluation (batch-norms folded, channels-last) against the plain one: scores and maps."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from tests.peers.models import BUNDLED, case, distance

import pellucid
from pellucid import registry
from pellucid.core.explanation import Explanations

MODELS = (BUNDLED, "resnet18")
TOP = 2
SCORES = "scores of the two best classes"
METHODS = {
    "Gradient": ("gradient", {}),
    "SmoothGrad": ("smooth_grad", {"samples": 3}),
    "Integrated Gradients": ("integrated_gradients", {"steps": 4}),
    "Guided Backpropagation": ("guided_backprop", {}),
    "Grad-CAM": ("grad_cam", {}),
    "Guided Grad-CAM": ("guided_grad_cam", {}),
    "Occlusion": ("occlusion", {"window": 24, "stride": 24}),
}
TOLERANCES = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-5, 1e-2)}
"""For scores (largest difference) and for maps (relative L2): in single precision, rounding flips kinks."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One comparison."""

    what: str
    model: str
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.what}: {self.model}: {self.precision}"

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def tolerance(self) -> float:
        return TOLERANCES[self.dtype][self.what != SCORES]

    def measure(self) -> float:
        folded, written = (explained(self.model, self.dtype, how) for how in ("prepared", "plain"))
        if self.what == SCORES:
            first, second = (
                torch.tensor([e.target.score for e in es[:TOP]], dtype=torch.float64) for es in (folded, written)
            )
            return distance(first, second)
        place = TOP * list(METHODS).index(self.what)
        a, b = folded[place].values.double(), written[place].values.double()
        return float((a - b).norm() / b.norm())


def every() -> Iterator[Prepared]:
    """All rows, in the order of the table."""
    for model in MODELS:
        for dtype in TOLERANCES:
            for what in (SCORES, *METHODS):
                yield Prepared(what, model, dtype)


@cache
def explained(model: str, dtype: torch.dtype, how: str) -> Explanations:
    """Every method for the two best classes."""
    c = case(model)
    handle = pellucid.wrap(copy.deepcopy(c.module).to(dtype), evaluate=how, emits="logits")  # pyright: ignore
    methods = [registry.make(name, params) for name, params in METHODS.values()]
    got = pellucid.explain(handle, c.x.to(dtype), methods, top_k=TOP, output="logit")
    if not got[0].record.model.evaluator.startswith(how):
        raise ValueError(f"asked for {how}, evaluated {got[0].record.model.evaluator}")
    return got
