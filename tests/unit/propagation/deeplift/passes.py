"""Two passes and the multipliers between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.propagation import Intercept
from pellucid.propagation.deeplift import Multipliers


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@torch.no_grad()
def filled(module: nn.Module, seed: int = 1, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The module in eval mode, its numbers from a local generator; norms are far from the identity."""
    draw = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if p.is_floating_point():
            noise = torch.randn(p.shape, dtype=torch.float64, generator=draw)
            scale = (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.3
            p.copy_(1 + noise.square() / 4 if name.endswith("running_var") else noise * scale)
            if p.ndim == 1 and name.endswith("weight"):
                p.add_(1)
    return module.to(dtype)


def multipliers(
    model: nn.Module, x: Tensor, r: Tensor, rules: Multipliers | None = None, target: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """m at the input, s(x) and s(r)."""
    rules = rules or Multipliers()
    with Intercept(model, rules) as before:
        of_r = model(r.clone().requires_grad_())[:, target].detach()
    x = x.clone().requires_grad_()
    with Intercept(model, rules, against=before.reference) as seen:
        of_x = model(x)[:, target]
    (m,) = torch.autograd.grad(of_x.sum(), x)
    seen.verify()
    return m, of_x.detach(), of_r


def gap(model: nn.Module, x: Tensor, r: Tensor, rules: Multipliers | None = None, floor: float = 1e-3) -> float:
    """How far Σ m Δx is from Δs, relative to max(|Δs|, floor · s): the largest of all rows."""
    m, of_x, of_r = multipliers(model, x, r, rules)
    change = of_x - of_r
    lost = ((m * (x - r)).flatten(1).sum(1) - change).abs()
    return float((lost / change.abs().maximum(floor * of_x.abs().maximum(of_r.abs()))).max())
