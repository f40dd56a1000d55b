"""The prepared form of a twin: batch-norms folded into the layers that feed them, memory laid out channels-last."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.twin import again

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold(twin: nn.Module, pairs: Sequence[tuple[str, str]]) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy in which every pair (layer, norm) is one layer, and the names of the layers that were changed.

    w' = w γ/√(σ² + ε) per output channel, b' = (b − μ) γ/√(σ² + ε) + β

    Layers whose weight is computed whenever it is read (weight-norm, spectral norm) are left as they are.
    """
    folded = again(twin)
    changed: list[str] = []
    for layer_name, norm_name in pairs:
        layer: Any = folded.get_submodule(layer_name)
        norm: Any = folded.get_submodule(norm_name)
        rest = _rest(norm)
        if rest is None or norm.running_mean is None or norm.running_var is None or "weight" not in layer._parameters:
            continue
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        weight: Tensor = layer.weight
        bias = 0.0 if layer.bias is None else layer.bias.double()
        shift = (bias - norm.running_mean.double()) * scale
        if norm.bias is not None:
            shift = shift + norm.bias.double()
        shape = (-1, *(1,) * (weight.ndim - 1))
        layer.weight = nn.Parameter((weight.double() * scale.view(shape)).to(weight), requires_grad=False)
        layer.bias = nn.Parameter(shift.to(weight), requires_grad=False)
        _put(folded, norm_name, rest)
        changed.append(layer_name)
    return folded, tuple(changed)


def _rest(norm: nn.Module) -> nn.Module | None:
    """What is left of a norm's module when the norm itself is gone: nothing, or the activation that timm puts there."""
    if type(norm) in NORMS:
        return nn.Identity()
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(drop, nn.Module) and isinstance(act, nn.Module):
        return nn.Sequential(OrderedDict(drop=drop, act=act))  # under the names they had, which sites may use
    return None


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent) if parent else root, child, module)


def channels_last(module: nn.Module) -> None:
    """Lay four-dimensional weights out channels-last, in place on this private copy."""
    for each in module.modules():
        for name, parameter in each._parameters.items():
            if parameter is not None and parameter.ndim == 4:
                laid = parameter.detach().contiguous(memory_format=torch.channels_last)
                each._parameters[name] = nn.Parameter(laid, requires_grad=False)


def disagreement(a: Tensor, b: Tensor) -> float:
    """Largest difference of two outputs, relative to the largest output."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny))


TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-2, torch.bfloat16: 5e-2}
