"""How far does an explanation move when the input hardly does?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Query, together
from pellucid.core.errors import InputError
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, one_of, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.ops.nearby import APART, Moves, Near, radius_of

OTHER = "the method does not give this map again"
FIXED = "no column is a number: nothing lies nearby"
FLIPS = "every perturbation changes the predicted class"
STILL = "no perturbation changes the outputs"


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What the perturbed explanations of one round tell, each [batch, samples] (size: [batch]).

    far: ‖φ' − φ‖; part: the same value by value, as a fraction; size: ‖φ‖; step: ‖x' − x‖ in pixel units, root mean
    square; ratio: the same as a fraction of x; outputs: ‖f(x') − f(x)‖; stays: whether the predicted class does
    """

    far: Tensor
    part: Tensor
    size: Tensor
    step: Tensor
    ratio: Tensor
    outputs: Tensor
    stays: Tensor
    without: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearby:
    """Where explanations are asked for again: parameters that all metrics of robustness have."""

    samples: int = at_least(2, default=32)
    radius: float = at_least(0.0, default=0.02, above=True)
    radius_of: str = one_of("range", "units", default="range")
    seed: int = param(default=0)


async def moved(q: Query, e: Map, m: Nearby) -> Moved:
    """Explain again at points nearby; all metrics of robustness with the same points share the explanations."""
    if e.method is None:
        raise InputError("a map that no method made", "the method that made the map")
    wide = radius_of(q, m.radius, m.radius_of)
    near = Near(q.x, wide, m.samples, m.seed)
    got, outputs = await together(q.explain(e.method, near, Moves(e.values)), q.outputs(near, Stack()))
    far, part, gap = got.values[0].unbind(-1)
    size = e.values.flatten(1).norm(dim=1)
    said = outputs[0].detach().double().cpu()  # [points, batch, outputs]
    step, ratio = _steps(q, near)
    return Moved(
        far=far[1:].T,
        part=part[1:].T,
        size=size,
        step=step,
        ratio=ratio,
        outputs=(said[1:] - said[0]).norm(dim=-1).T,
        stays=(said[1:].argmax(-1) == said[0].argmax(-1)).T,
        without={OTHER: ~(gap[0] <= 0.05 * size), FIXED: torch.full_like(size, not bool(wide.any()), dtype=torch.bool)},
    )


def _steps(q: Query, near: Near) -> tuple[Tensor, Tensor]:
    """How far the points are from x, in pixel units and as a fraction of x, root mean squares: [batch, samples]."""
    clean = q.pixels().detach().double().cpu().flatten(1)
    large = clean.abs() > APART * clean.abs().amax(1, keepdim=True)
    steps: list[Tensor] = []
    ratios: list[Tensor] = []
    for k in range(1, near.count):
        pixels = q.front.to_pixels(near.rows(k, k + 1, 0, len(q.x))).detach().double().cpu().flatten(1)
        off = pixels - clean
        steps.append(off.square().mean(1).sqrt())
        ratios.append((torch.where(large, off / torch.where(large, clean, 1), 0).square().sum(1) / large.sum(1)).sqrt())
    return torch.stack(steps, 1), torch.stack(ratios, 1)


@metric(
    family="robustness",
    better="lower",
    title="Max-sensitivity",
    range=(0.0, float("inf")),
    cite="yeh2019infidelity",
    wants=("method",),
    output="explained",
)
class MaxSensitivity(Nearby):
    """max_k ‖φ(x + e_k) − φ(x)‖ / ‖φ(x)‖,  e_k uniform in a box of radius r    [Yeh et al. 2019]

    The largest of the draws, which is below the true maximum. All metrics of robustness share their explanations.

    radius   r, as a fraction of the photo's range
    """

    async def measure(self, q: Query, e: Map) -> Reading:
        m = await moved(q, e, self)
        return reading(m.far.amax(1) / m.size, without=m.without)


@metric(
    family="robustness",
    better="lower",
    title="Avg-sensitivity",
    range=(0.0, float("inf")),
    cite="yeh2019infidelity",
    wants=("method",),
    output="explained",
)
class AvgSensitivity(Nearby):
    """mean_k ‖φ(x + e_k) − φ(x)‖ / ‖φ(x)‖,  e_k uniform in a box of radius r    [after Yeh et al. 2019]

    radius   r, as a fraction of the photo's range
    """

    async def measure(self, q: Query, e: Map) -> Reading:
        m = await moved(q, e, self)
        each = m.far / m.size[:, None]
        return reading(each.mean(1), std_error=each.std(1) / self.samples**0.5, without=m.without)


@metric(
    family="robustness",
    better="lower",
    title="Local Lipschitz",
    range=(0.0, float("inf")),
    cite="alvarezmelis2018robustness",
    wants=("method",),
    output="explained",
)
class LocalLipschitz(Nearby):
    """max_k (‖φ(x_k) − φ(x)‖ / ‖φ(x)‖) / ‖x_k − x‖    [after Alvarez-Melis & Jaakkola 2018]

    Relative to ‖φ(x)‖, so that methods compare; ‖x_k − x‖ is the root mean square in pixel units. extras: raw, with
    ‖φ(x_k) − φ(x)‖ as it is.

    radius   how far x_k is at most, as a fraction of the photo's range
    """

    async def measure(self, q: Query, e: Map) -> Reading:
        m = await moved(q, e, self)
        raw = (m.far / m.step).amax(1)
        return reading(raw / m.size, extras={"raw": raw}, without=m.without)


@metric(
    family="robustness",
    better="lower",
    range=(0.0, float("inf")),
    cite="agarwal2022rethinking",
    wants=("method",),
    output="explained",
)
class RelativeInputStability(Nearby):
    """max_k ‖(φ(x) − φ(x_k)) / φ(x)‖ / max(‖(x − x_k) / x‖, ε)    [Agarwal et al. 2022]

    Value by value, root mean squares, x in pixel units, over the draws that keep the predicted class; values below
    10⁻⁶ of the largest change by no percentage and are left out. extras: kept, the share of the draws that count.
    """

    async def measure(self, q: Query, e: Map) -> Reading:
        m = await moved(q, e, self)
        return _largest(m, m.part / m.ratio.clamp_min(APART), m.stays)


@metric(
    family="robustness",
    better="lower",
    range=(0.0, float("inf")),
    cite="agarwal2022rethinking",
    wants=("method",),
    output="explained",
)
class RelativeOutputStability(Nearby):
    """max_k ‖(φ(x) − φ(x_k)) / φ(x)‖ / ‖f(x) − f(x_k)‖    [Agarwal et al. 2022]

    As RelativeInputStability, relative to the change of the raw outputs f; draws that change none are left out.
    """

    async def measure(self, q: Query, e: Map) -> Reading:
        m = await moved(q, e, self)
        there = m.outputs > 0
        return _largest(m, m.part / torch.where(there, m.outputs, 1), m.stays & there, {STILL: ~there.any(1)})


def _largest(m: Moved, each: Tensor, counts: Tensor, without: dict[str, Tensor] | None = None) -> Reading:
    """The maximum over the draws that count."""
    worst = torch.where(counts, each, -torch.inf).amax(1)
    reasons = {**m.without, **(without or {}), FLIPS: ~counts.any(1)}
    return reading(worst, extras={"kept": counts.double().mean(1)}, without=reasons)


@metric(
    family="robustness",
    better="lower",
    range=(0.0, float("inf")),
    wants=("method",),
    output="explained",
)
class SeedStability:
    """mean_s ‖φ_s(x) − φ(x)‖ / ‖φ(x)‖ over other seeds s of a method that draws at random

    How much of the map is luck. Methods that draw nothing have no value.

    samples  how many other seeds
    """

    samples: int = at_least(2, default=4)
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        if not hasattr(e.method, "seed") or e.method is None:
            nothing = torch.full((len(q.x),), torch.nan, dtype=torch.float64)
            return reading(nothing, without={"the method draws nothing": nothing.isnan()})
        others = [_seeded(e.method, 1_000_003 * (self.seed + 1) + k) for k in range(self.samples)]
        fold = Moves(e.values)
        asks = [q.explain(one, q.at, fold) for one in (e.method, *others)]
        gaps = torch.stack([got.values[0, 0, :, 2] for got in await together(*asks)], 1)
        size = e.values.flatten(1).norm(dim=1)
        each = gaps[:, 1:] / size[:, None]
        error = each.std(1) / self.samples**0.5
        return reading(each.mean(1), std_error=error, without={OTHER: ~(gaps[:, 0] <= 0.05 * size)})


def _seeded(method: Any, seed: int) -> Any:
    return replace(method, seed=seed)
