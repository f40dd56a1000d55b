"""Attention that counts for a class: Chefer, Gur and Wolf's relevance of tokens."""

from __future__ import annotations

import torch

from pellucid.core.ask import Attribution, Can, Query, Where, together
from pellucid.core.explanation import Kind
from pellucid.core.method import method, one_of
from pellucid.ops.attention import HEADS, brought, chained, placed, readers
from pellucid.propagation import Composite, On
from pellucid.propagation.lrp.flows import Pass
from pellucid.propagation.lrp.layers import ZPlus
from pellucid.propagation.lrp.presets import composed
from pellucid.propagation.operators import Kind as Operators

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
        steps = [(slope * attention).relu().mean(HEADS) for attention, slope in found]
        weight = readers(found[-1], self.query)
        return placed(brought(steps, weight), layers[-1], {"readers": weight})


@method(
    kind=Kind.CAM,
    title="Transformer Attribution",
    cite="chefer2021transformer",
    needs=(*NEEDS, Can.RULES),
    family="transformer",
)
class TransformerAttribution:
    """C = Ā_L ··· Ā_1,  Ā = I + E_h[(∂s/∂A ⊙ R_A)⁺]    [Chefer, Gur & Wolf, CVPR 2021, eq. 13–14]

    R_A is the relevance of the attention weights when relevance of 1 is sent back from the score: z⁺ without biases at
    linear layers and convolutions, half for either factor of a product, sums by size and sign, everything else lets
    relevance pass. The paper also rescales the two sides of residual sums to keep their total, which the rule of sums
    keeps by itself. Shown is C − I: the tokens that are read keep no credit for being there.

    query  whose row is shown: `class` the first token's, `mean` that of all tokens, `auto` that of the tokens which
           the score is read from; they are kept in extras["readers"]
    """

    query: str = one_of("auto", "class", "mean", default="auto")

    async def explain(self, q: Query) -> Attribution:
        layers = chained(q)
        where = Where(rule=positive())
        plain = [q.site(layer.site) for layer in layers]
        relevant = [q.site(layer.site, where=where) for layer in layers]
        score, *found = await together(q.score(), *plain, *relevant)
        slopes, relevances = found[: len(layers)], found[len(layers) :]
        s = score[..., None, None, None]
        of_one = [torch.where(s == 0, 0.0, relevance / s) for _, relevance in relevances]
        steps = [(g * r).relu().mean(HEADS) for (_, g), r in zip(slopes, of_one, strict=True)]
        weight = readers(slopes[-1], self.query)
        return placed(brought(steps, weight), layers[-1], {"readers": weight})


def positive() -> Composite:
    """The rules of Transformer Attribution    [Chefer, Gur & Wolf, CVPR 2021, §3.1; norms and softmax as their code]"""
    layer = ZPlus(bias=False)
    through = (Operators.NORM, Operators.SOFTMAX)
    return composed(
        "transformer_attribution",
        layer,
        On(layer, kinds=(Operators.LINEAR, Operators.CONVOLUTION)),
        On(Pass(), kinds=through),
    )
