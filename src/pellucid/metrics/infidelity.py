"""Does the map, taken as a linear model, predict what a perturbation does to the score?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Query, together
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import CHANNEL, Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, param
from pellucid.core.metric import Map, Reading, metric, reading
from pellucid.core.points import Around, Masked, Points, generator
from pellucid.ops.places import amounts, filled, partition, shape, spread
from pellucid.ops.removal import numbers
from pellucid.ops.subsets import Subsets

SMALL = "a contribution says nothing of small noise"
STILL = "no perturbation changes the score"


@metric(
    family="faithfulness",
    better="lower",
    range=(0.0, float("inf")),
    cite="yeh2019infidelity",
    kinds={Kind.SENSITIVITY, Kind.CONTRIBUTION, Kind.CAM},
)
class Infidelity:
    """E_I[(β I·a − (s(x) − s(x − I)))²],  β = E[I·a Δ] / E[(I·a)²]    [Yeh et al. 2019]

    β is the optimal scale, as in the authors' program, so that the unit of a map does not count. extras: raw, the same
    with β = 1; scale, β; unexplained, the value relative to E[Δ²], which with β is 1 for a map that knows nothing.
    A sensitivity is multiplied with I; a contribution, and a map of a layer, is summed where I hides it.

    perturb  `squares` hides a random square each time; `subsets` random parts, the very rows of fidelity correlation
             with the same fill, share and seed; `gaussian` adds noise of `spread` (for sensitivities); or your
             own function of rows [samples, ...] that gives (I, x − I) of that shape, I being multiplied with the map as
             it is; it is called once per photo
    window   side of the squares; None is a quarter of the shorter side
    hidden   share of the parts that subsets hide
    fill     what hidden places show; `auto` is the photo's mean colour
    scaled   False for β = 1 as the value
    """

    samples: int = at_least(2, default=64)
    perturb: Any = param(
        default="squares", says="what is done to the input: `squares`, `subsets`, `gaussian`, a function"
    )
    window: Any = param(default=None)
    hidden: float = at_least(0.0, default=0.2, above=True, most=1.0)
    regions: Any = param(default="grid")
    fill: Any = param(default="auto")
    spread: float = at_least(0.0, default=0.1, above=True)
    scaled: bool = param(default=True, says="whether the map is scaled optimally, so that its unit does not count")
    seed: int = param(default=0)

    async def measure(self, q: Query, e: Map) -> Reading:
        moving, told, without = self._asked(q, e)
        clean, moved = await together(q.score(), moving)
        fall = (numbers(clean)[0] - numbers(moved)[0]).T
        power = told.square().mean(1)
        scale = (told * fall).mean(1) / torch.where(power > 0, power, 1)
        raw = (told - fall).square()
        error = (scale[:, None] * told - fall).square() if self.scaled else raw
        value, whole = error.mean(1), fall.square().mean(1)
        return reading(
            value,
            std_error=error.std(1) / self.samples**0.5,
            extras={"raw": raw.mean(1), "scale": scale, "unexplained": value / whole},
            without={**dict.fromkeys(without, whole >= 0), STILL: whole == 0},
        )

    def _asked(self, q: Query, e: Map) -> tuple[Ask[Tensor], Tensor, tuple[str, ...]]:
        """The question, what the map says of its points, I·a [batch, samples], and reasons against all values."""
        if callable(self.perturb):
            points, told = _own(self.perturb, q, e, self.samples)
            return q.score(points, Stack()), told, ()
        if self.perturb == "gaussian":
            around = Around(q.x, q.std(self.spread), self.samples, self.seed + (1 << 40))
            told = -_products(e, q, [around.rows(k, k + 1, 0, len(q.x)) - q.x for k in range(self.samples)])
            return q.score(around, Stack()), told, () if e.kind is Kind.SENSITIVITY else (SMALL,)
        fill = filled(q, self.fill, "mean")
        if self.perturb == "subsets":
            size = torch.tensor([self.hidden], dtype=torch.float64)
            subsets = Subsets.drawn(q, partition(q, self.regions), lambda _: size, self.samples, self.seed)
            return subsets.scores(q, fill), subsets.totals(_taken(e, q, fill)), ()
        if self.perturb != "squares":
            raise ParameterError(
                f"infidelity.perturb = {self.perturb!r}", "`squares`, `subsets`, `gaussian`, or a function"
            )
        if q.x.ndim != 4:
            raise InputError(f"squares of rows of shape {tuple(q.x.shape[1:])}", "pictures, or perturb='gaussian'")
        hidden = squares(q, self.window, self.samples, self.seed)
        points = Masked(q.x, hidden, torch.arange(hidden.shape[1]).view(shape(q.x)), fill)
        return q.score(points, Stack()), _taken(e, q, fill).flatten(1) @ hidden.double().T, ()


def _taken(e: Map, q: Query, fill: Tensor) -> Tensor:
    """What the map says that every place takes with it when it is hidden, float64 [batch, *places]."""
    if e.kind is not Kind.SENSITIVITY:
        return amounts(e, q.x, "sum")
    taken = (q.x - fill).double().cpu() * _wide(e, q)
    return taken.sum(1) if q.x.ndim == 4 else taken.sum(-1) if q.x.ndim == 3 else taken


def squares(q: Query, window: Any, samples: int, seed: int) -> Tensor:
    """Squares anywhere in the picture, every place of the corner being equally likely: bool [samples, places]."""
    height, width = shape(q.x)
    side = max(1, min(height, width) // 4) if window is None else window
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= min(height, width):
        raise ParameterError(f"infidelity.window = {window!r}", f"a whole number from 1 to {min(height, width)}")
    corner = torch.rand(samples, 2, generator=generator(seed, "metric squares", samples), dtype=torch.float64)
    top, left = (corner * torch.tensor([height - side + 1, width - side + 1])).long().unbind(1)
    down, across = torch.arange(height)[:, None], torch.arange(width)
    rows = (down >= top[:, None, None]) & (down < top[:, None, None] + side)
    columns = (across >= left[:, None, None]) & (across < left[:, None, None] + side)
    return (rows & columns).flatten(1)


@dataclass(frozen=True, slots=True, eq=False)
class Listed(Points):
    """Rows as they are.  x: [batch, ...]; points: [points, batch, ...]"""

    x: Tensor
    points: Tensor

    @property
    def count(self) -> int:
        return len(self.points)

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return self.points[k0:k1, b0:b1].flatten(0, 1)


def _own(perturb: Callable[[Tensor], Any], q: Query, e: Map, samples: int) -> tuple[Points, Tensor]:
    """A user's perturbations, photo by photo, so that no photo sees another."""
    noise: list[Tensor] = []
    moved: list[Tensor] = []
    for row in q.x:
        many = row.expand(samples, *row.shape).clone()
        got = perturb(many)
        if not (isinstance(got, tuple) and len(got) == 2 and all(_fits(one, many) for one in got)):
            raise ParameterError(
                "a perturb function that does not give (I, x − I)", f"two tensors of {tuple(many.shape)}"
            )
        noise.append(got[0].detach().to(row))
        moved.append(got[1].detach().to(row))
    return Listed(q.x, torch.stack(moved, 1)), _products(e, q, torch.stack(noise, 1).unbind(0))


def _fits(one: object, many: Tensor) -> bool:
    return isinstance(one, Tensor) and one.shape == many.shape


def _products(e: Map, q: Query, noise: Any) -> Tensor:
    """I·a of every sample, float64 [batch, samples]."""
    a = _wide(e, q).flatten(1)
    return torch.stack([(one.detach().double().cpu().flatten(1) * a).sum(1) for one in noise], 1)


def _wide(e: Map, q: Query) -> Tensor:
    """The map with channels as the rows have them; one without counts for each."""
    if CHANNEL in e.dims or e.values.shape == q.x.shape:
        if e.values.shape != q.x.shape:
            raise InputError(f"a map of shape {tuple(e.values.shape[1:])}", f"one of {tuple(q.x.shape[1:])}")
        return e.values
    return spread(amounts(e, q.x, "sum"), q.x).expand(q.x.shape)
