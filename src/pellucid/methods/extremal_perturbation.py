"""The part of a picture, of a given area, that keeps the score best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck, attribution, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.extremal import Blends, SmoothMask, beyond, exact

RATE = 0.2
"""How far a place of the mask moves in a step, at most about."""
LEAST, MOST = 0.1, 30.0
"""How much the area counts beside the score, from the first step to the last."""


@method(
    kind=Kind.PART,
    cite=("fong2019understanding",),
    needs=(Can.GRADIENT,),
    keeps={"implementation_invariance"},
    output="logit",
    family="perturbation",
)
class ExtremalPerturbation:
    """m_a = argmax over smooth masks m of s(m ⊙ x + (1 − m) ⊙ fill),  |sort(m) − r_a|² → 0    [Fong et al. 2019]

    r_a has ones on the fraction a of all places and zeros elsewhere, so m_a shows a part of that area. The map is the
    mean of the masks of all areas: what is shown in the smallest is brightest. The masks climb the gradient of the
    score, its root mean square made ½, less λ (m − r_a), with λ growing from 0.1 to 30. The soft edges of small masks
    take more than r_a allows: at the end, each mask is raised to the power that makes its area a. extras: masks [areas,
    height, width], scores [areas] with each mask, and what the score of the whole picture is, and of the fill alone.
    checks["area"] is how much of a mask lies outside its own largest places, as many as its area has. Every step costs
    a gradient for every area; for t targets t² of them, as their masks differ: better one call for each.

    areas    parts of the picture that may be shown
    steps    of the climb
    mode     `preserve`: the mask shows what keeps the score; `delete`: it hides what lowers it most
    cells    places of the mask along each side
    reach    size of the spot that a place of the mask lights, σ of its edge
    fill     what hidden places show
    """

    areas: Any = param(default=(0.05, 0.1, 0.2, 0.4))
    steps: int = at_least(2, default=40)
    mode: str = one_of("preserve", "delete", default="preserve")
    cells: int = at_least(2, default=28)
    reach: float = at_least(0.0, default=0.09, above=True, most=0.5)
    fill: Any = param(default="blur")

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        (height, width), fill = q.x.shape[-2:], q.baseline(self.fill)
        shape = SmoothMask((height, width), (min(self.cells, height), min(self.cells, width)), self.reach)
        ends = q.x.new_tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, len(q.x), height, width)
        none, every = (await q.score(Blends(q.x, ends, fill), Stack())).unbind(1)  # [target, batch]
        areas = q.x.new_tensor(_areas(self.areas))
        climb = _Climb(shape, areas.view(1, -1, 1).expand(len(none), -1, len(q.x)).flatten())
        p = q.x.new_full((len(climb.areas), *shape.grid), 0.5)
        for k in range(self.steps):
            asks = [q.grad(seen, Stack()) for seen in self._seen(q, fill, climb.masks(p), len(none))]
            slopes = torch.stack(
                [found[t] for t, found in enumerate(await together(*asks))]
            )  # [target, area, batch, …]
            slope = (slopes * (q.x - fill)).sum(3).flatten(0, 2)
            p = climb.moved(p, slope, LEAST * (MOST / LEAST) ** (k / (self.steps - 1)))
        masks = exact(climb.masks(p), climb.areas)
        found = await together(*(q.score(one, Stack()) for one in self._seen(q, fill, masks, len(none))))
        scores = torch.stack([one[t] for t, one in enumerate(found)]).transpose(1, 2)
        masks = masks.view(len(none), len(areas), len(q.x), height, width).transpose(1, 2)
        return attribution(
            masks.mean(2),
            dims=(HEIGHT, WIDTH),
            checks=[_kept(masks, areas)],
            extras={"masks": masks, "scores": scores, "whole": every, "nothing": none},
        )

    def _seen(self, q: Query, fill: Tensor, masks: Tensor, targets: int) -> list[Blends]:
        """What every target is asked about: the picture through its masks, [target · area · batch, height, width]."""
        shown = masks if self.mode == "preserve" else 1 - masks
        each = shown.view(targets, -1, len(q.x), *shown.shape[1:])
        return [Blends(q.x, one, fill) for one in each]


@dataclass(frozen=True, slots=True, eq=False)
class _Climb:
    """How masks move.  areas: [masks], what each may show."""

    shape: SmoothMask
    areas: Tensor

    def masks(self, p: Tensor) -> Tensor:
        """The masks at the size of the picture, [masks, height, width]."""
        return self.shape.large(self.shape.small(p))

    def moved(self, p: Tensor, slope: Tensor, strength: float) -> Tensor:
        """p one step further.  slope: of the score by the masks, [masks, height, width]; strength: of the area."""
        up = self.shape.shrunk(slope)
        up = up / (2 * up.square().mean((1, 2), keepdim=True).sqrt()).clamp_min(torch.finfo(up.dtype).tiny)
        push = self.shape.pulled(p, up - strength * beyond(self.shape.small(p), self.areas))
        return (p + RATE * push.clamp(-1, 1)).clamp(0, 1)


def _areas(areas: Any) -> tuple[float, ...]:
    many = tuple(areas) if isinstance(areas, (tuple, list)) else (areas,)
    numbers = [one for one in many if isinstance(one, (int, float)) and not isinstance(one, bool) and 0 < one < 1]
    if not many or len(numbers) < len(many):
        raise ParameterError(f"extremal_perturbation.areas = {areas!r}", "one or more numbers between 0 and 1")
    return many


def _kept(masks: Tensor, areas: Tensor, limit: float = 1 / 3) -> RowCheck:
    """1 − (Σ of the largest a of all places) / Σ: 0 of a part without edges, 1 − a of a grey mask.

    masks: [target, batch, area, height, width].
    """
    falling = masks.flatten(3).sort(3, descending=True).values
    places = (areas * falling.shape[3]).round().clamp_min(1).long()
    inside = torch.stack([falling[:, :, i, :n].sum(2) for i, n in enumerate(places.tolist())], 2)
    value = (1 - inside / falling.sum(3).clamp_min(torch.finfo(masks.dtype).tiny)).amax(2)
    return RowCheck(
        name="area",
        value=value,
        passed=value <= limit,
        limit=limit,
        says="how much of a mask is spread outside the places of its area; soft edges take some, more steps lower it",
    )
