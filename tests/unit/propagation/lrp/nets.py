"""Relevance through whole models, without the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.propagation import Audit, Composite, Intercept, inventory


def relevance(model: nn.Module, x: Tensor, composite: Composite, target: int = 1) -> tuple[Tensor, Tensor, Audit]:
    """What arrives at the input, the score it started from, and the books."""
    composite = replace(composite, manner=replace(composite.manner, full=True))
    leaf = x.clone().requires_grad_()
    laid = composite.laid(inventory(model, lambda: model(leaf), composite))
    with Intercept(model, laid) as seen:
        out = model(leaf)
    y = out[:, target]
    (r,) = torch.autograd.grad(y, leaf, y.detach())
    seen.verify()
    return r, y.detach(), seen.audit


def to_constants(audit: Audit) -> float:
    """What biases, class tokens and other constants absorbed."""
    return sum(float(entry.to_constants or 0.0) for entry in audit)


@torch.no_grad()
def filled(build: Any, seed: int = 0) -> Any:
    """A model with weights from a local generator, in double precision; norms far from the identity, biases small."""
    with torch.device("meta"):
        module = build()
    module = module.to_empty(device="cpu").double().eval().requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if not p.is_floating_point():
            p.zero_()
            continue
        noise = torch.randn(p.shape, dtype=p.dtype, generator=draw)
        if p.ndim > 1:
            p.copy_(noise * (2 / p[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            p.copy_(1 + noise.square() / 4)
        elif p.ndim == 1 and name.endswith("weight"):
            p.copy_(1 + noise / 5)
        else:
            p.copy_(noise / 5)
    return module
