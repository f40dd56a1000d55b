"""Models whose right explanation is known, explanations made by hand, and one metric at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid import api
from pellucid.core.explanation import Explanation, Kind
from pellucid.core.measurements import Measurement

SIDE = 6


class Linear(nn.Module):
    """s = Σ w x + b, a single value; w [channel, height, width]."""

    def __init__(self, w: Tensor, b: float = 0.0) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1, keepdim=True) + self.b


class Corner(nn.Module):
    """Looks at the mean of one corner only: the probability of class 0 is that of bright, of class 1 dark."""

    def __init__(self, side: int = 2, gain: float = 6.0) -> None:
        super().__init__()
        self.gain, self.side = nn.Parameter(torch.tensor(gain, dtype=torch.float64)), side

    def forward(self, x: Tensor) -> Tensor:
        bright = x[..., : self.side, : self.side].mean((1, 2, 3)) - 0.5
        return torch.stack([self.gain * bright, -self.gain * bright], 1)


class Corners(Corner):
    """One corner speaks for class 0, the opposite one against it."""

    def forward(self, x: Tensor) -> Tensor:
        least = x[..., : self.side, : self.side].mean((1, 2, 3)) - x[..., -self.side :, -self.side :].mean((1, 2, 3))
        return torch.stack([self.gain * least, -self.gain * least], 1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(channels: int = 3, side: int = SIDE, seed: int = 5) -> Tensor:
    return random(channels, side, side, seed=seed) - 0.4


def pictures(count: int = 3, channels: int = 3, side: int = SIDE, seed: int = 1) -> Tensor:
    return random(count, channels, side, side, seed=seed)


def explained(module: nn.Module, x: Tensor, values: Tensor, kind: Kind = Kind.CONTRIBUTION, **how: Any) -> Explanation:
    """An explanation of class 0 with these values, [batch, (channel,) height, width]."""
    from dataclasses import replace

    e = api.explain(api.wrap(module), x, ["gradient"], target=how.pop("target", 0), **how)[0]
    dims = e.dims if values.ndim == x.ndim else ("batch", "height", "width")
    return replace(e, values=values, dims=dims, kind=kind)


def measured(
    metric: Any, module: nn.Module, x: Tensor, values: Tensor, kind: Kind = Kind.CONTRIBUTION, **how: Any
) -> Measurement:
    """One metric of one map; `how` goes to `measure`, `rows` to the model, `target` to both."""
    rows, target = how.pop("rows", "auto"), how.pop("target", 0)
    e = explained(module, x, values, kind, target=target)
    return api.measure(api.wrap(module, rows=rows), e, [metric], inputs=x, **how)[0]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(got: Any, wanted: Any, tolerance: float = 1e-9) -> None:
    got, wanted = (one if isinstance(one, Tensor) else tensor(one) for one in (got, wanted))
    torch.testing.assert_close(got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
