"""Attention that counts for a class: Chefer, Gur and Wolf's relevance of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, together
from pellucid.core.explanation import Kind
from pellucid.core.method import method, one_of
from pellucid.ops.attention import HEADS, KEYS, chained, followed, placed, readers, row_of

NEEDS = (Can.GRADIENT, Can.SITES)


@method(
    kind=Kind.CAM, title="Generic Attention Explainability", cite="chefer2021generic", needs=NEEDS, family="transformer"
)
class GenericAttention:
    """R ← R + E_h[(∂s/∂A ⊙ A)⁺] R, from R = I, layer after layer    [Chefer, Gur & Wolf, ICCV 2021, eq. 5–6]

    E_h is the mean over the heads of one layer's attention A. Only what speaks for the target is followed. Shown is
    R − I, what tokens brought to others: the tokens that are read keep no credit for being there.

    query  whose row is shown: `class` the first token's, `mean` that of all tokens, `auto` that of the tokens which
           the score is read from; they are kept in extras["readers"]
    """

    query: str = one_of("auto", "class", "mean", default="auto")

    async def explain(self, q: Query) -> Attribution:
        layers = chained(q)
        found = await together(*(q.site(layer.site) for layer in layers))
        steps = [with_identity((slope * attention).relu().mean(HEADS)) for attention, slope in found]
        weight = readers(*found[-1], self.query)
        return placed(row_of(followed(steps), weight) - weight, layers[-1], {"readers": weight})


def with_identity(matrix: Tensor) -> Tensor:
    """I + M, for matrices [..., tokens, tokens]: the residual connection beside what attention brings."""
    return matrix + torch.eye(matrix.shape[KEYS], dtype=matrix.dtype, device=matrix.device)
