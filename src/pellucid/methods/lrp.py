"""Layer-wise relevance propagation.

Authors of software for LRP state that it is patented in some countries; users should check whether that concerns them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck, Where, attribution, together
from pellucid.core.explanation import Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.core.site import Site
from pellucid.propagation import Composite
from pellucid.propagation.lrp.presets import composite

NEEDS = (Can.GRADIENT, Can.RULES)


@method(
    kind=Kind.CONTRIBUTION, title="LRP", cite=("bach2015pixel", "montavon2019layer"), needs=NEEDS, family="propagation"
)
class LRP:
    """R_i = Σ_j (a_i w_ij / Σ_i a_i w_ij) R_j from layer to layer, R = s at the output    [Bach et al. 2015]

    Every operator shares its relevance out among its inputs by a rule. Batch norms are merged, residual sums, gates and
    attention are served as they stand, in any spelling; an operator without a rule is an error that names it.

    The default, epsilon_plus_flat, is smooth and hardly noisy on convolutional nets and says where the evidence is.
    epsilon_gamma_box is finer in detail, cp_lrp and attn_lrp are made for vision transformers; the default serves them
    as well, with AttnLRP's rules inside attention.

    composite  which rule serves which operators: a preset's name, or a Composite
    at         a layer: the relevance of its output; None for the input
    layers     more layers whose relevance is wanted, under extras["relevance <layer>"]; "all" for all layers whose
               outputs have a part for every row
    start      `score` distributes the score explained, `one` distributes 1
    epsilon    ε of linear layers; None is the preset's own
    gamma      strength of γ; None is the preset's own
    unknown    `error`, or `gradient` for the plain gradient of operators without a rule
    """

    composite: Any = param(default="epsilon_plus_flat")
    at: Any = param(default=None)
    layers: Any = param(default=())
    start: str = one_of("score", "one", default="score")
    epsilon: float | None = at_least(0.0, default=None)
    gamma: float | None = at_least(0.0, default=None)
    unknown: str = one_of("error", "gradient", default="error")

    def rules(self, q: Query) -> Composite:
        """The composite, with bounds from the pictures' range where it has a box."""
        return composite(self.composite, q.baseline, self.unknown, epsilon=self.epsilon, gamma=self.gamma)

    async def explain(self, q: Query) -> Attribution:
        where = Where(rule=self.rules(q))
        sites = _sites(self.layers, q)
        asks = [q.grad(where=where) if self.at is None else q.site(self.at, where=where)]
        relevance, score, *more = await together(*asks, q.score(), *(q.site(site, where=where) for site in sites))
        relevance = relevance if self.at is None else relevance[1]
        check = not_here(relevance, score, "input" if self.at is None else "layer")
        extras = {f"relevance {site}": signal for site, (_, signal) in zip(sites, more, strict=True)}
        if self.start == "one":
            relevance = _of_one(relevance, score)
            extras = {name: _of_one(signal, score) for name, signal in extras.items()}
        return attribution(relevance, at=self.at, checks=[check], extras=extras)


def not_here(relevance: Tensor, score: Tensor, place: str) -> RowCheck:
    """(s − Σ_i R_i) / s: which share of the score is elsewhere; [target, batch, ...] and [target, batch].

    It is a number to know and not judged: what biases hold is rightly not at the input.

    place  `input` or `layer`, where the relevance was measured
    """
    total, whole = relevance.double().flatten(2).sum(2), score.double()
    share = (whole - total) / torch.where(whole == 0, torch.finfo(torch.float64).tiny, whole)
    return RowCheck(
        name=f"relevance_not_at_the_{place}",
        value=share,
        passed=torch.ones_like(share, dtype=torch.bool),
        says="share of the score that biases and constants hold, or that rules and stabilisers add or drop on the way; "
        "below zero where more arrived than was sent; `pellucid audit` shows where",
        judged=False,
        share=True,
    )


def _sites(layers: Any, q: Query) -> tuple[Site, ...]:
    if isinstance(layers, str) and layers == "all":
        return q.every_layer
    many = layers if isinstance(layers, (tuple, list)) else (layers,)  # one of them may be given by itself
    return tuple(map(q.address, many))


def _of_one(relevance: Tensor, score: Tensor) -> Tensor:
    """Rules are linear in what comes back: relevance of 1 is that of the score, over the score; 0 for a score of 0."""
    s = score.view(*score.shape, *(1,) * (relevance.ndim - 2))
    return torch.where(s == 0, 0.0, relevance / s)
