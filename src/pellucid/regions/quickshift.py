"""Superpixels by quickshift, as the Python `lime` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import PellucidError
from pellucid.regions.given import numbered
from pellucid.regions.spelled import Spelled, more_than

SEED = 42
"""For ties; part of the definition, so that a picture has one segmentation."""


@dataclass(frozen=True, slots=True)
class Quickshift(Spelled):
    """Every pixel joins its nearest neighbour of higher density in colour and place    [Vedaldi & Soatto 2008]

    scikit-image does the work. The defaults are those of the Python `lime`.

    kernel_size  width of the Gaussian that estimates density, in pixels; larger gives fewer segments
    max_dist     longest link
    ratio        weight of colour against place, 0 … 1
    """

    kernel_size: float = 4
    max_dist: float = 200
    ratio: float = 0.2

    def __post_init__(self) -> None:
        more_than(0, kernel_size=self.kernel_size, max_dist=self.max_dist)
        more_than(-1e-300, ratio=self.ratio)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Raises PellucidError where scikit-image is not installed."""
        try:
            from skimage import segmentation
        except ImportError as error:
            raise PellucidError(
                "quickshift needs scikit-image, which is not installed",
                "scikit-image",
                "pip install scikit-image, or regions='slic', which needs nothing",
            ) from error
        quickshift: Any = segmentation.quickshift  # its types call widths whole numbers
        found: list[Tensor] = []
        for one in pixels.detach().double().cpu():
            seen = one.expand(3, *one.shape[1:]) if len(one) == 1 else one
            labels = quickshift(
                seen.permute(1, 2, 0).numpy(),
                ratio=self.ratio,
                kernel_size=self.kernel_size,
                max_dist=self.max_dist,
                convert2lab=len(seen) == 3,
                rng=SEED,
                channel_axis=-1,
            )
            found.append(torch.from_numpy(labels))
        return numbered(torch.stack(found))
