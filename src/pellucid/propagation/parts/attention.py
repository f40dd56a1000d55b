"""Attention written out: projections, scores, masks, softmax, and the weighted sum of the values."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Tap = Callable[[Tensor], Tensor]
"""Gets softmax weights [batch, heads, queries, keys] and returns what to use."""


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    tap: Tap | None = None,
) -> Tensor:
    """softmax(scale · q kᵀ + mask) v, as `F.scaled_dot_product_attention`; queries that may see nothing get 0."""
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    hidden, bias = (None, None) if attn_mask is None else _split(attn_mask, shown=True)
    if is_causal:
        hidden = _future(query, key)
    scaled = query * (1 / sqrt(query.shape[-1]) if scale is None else scale)
    return _weighted(_weights(scaled, key, hidden, bias), value, dropout_p, tap)[0]


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    tap: Tap | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Projections, attention per head, projection, as `F.multi_head_attention_forward`; rows are [length, batch, ·]."""
    single = query.dim() == 2
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    if single:
        q, k, v = q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)
    length, batch = q.shape[:2]
    added = 0
    if bias_k is not None and bias_v is not None:
        k, v = torch.cat([k, bias_k.expand(1, batch, -1)]), torch.cat([v, bias_v.expand(1, batch, -1)])
        added += 1
    q, k, v = (_heads(part, num_heads) for part in (q, k, v))
    k = k if static_k is None else static_k.view(batch, num_heads, *static_k.shape[1:])
    v = v if static_v is None else static_v.view(batch, num_heads, *static_v.shape[1:])
    if add_zero_attn:
        k, v = (torch.cat([part, part.new_zeros(batch, num_heads, 1, part.shape[-1])], 2) for part in (k, v))
        added += 1
    if is_causal and key_padding_mask is None and not need_weights:
        hidden, bias = _future(q, k), None
    else:
        hidden, bias = _joined(attn_mask, key_padding_mask, (batch, num_heads, length), added)
    scaled = q * (1 / sqrt(q.shape[-1]))
    found, shares = _weighted(_weights(scaled, k, hidden, bias), v, dropout_p if training else 0.0, tap)
    out = F.linear(found.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    out = out.squeeze(1) if single else out
    if not need_weights:
        return out, None
    shares = shares.mean(1) if average_attn_weights else shares
    return out, shares.squeeze(0) if single else shares


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: Any, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Queries, keys and values: in one product where all three come from the same rows."""
    if isinstance(weights, Tensor) and query is key and key is value:
        return F.linear(query, weights, bias).chunk(3, -1)
    each = weights.chunk(3) if isinstance(weights, Tensor) else weights
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), each, biases, strict=True))


def _heads(rows: Tensor, heads: int) -> Tensor:
    """[length, batch, heads · width] as [batch, heads, length, width]."""
    return rows.reshape(*rows.shape[:2], heads, -1).permute(1, 2, 0, 3)


def _split(mask: Tensor, *, shown: bool) -> tuple[Tensor | None, Tensor | None]:
    """A mask as what it hides (bool) and what it adds (finite numbers); `shown`: whether True means shown."""
    if mask.dtype is torch.bool:
        return (~mask if shown else mask), None
    hidden = mask.detach() == -inf
    if not bool(hidden.any()):
        return None, mask
    bias = mask.masked_fill(hidden, 0)
    return hidden, bias if mask.requires_grad or bool(bias.any()) else None


def _joined(
    mask: Tensor | None, padding: Tensor | None, shape: tuple[int, int, int], added: int
) -> tuple[Tensor | None, Tensor | None]:
    """The two masks of multi-head attention, where True means hidden, as [batch, heads, queries, keys]."""
    batch, heads, length = shape
    hidden = bias = None
    if mask is not None and mask.dim() == 3:
        mask = mask.view(batch, heads, length, -1)
    if padding is not None:
        padding = padding.view(batch, 1, 1, -1)
    for given in (mask, padding):
        if given is not None:
            more, plus = _split(F.pad(given, (0, added)) if added else given, shown=False)
            hidden = more if hidden is None else hidden if more is None else hidden | more
            bias = plus if bias is None else bias if plus is None else bias + plus
    return hidden, bias


def _future(query: Tensor, key: Tensor) -> Tensor:
    """1[key > query]: what causal attention hides."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).triu(1)


def _weights(scaled: Tensor, key: Tensor, hidden: Tensor | None, bias: Tensor | None) -> Tensor:
    """softmax(q kᵀ + bias) over the keys that are not hidden.

    What is hidden enters as the lowest finite number, which the softmax turns into exactly 0: infinities would become
    NaN in rules that multiply by the input.
    """
    scores = scaled @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    if hidden is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
    blind = hidden.all(-1, keepdim=True)
    return weights.masked_fill(blind, 0.0) if bool(blind.any()) else weights


def _weighted(weights: Tensor, value: Tensor, dropout: float, tap: Tap | None) -> tuple[Tensor, Tensor]:
    if dropout > 0:
        weights = F.dropout(weights, dropout, training=True)
    if tap is not None:
        rank, shape = weights.dim(), weights.shape
        four = weights[(None,) * (3 - rank)].unsqueeze(1) if rank < 4 else weights.flatten(0, rank - 4)
        weights = tap(four).reshape(shape)
    return weights @ value, weights
