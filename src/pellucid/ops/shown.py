"""Pictures of which a soft mask shows a part: the points of Score-CAM and its relatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.points import Points, normal
from pellucid.ops.resize import resize


@dataclass(frozen=True, slots=True, eq=False)
class Shown(Points):
    """Blends m ⊙ x + (1 − m) ⊙ fill,  m = scale_j · u(maps_k) + std · n_j,  n_j ~ N(0, 1).

    u enlarges a map to the size of x and then stretches it to [0, 1]; a map that is the same everywhere becomes 0.
    The points are ordered by map, then by scale: point k · len(scales) + j. Only the rows asked for are built.

    x: [batch, channel, height, width]; maps: [batch, count, h, w]; fill: what hidden places show, [batch or 1, ...],
    in the units of x; scales: one per draw; std, seed: the noise on the mask, which depends on (seed, j) alone.
    """

    own = True
    x: Tensor
    maps: Tensor
    fill: Tensor
    scales: tuple[float, ...] = (1.0,)
    std: float = 0.0
    seed: int = 0

    @property
    def count(self) -> int:
        return self.maps.shape[1] * len(self.scales)

    @property
    def like(self) -> Tensor:
        return self.x

    def masks(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        """The masks of points k0..k1 for rows b0..b1: [k1 - k0, b1 - b0, 1, height, width]."""
        draws, size = len(self.scales), (self.x.shape[-2], self.x.shape[-1])
        first = k0 // draws
        plain = stretched(resize(self.maps[b0:b1, first : (k1 - 1) // draws + 1].transpose(0, 1), size))
        rows: list[Tensor] = []
        for k in range(k0, k1):
            mask = plain[k // draws - first] * self.scales[k % draws]
            noise = self.std * normal(size, self.seed, k % draws, like=mask) if self.std else 0
            rows.append(mask + noise)
        return torch.stack(rows)[:, :, None]

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        mask = self.masks(k0, k1, b0, b1).to(self.x.dtype)
        return torch.lerp(fill, self.x[b0:b1], mask).flatten(0, 1)


def stretched(maps: Tensor) -> Tensor:
    """Every map [..., height, width] stretched to [0, 1]; one that is the same everywhere becomes 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    up = maps - low
    return (up / (high - low)).where(high > low, up)
