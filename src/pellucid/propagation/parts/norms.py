"""Normalisations written out: means, differences, squares, and the root that divides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """(x − mean) / √(mean of (x − mean)² + ε) over the last axes, times weight, plus bias."""
    return _affine(_whitened(input, list(range(-len(normalized_shape), 0)), eps), weight, bias)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """The same over groups of channels and all places."""
    grouped = input.reshape(len(input), num_groups, -1)
    return _affine(_whitened(grouped, [-1], eps).reshape(input.shape), _channels(weight, input), _channels(bias, input))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same over the places of each channel; with running statistics it is what batch norm is."""
    if not use_input_stats:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    whitened = _whitened(input, list(range(2, input.dim())), eps)
    return _affine(whitened, _channels(weight, input), _channels(bias, input))


def native_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """The same with the arguments of `torch.instance_norm`."""
    return instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / √(mean of x² + ε) over the last axes, times weight."""
    small = torch.finfo(input.dtype).eps if eps is None else eps
    root = (input.square().mean(list(range(-len(normalized_shape), 0)), keepdim=True) + small).rsqrt()
    return _affine(input * root, weight, None)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """x / max(‖x‖, ε)."""
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + α · mean of x² over neighbouring channels)^β."""
    squares = input.square().flatten(2).unsqueeze(1)
    near = F.avg_pool2d(F.pad(squares, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1)
    return input / (near.squeeze(1).reshape(input.shape) * alpha + k).pow(beta)


def var_mean(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    return input.var(*args, **kwargs), _mean(input, *args, **kwargs)


def std_mean(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    return input.std(*args, **kwargs), _mean(input, *args, **kwargs)


def _mean(input: Tensor, dim: Any = None, *_: Any, keepdim: bool = False, **__: Any) -> Tensor:
    return input.mean() if dim is None or isinstance(dim, bool) else input.mean(dim, keepdim)


def _whitened(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


def _channels(numbers: Tensor | None, x: Tensor) -> Tensor | None:
    return None if numbers is None else numbers.view(-1, *[1] * (x.dim() - 2))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
