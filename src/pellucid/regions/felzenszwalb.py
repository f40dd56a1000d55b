"""Graph-based segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.ops.diffusion import diffused
from pellucid.ops.segments import felzenszwalb
from pellucid.regions.spelled import Spelled, counts, more_than


@dataclass(frozen=True, slots=True)
class Felzenszwalb(Spelled):
    """Segments that are more unlike their neighbours than unlike in themselves    [Felzenszwalb & Huttenlocher 2004]

    scale  preference for large segments, for colours from 0 to 255 as scikit-image counts
    sigma  blur before, in pixels
    least  smallest segment, in pixels
    """

    scale: float = 100.0
    sigma: float = 0.8
    least: int = 20

    def __post_init__(self) -> None:
        more_than(0, scale=self.scale)
        more_than(-1e-300, sigma=self.sigma)
        counts(least=self.least)

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.stack([self._one(one) for one in pixels.detach().double().cpu()])

    def _one(self, picture: Tensor) -> Tensor:
        smooth = diffused(picture, self.sigma) if self.sigma else picture
        seen = np.ascontiguousarray(smooth.permute(1, 2, 0).numpy())
        return torch.from_numpy(felzenszwalb(seen, [self.scale / 255], self.least)[0])
