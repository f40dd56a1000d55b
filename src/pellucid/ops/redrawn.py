"""Models with other weights: some layers redrawn at their own scale, from the output down or each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

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

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = {path: t for path, t in weights.items() if path.rpartition(".")[0] in self.modules}
        return {path: self._drawn(path, t) for path, t in own.items() if t.is_floating_point() and t.numel()}

    def _drawn(self, path: str, t: Tensor) -> Tensor:
        draw = generator(self.seed, "redrawn", path)
        old = t.detach().to("cpu", torch.float64)
        if t.numel() == 1:
            new = torch.randn(old.shape, generator=draw, dtype=torch.float64) * old.abs()
        elif t.ndim == 1:
            new = old[torch.randperm(len(old), generator=draw)]
        else:
            new = old.mean() + old.std() * torch.randn(old.shape, generator=draw, dtype=torch.float64)
        return new.to(t)


def redrawn(modules: Sequence[str], seed: int) -> Variant:
    """The model with these modules redrawn."""
    change = Redrawn(frozenset(modules), seed)
    return Variant(("redrawn", change), change)


def stages(count: int, steps: int) -> list[int]:
    """How many of the modules, counted from the output, are redrawn at every step: one, …, all; each once."""
    if steps == 1 or count < 2:
        return [count]
    return sorted({round(1 + (count - 1) * k / (steps - 1)) for k in range(steps)})


def cascade(modules: Sequence[str], steps: int, seed: int) -> list[Variant]:
    """From the output down: the last module, more and more, all.  modules: in the order in which they run"""
    return [redrawn(modules[len(modules) - n :], seed) for n in stages(len(modules), steps)]


def one_by_one(modules: Sequence[str], steps: int, seed: int) -> list[Variant]:
    """As many parts of the model, each redrawn by itself, from the output down."""
    ends = [0, *stages(len(modules), steps)]
    last = len(modules)
    return [redrawn(modules[last - b : last - a], seed) for a, b in pairwise(ends)]
