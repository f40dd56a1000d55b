"""Soft random masks: coarse random grids, enlarged and shifted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.points import Points, generator


@dataclass(frozen=True, slots=True, eq=False)
class Patches(Points):
    """Blends m_k ⊙ x + (1 − m_k) ⊙ fill with the masks of RISE    [Petsiuk et al. 2018, §3.2]

    Mask k is a grid of coins, enlarged bilinearly by the size c of a cell to (grid + 1) cells and cut out at a place
    of its own. Masks are made when they are needed.

    x: [batch, channel, height, width]; coins: bool [count, grid, grid]; shifts: int64 [count, 2], 0 … c − 1; fill:
    what hidden places show, [batch or 1, ...], in the units of x.
    """

    x: Tensor
    coins: Tensor
    shifts: Tensor
    fill: Tensor

    @staticmethod
    def drawn(x: Tensor, fill: Tensor, samples: int, grid: int, share: float, seed: int) -> Patches:
        """`samples` masks of grid × grid coins that show with chance `share`."""
        draw = generator(seed, "patches", samples, grid)
        coins = torch.rand(samples, grid, grid, generator=draw, dtype=torch.float64) < share
        places = torch.rand(samples, 2, generator=draw, dtype=torch.float64)
        sizes = torch.tensor([-(-n // grid) for n in x.shape[-2:]])
        return Patches(x, coins, (places * sizes).long(), fill)

    @property
    def count(self) -> int:
        return len(self.coins)

    @property
    def like(self) -> Tensor:
        return self.x

    def masks(self, k0: int, k1: int) -> Tensor:
        """Masks k0..k1, [k1 - k0, height, width], in the dtype of x."""
        height, width = self.x.shape[-2:]
        grid = self.coins.shape[-1]
        size = [(grid + 1) * -(-n // grid) for n in (height, width)]
        coins = self.coins[k0:k1, None].to(self.x)
        large = F.interpolate(coins, size=size, mode="bilinear", align_corners=False)[:, 0]
        down = self.shifts[k0:k1, :1].to(self.x.device) + torch.arange(height, device=self.x.device)
        across = self.shifts[k0:k1, 1:].to(self.x.device) + torch.arange(width, device=self.x.device)
        return large.gather(1, down[:, :, None].expand(-1, -1, size[1])).gather(
            2, across[:, None, :].expand(-1, height, -1)
        )

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        return torch.lerp(fill, self.x[b0:b1], self.masks(k0, k1)[:, None, None]).flatten(0, 1)
