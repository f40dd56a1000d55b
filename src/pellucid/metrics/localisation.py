"""Does the map point at the object? Metrics that look at a mask, and not at the model."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.correlation import ranks
from pellucid.ops.places import REDUCTIONS, per_place

EMPTY, WHOLE = "the mask is empty", "the mask is the whole picture"
NOTHING = "the map has no positive value"


@metric(family="localisation", better="higher", range=(0.0, 1.0), cite="zhang2016excitation", needs=(), wants=("mask",))
class PointingGame:
    """1 where the highest value lies on the object or near it, else 0    [Zhang et al. 2016]

    Of several equally high places the share that does.

    within  how far from the mask still counts, in pixels; None is 15 for pictures of 224, and in proportion for others
    """

    within: Any = param(default=None, says="how far from the object still counts, in pixels; nothing is 15 of 224")
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        values, mask, without = _both(q, e, self.reduce)
        reach = round(15 / 224 * min(mask.shape[-2:])) if self.within is None else self.within
        if isinstance(reach, bool) or not isinstance(reach, (int, float)) or reach < 0:
            raise ParameterError(f"pointing_game.within = {self.within!r}", "a number of pixels, 0 or more")
        top = values == values.amax((1, 2), keepdim=True)
        return reading((top & _grown(mask, reach)).sum((1, 2)) / top.sum((1, 2)).double(), without=without)


@metric(family="localisation", better="higher", range=(0.0, 1.0), cite="arras2022clevr", needs=(), wants=("mask",))
class RelevanceMass:
    """Σ_{i on the object} a_i⁺ / Σ_i a_i⁺,  a⁺ = max(a, 0)    [Arras et al. 2022, "relevance mass accuracy"]"""

    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        share, _, without = _mass(q, e, self.reduce)
        return reading(share, without=without)


@metric(
    family="localisation",
    better="higher",
    range=(0.0, float("inf")),
    cite="kohlbrenner2020towards",
    needs=(),
    wants=("mask",),
)
class AttributionLocalisation:
    """(Σ_{i on the object} a_i⁺ / Σ_i a_i⁺) · (all pixels / pixels of the object)    [Kohlbrenner et al. 2020]

    The weighted form: 1 is what an even map has, whatever the size of the object. extras: share, without the weight,
    which is the relevance mass.
    """

    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        share, size, without = _mass(q, e, self.reduce)
        return reading(share / size, extras={"share": share}, without=without)


@metric(family="localisation", better="higher", range=(0.0, 1.0), cite="arras2022clevr", needs=(), wants=("mask",))
class RelevanceRank:
    """|the K highest places ∩ object| / K,  K the size of the object    [Arras et al. 2022, "relevance rank accuracy"]

    Of places that are equally high the share that is on the object.
    """

    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        values, mask, without = _both(q, e, self.reduce)
        return reading(_hits(values, mask, mask.sum((1, 2))), without=without)


@metric(
    family="localisation",
    better="higher",
    range=(0.0, 1.0),
    title="Top-k intersection",
    cite="theiner2022interpretable",
    needs=(),
    wants=("mask",),
)
class TopKIntersection:
    """|the k highest places ∩ object| / k    [Theiner et al. 2022]

    top  k; None is two per cent of the places (1000 of 224 × 224). Where the object is smaller, 1 is out of reach
    """

    top: int | None = at_least(1, default=None)
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        values, mask, without = _both(q, e, self.reduce)
        places = mask[0].numel()
        k = max(1, round(0.02 * places)) if self.top is None else self.top
        if k > places:
            raise ParameterError(f"top_k_intersection.top = {k}", f"at most {places}, the number of places")
        return reading(_hits(values, mask, torch.full((len(mask),), k)), without=without)


@metric(
    family="localisation",
    better="higher",
    range=(0.0, 1.0),
    title="Localisation AUC",
    cite="fawcett2006introduction",
    needs=(),
    wants=("mask",),
)
class LocalisationAUC:
    """The chance that a place on the object is higher than one beside it, equals counting half    [Fawcett 2006]

    The area under the ROC curve of the map as a detector of the object's pixels.
    """

    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        values, mask, without = _both(q, e, self.reduce)
        on = mask.flatten(1).double()
        inside = on.sum(1)
        outside = on.shape[1] - inside
        rank = (ranks(values.flatten(1)) * on).sum(1)
        return reading((rank - inside * (inside - 1) / 2) / (inside * outside), without=without)


@metric(
    family="localisation",
    better="higher",
    range=(0.0, 1.0),
    title="IoU",
    cite="zhou2016learning",
    needs=(),
    wants=("mask",),
)
class IOU:
    """|M ∩ object| / |M ∪ object|,  M the places with at least `level` of the highest value    [after Zhou et al. 2016]

    level  threshold, as a fraction of the highest value
    """

    level: float = at_least(0.0, default=0.2, above=True, most=1.0)
    reduce: str = one_of(*REDUCTIONS, default="auto")

    async def measure(self, q: Query, e: Map) -> Reading:
        values, mask, without = _both(q, e, self.reduce)
        top = values.amax((1, 2), keepdim=True)
        marked = values >= self.level * top
        both, either = (marked & mask).sum((1, 2)), (marked | mask).sum((1, 2))
        return reading(both / either.double(), without={**without, NOTHING: top[:, 0, 0] <= 0})


def _both(q: Query, e: Map, reduce: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The map and the mask, [batch, height, width] each, and for which rows the mask asks nothing."""
    if e.mask is None or q.x.ndim != 4:
        raise InputError(f"rows of shape {tuple(q.x.shape[1:])} without a mask", "pictures with masks")
    flat = e.mask.flatten(1)
    return per_place(e, q.x, reduce), e.mask, {EMPTY: ~flat.any(1), WHOLE: flat.all(1)}


def _mass(q: Query, e: Map, reduce: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The share of the positive values that lies on the object, and the object's share of the picture."""
    values, mask, without = _both(q, e, reduce)
    positive = values.clamp_min(0)
    total = positive.sum((1, 2))
    share = (positive * mask).sum((1, 2)) / total
    return share, mask.double().mean((1, 2)), {**without, NOTHING: total <= 0}


def _hits(values: Tensor, mask: Tensor, k: Tensor) -> Tensor:
    """The share of the k highest places that is on the mask; those as high as the last one count in part."""
    flat, on = values.flatten(1), mask.flatten(1)
    last = flat.sort(dim=1, descending=True).values.gather(1, (k[:, None] - 1).clamp_min(0))
    above, level = flat > last, flat == last
    left = (k - above.sum(1)).double()
    return ((above & on).sum(1) + left * (level & on).sum(1) / level.sum(1)) / k


def _grown(mask: Tensor, reach: float) -> Tensor:
    """All places whose centre is at most `reach` pixels from the centre of one on the mask."""
    side = int(reach)
    at = torch.arange(-side, side + 1, dtype=torch.float32)
    disc = (at[:, None] ** 2 + at**2 <= reach**2).float()
    return F.conv2d(mask[:, None].float(), disc[None, None], padding=side)[:, 0] > 0.5
