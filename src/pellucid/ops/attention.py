"""What methods that follow attention share: which attentions can be chained, and from tokens back to places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.errors import UnsupportedModel
from pellucid.core.explanation import HEIGHT, TOKEN, WIDTH
from pellucid.core.site import Attention, Site

HEADS, QUERIES, KEYS = -3, -2, -1
OTHERWISE = "use Grad-CAM or its relatives, which read any grid of tokens, or a gradient method"


def chained(q: Query) -> tuple[Attention, ...]:
    """The attentions of a model in which every token sees all others, the same tokens in every layer.

    Raises UnsupportedModel, with the reason, for a model without attention, with windows, with attention from other
    tokens, or with a number of tokens that changes on the way.
    """
    found = q.attentions
    if not found:
        raise UnsupportedModel("the model computes no attention", "a transformer", OTHERWISE)
    first = found[0]
    for one in found:
        if one.windows > 1:
            raise UnsupportedModel(
                f"layer {one.site} attends inside {one.windows} windows",
                "attention from every token to all others, which can be followed from layer to layer",
                OTHERWISE,
            )
        if one.queries != one.keys:
            raise UnsupportedModel(
                f"layer {one.site} attends from {one.queries} tokens to {one.keys} others",
                "attention of tokens to each other, which can be followed from layer to layer",
                OTHERWISE,
            )
        if one.keys != first.keys:
            raise UnsupportedModel(
                f"{first.keys} tokens in layer {first.site} and {one.keys} in layer {one.site}",
                "the same tokens in every layer, so that attention can be followed",
                OTHERWISE,
            )
    return found


def followed(steps: Sequence[Tensor]) -> Tensor:
    """The matrix product M_L ··· M_2 M_1 of [..., tokens, tokens], given from the first layer to the last."""
    product = steps[0]
    for step in steps[1:]:
        product = step @ product
    return product


def seen(attention: Tensor) -> Tensor:
    """Which tokens anybody attends to, bool [batch, tokens]: all but padding.

    attention: the weights A of one layer, [batch, heads, queries, keys]
    """
    return (attention != 0).any(QUERIES).any(1)


def readers(last: tuple[Tensor, Tensor], query: str) -> Tensor:
    """Weights of the tokens whose rows are shown, [target, batch, tokens]; they sum to one.

    last: A and ∂s/∂A of the last layer, [batch, heads, queries, keys] and [target, batch, ...]. With the query `auto`
    all tokens count alike whose attention there can move the score: the class token where the score is read from it
    alone, all patches where their mean is taken. Where no token can, all weights are zero. `class` is the first token,
    `mean` are all tokens but padding.
    """
    attention, slope = last
    if query == "auto":
        chosen = (slope != 0).any(KEYS).any(HEADS + 1)
    else:
        chosen = seen(attention).expand(len(slope), -1, -1).clone()
        if query == "class":
            chosen[..., 1:] = False
    weight = chosen.to(slope)
    return weight / weight.sum(-1, keepdim=True).clamp_min(1)


def row_of(matrix: Tensor, weight: Tensor) -> Tensor:
    """Σ_i w_i M_ij, [target, batch, tokens].  matrix: [target or 1, batch, tokens, tokens]."""
    return torch.einsum("tbi,tbij->tbj", weight.to(matrix), matrix.expand(len(weight), *matrix.shape[1:]))


def brought(steps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Σ_i w_i ((I + M_L) ··· (I + M_1) − I)_ij, [target, batch, tokens], for M given from the first layer to the last.

    What is brought is added up by itself: beside an identity, numbers below its rounding would be lost.
    """
    row, brought = weight.to(steps[0]), torch.zeros_like(weight, dtype=steps[0].dtype)
    for step in reversed(steps):
        brought = brought + torch.einsum("tbi,tbij->tbj", row + brought, step)
    return brought


def placed(tokens: Tensor, like: Attention, extras: dict[str, Tensor] | None = None) -> Attribution:
    """Values of tokens [target, batch, tokens] on the grid of the picture, without the tokens in front of it.

    Tokens that are no picture stay a list, with the axis `token`.
    """
    if like.grid is None:
        return attribution(tokens, dims=(TOKEN,), extras=extras)
    grid = tokens[..., like.prefix :].unflatten(-1, like.grid)
    return attribution(grid, dims=(HEIGHT, WIDTH), extras=extras)


def blocks(q: Query, layers: Sequence[Attention]) -> tuple[Site, ...]:
    """Where the tokens leave the block of every attention: the output of the largest layer around it alone.

    A single attention's block is the whole model, for which its own layer stands. Raises UnsupportedModel where
    several attentions run in one layer, so that no layer's output stands between them.
    """
    if len(layers) == 1:
        return (layers[0].site,)
    names = [one.site.name for one in layers]
    return tuple(_block(one.site, names, q.layers) for one in layers)


def _block(site: Site, names: Sequence[str], known: Sequence[Site]) -> Site:
    parts = site.name.split(".")
    around = [".".join(parts[:length]) for length in range(1, len(parts) + 1)] if site.name else []
    if site.call is not None:  # a layer that several blocks share: its calls are the blocks
        alone = [name for name in around if Site(name, site.call) in known]
    else:
        alone = [name for name in around if all(_inside(other, name) == (other == site.name) for other in names)]
    if not alone:
        raise UnsupportedModel(
            f"several attentions run in layer {site.name or 'of the model itself'}",
            "a model of blocks, each with one attention and an output of its own",
            "use Generic Attention Explainability, which needs no blocks",
        )
    return Site(alone[0], site.call)


def _inside(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")
