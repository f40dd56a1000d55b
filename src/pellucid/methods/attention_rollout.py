"""Where the attention of a transformer leads, through all its layers."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, together
from pellucid.core.explanation import Kind
from pellucid.core.method import method, one_of
from pellucid.ops.attention import HEADS, KEYS, chained, followed, placed, readers, row_of


@method(
    kind=Kind.CAM,
    title="Attention Rollout",
    cite="abnar2020quantifying",
    needs=(Can.GRADIENT, Can.SITES),
    family="transformer",
)
class AttentionRollout:
    """R = Ā_L ··· Ā_1,  Ā = ½ A + ½ I with rows that sum to one    [Abnar & Zuidema 2020, eq. 1]

    A is one layer's attention, its heads joined; I stands for the residual connection. The map says from where the
    tokens that are read have drawn, not for which class: it is the same for all targets. The gradient serves only to
    find the tokens that the score is read from.

    heads  how the heads become one
    query  whose row is shown: `class` the first token's, `mean` that of all tokens, `auto` that of the tokens which
           the score is read from; they are kept in extras["readers"]
    """

    heads: str = one_of("mean", "max", "min", default="mean")
    query: str = one_of("auto", "class", "mean", default="auto")

    async def explain(self, q: Query) -> Attribution:
        layers = chained(q)
        found = await together(*(q.site(layer.site) for layer in layers))
        rolled = followed([self._mixed(attention) for attention, _ in found])
        weight = readers(found[-1], self.query)
        return placed(row_of(rolled[None], weight), layers[-1], {"readers": weight})

    def _mixed(self, attention: Tensor) -> Tensor:
        """Ā of one layer, [batch, tokens, tokens]."""
        joined = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}[self.heads](attention, HEADS)
        both = joined + torch.eye(joined.shape[KEYS], dtype=joined.dtype, device=joined.device)
        return both / both.sum(KEYS, keepdim=True)
