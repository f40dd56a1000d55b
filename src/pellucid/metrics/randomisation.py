"""Does the explanation depend on what was learnt, and on the class that is asked for?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.core.ask import Can, Query, Variant, Where, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.fold import Only
from pellucid.core.method import Method, at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.core.points import generator
from pellucid.core.target import Pick
from pellucid.ops.likeness import entropy, likeness
from pellucid.ops.redrawn import cascade, one_by_one, redrawn, stages

LIKENESS = ("spearman", "abs_spearman", "ssim")
BARE = "the model has no weights that can be redrawn"
BROKEN = "the redrawn model gives no finite map"
NOT_FINITE = "the map of the other class is not finite"
ONE = "the model has one output: there is no other class"
TWO = "of two classes, the other's map is this one turned round"


@metric(
    family="randomisation",
    better="lower",
    title="Parameter randomisation",
    range=(0.0, 1.0),
    cite="adebayo2018sanity",
    needs={Can.SCORE, Can.VARIANT},
    wants=("method",),
    output="explained",
)
class ParameterRandomisation:
    """mean over the steps of |likeness(map, map of the model with its last layers redrawn)|    [Adebayo et al. 2018]

    From the output down: first the last layer alone, in the end every layer. Weights are redrawn at their own scale.
    The curve has the signed likeness over the share of the layers redrawn; a map turned upside down is still that map,
    so its magnitude counts. extras, signed: head, with the last layer redrawn alone; whole, with all of them.

    steps     points of the cascade, the head alone and the whole model among them
    order     `cascade`, or `independent`: each part of the layers by itself, the rest as learnt
    likeness  `spearman` of the signed numbers, `abs_spearman` of magnitudes, `ssim` of the places
    """

    steps: int = at_least(2, default=5)
    order: str = one_of("cascade", "independent", default="cascade")
    likeness: str = one_of(*LIKENESS, default="spearman")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        layers = q.weighted
        if not layers:
            return _none(q, BARE)
        drawn = cascade if self.order == "cascade" else one_by_one
        variants = drawn(layers, self.steps, self.seed)
        alike = likeness(self.likeness, e, q.x)
        y = torch.stack([alike(other) for other in await under(q, e, variants)], 1)
        share = torch.tensor(stages(len(layers), self.steps), dtype=torch.float64) / len(layers)
        ends = {"head": y[:, 0], "whole": y[:, -1]} if self.order == "cascade" else {}
        return reading(y.abs().mean(1), curve=(share[None], y), extras=ends, without={BROKEN: y.isnan().any(1)})


@metric(
    family="randomisation",
    better="higher",
    title="Efficient randomisation",
    range=(-1.0, float("inf")),
    cite="hedstrom2024sanity",
    needs={Can.SCORE, Can.VARIANT},
    wants=("method",),
    output="explained",
)
class EfficientRandomisation:
    """(H(φ') − H(φ)) / H(φ),  φ' the map with every layer redrawn, H the entropy of its histogram    [Hedström 2024]

    A map that says something has less entropy than that of a model that learnt nothing. One explanation per map.

    bins  of the histogram between the ends of each map
    """

    bins: int = at_least(2, default=100)
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        if not q.weighted:
            return _none(q, BARE)
        [other] = await under(q, e, [redrawn(q.weighted, self.seed)])
        other = other.detach().to("cpu", torch.float64)
        broken = ~other.flatten(1).isfinite().all(1)
        clean, drawn = entropy(e.values, self.bins), entropy(other.nan_to_num(0, 0, 0), self.bins)
        return reading(drawn / clean - 1, without={BROKEN: broken})


@metric(
    family="randomisation",
    better="lower",
    range=(0.0, 1.0),
    cite="sixt2020explanations",
    wants=("method",),
    output="explained",
)
class RandomLogit:
    """|likeness(map of the class, map of another class)|    [Sixt et al. 2020]

    The other class is drawn for each class by itself, so that it does not depend on what else is measured. Of two
    classes what speaks for one speaks against the other: of their logits only a likeness of the same sign counts, and
    their probabilities, which are one less each other, have no value. extras: signed, the likeness with its sign.

    likeness  `spearman` of the signed numbers, `abs_spearman` of magnitudes, `ssim` of the places
    """

    likeness: str = one_of(*LIKENESS, default="spearman")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        outputs = (await q.outputs())[0]
        if outputs.shape[1] < 2 or e.whence.target.pair:
            return _none(q, ONE if outputs.shape[1] < 2 else "the map explains a difference of classes")
        two = outputs.shape[1] == 2 and e.whence.prediction.is_probability
        if two and e.whence.target.output != "logit":
            return _none(q, TWO)
        got = await q.explain(asked(e), q.at, Only(), of=Other(outputs.shape[1], self.seed))
        alike = likeness(self.likeness, e, q.x)(got.values[0])
        return reading(
            alike.clamp_min(0) if two else alike.abs(), extras={"signed": alike}, without={NOT_FINITE: alike.isnan()}
        )


@dataclass(frozen=True, slots=True)
class Other:
    """Another class than that of a target, drawn for every class by itself."""

    classes: int
    seed: int

    def __call__(self, pick: Pick) -> Pick:
        if pick.index is None:
            raise ParameterError(f"another class than {pick.target!r}", "a target that is a class")
        return replace(pick, index=pick.index.new_tensor([self._drawn(c) for c in pick.index.tolist()]))

    def _drawn(self, c: int) -> int:
        draw = int(torch.randint(self.classes - 1, (), generator=generator(self.seed, "other class", c)))
        return draw + (draw >= c)


async def under(q: Query, e: Map, variants: list[Variant]) -> list[Tensor]:
    """The method's values under every variant of the model, [batch, ...] each."""
    asks = [q.explain(asked(e), q.at, Only(), Where(variant=one)) for one in variants]
    return [got.values[0] for got in await together(*asks)]


def asked(e: Map) -> Method:
    """The method that made a map."""
    if e.method is None:
        raise InputError("a map that no method made", "the method that made the map")
    return e.method


def _none(q: Query, why: str) -> Reading:
    nothing = torch.full((len(q.x),), torch.nan, dtype=torch.float64)
    return reading(nothing, without={why: nothing.isnan()})
