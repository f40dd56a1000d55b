"""Models with other weights: some layers redrawn at their own scale, from the output down or each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Variant
from pellucid.core.points import generator


@dataclass(frozen=True, slots=True)
class Redrawn:
    """New weights for some modules; of an equal seed every tensor is redrawn alike, whatever else is.

    Kernels and matrices come from a normal with the mean and the standard deviation of the tensor. Biases, scales of
    norms and their statistics are shuffled, so that variances stay variances; a lone number w comes from N(0, w²).
    """

    modules: frozenset[str]
    seed: int
    drawn: dict[Any, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """What was drawn, for others of an equal seed that redraw the same tensors."""

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = {path: t for path, t in weights.items() if path.rpartition(".")[0] in self.modules}
        return {path: self._drawn(path, t) for path, t in own.items() if t.is_floating_point() and t.numel()}

    def _drawn(self, path: str, t: Tensor) -> Tensor:
        key = (self.seed, path, t.data_ptr(), t._version, t.dtype)
        if key not in self.drawn:
            self.drawn[key] = self._draw(path, t)
        return self.drawn[key]

    def _draw(self, path: str, t: Tensor) -> Tensor:
        draw = generator(self.seed, "redrawn", path)
        old = t.detach().to("cpu", torch.float64)
        if t.numel() == 1:
            new = torch.randn(old.shape, generator=draw, dtype=torch.float64) * old.abs()
        elif t.ndim == 1:
            new = old[torch.randperm(len(old), generator=draw)]
        else:
            new = old.mean() + old.std() * torch.randn(old.shape, generator=draw, dtype=torch.float64)
        return new.to(t)


def redrawn(modules: Sequence[str], seed: int, drawn: dict[Any, Tensor] | None = None) -> Variant:
    """The model with these modules redrawn.

    drawn  tensors that other variants have redrawn, to which this one's are added
    """
    change = Redrawn(frozenset(modules), seed, {} if drawn is None else drawn)
    return Variant(("redrawn", change), change, modules=change.modules)


def stages(count: int, steps: int) -> list[int]:
    """How many of the modules, counted from the output, are redrawn at every step: one, …, all; each once."""
    if steps == 1 or count < 2:
        return [count]
    return sorted({round(1 + (count - 1) * k / (steps - 1)) for k in range(steps)})


def cascade(modules: Sequence[str], steps: int, seed: int) -> list[Variant]:
    """From the output down: the last module, more and more, all.  modules: in the order in which they run"""
    drawn: dict[Any, Tensor] = {}
    return [redrawn(modules[len(modules) - n :], seed, drawn) for n in stages(len(modules), steps)]


def one_by_one(modules: Sequence[str], steps: int, seed: int) -> list[Variant]:
    """As many parts of the model, each redrawn by itself, from the output down."""
    ends = [0, *stages(len(modules), steps)]
    last = len(modules)
    return [redrawn(modules[last - b : last - a], seed) for a, b in pairwise(ends)]
