"""Games: what does the model say of a picture of which only some regions are shown?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, RowCheck, attribution
from pellucid.core.errors import InputError
from pellucid.core.explanation import HEIGHT, WIDTH
from pellucid.core.fold import Stack
from pellucid.core.points import Points
from pellucid.ops.checks import relative_gap
from pellucid.ops.designs import Design, distinct
from pellucid.regions.choice import cut


@dataclass(frozen=True, slots=True, eq=False)
class Coalitions(Points):
    """Pictures of which coalitions of regions are shown: m ⊙ x + (1 − m) ⊙ fill, m the share at which they are shown.

    x: [batch, channel, height, width]; shown: [batch or 1, count, players], bool, or numbers in 0 … 1; labels: number
    of the region of every place, int64 [batch, height, width]; fill: what hidden places show, [batch or 1, ...].
    """

    x: Tensor
    shown: Tensor
    labels: Tensor
    fill: Tensor

    @property
    def count(self) -> int:
        return self.shown.shape[1]

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x, labels = self.x[b0:b1], self.labels[b0:b1]
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        shown = (self.shown if len(self.shown) == 1 else self.shown[b0:b1])[:, k0:k1].to(x.device)
        if len(shown) == 1:
            mask = shown[0][:, labels]
        else:
            mask = torch.stack([one[:, where] for one, where in zip(shown, labels, strict=True)], 1)
        mask = mask[:, :, None]  # [points, batch, 1, height, width]
        made = torch.where(mask, x, fill) if mask.dtype == torch.bool else torch.lerp(fill, x, mask.to(x.dtype))
        return made.flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One picture's game: its design, and the scores of all targets, float64 [target, samples] on the CPU."""

    design: Design
    scores: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What the players of one picture are worth to every target, float64 [target, players]."""

    values: Tensor
    std_error: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """Pictures cut into players, and what hidden ones show.

    labels: int64 [batch, height, width], each picture's regions 0 … n − 1; fill: [batch or 1, ...], in the units of x.
    """

    x: Tensor
    labels: Tensor
    fill: Tensor

    @staticmethod
    def of(q: Query, regions: Any, fill: Any) -> Game:
        """The game of a query.  regions: as `as_regions` takes them; fill: as a baseline, or `region_mean`.

        Raises InputError for rows that are no pictures, and ParameterError for regions and fills that do not fit.
        """
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        labels = cut(regions, q.pixels().detach()).to(q.x.device)
        whole = isinstance(fill, str) and fill == "region_mean"
        return Game(q.x, labels, region_mean(q, labels) if whole else q.baseline(fill))

    @property
    def players(self) -> list[int]:
        """How many players every picture has."""
        return [int(one.max()) + 1 for one in self.labels]

    async def play(self, q: Query, design: Callable[[int], Design]) -> list[Played]:
        """The scores of every picture's coalitions; equal coalitions are evaluated once.

        design: from the number of players. Pictures with fewer coalitions than others repeat their first one.
        """
        players = self.players
        designs = {n: design(n) for n in sorted(set(players))}
        once = {n: distinct(d.shown) for n, d in designs.items()}
        count, most = max(len(shown) for shown, _ in once.values()), max(players)
        filled = {n: _filled(shown, count, most) for n, (shown, _) in once.items()}
        alike = len(designs) == 1
        shown = filled[most][None] if alike else torch.stack([filled[n] for n in players])
        scores: Tensor = await q.score(Coalitions(self.x, shown, self.labels, self.fill), Stack())
        scores = scores.detach().double().cpu()  # [target, coalitions, batch]
        return [Played(designs[n], scores[:, once[n][1], b]) for b, n in enumerate(players)]

    def attribution(
        self,
        worths: Sequence[Worth],
        checks: Sequence[RowCheck | None] = (),
        extras: Mapping[str, Tensor] | None = None,
    ) -> Attribution:
        """Every place shows what its region is worth.

        extras["players"] holds the worths, [target, batch, players], zero where a picture has no such player, and
        extras["regions"] the number of every place's region.
        """
        values = self._padded([one.values for one in worths])
        errors = [one.std_error for one in worths]
        known = [one for one in errors if one is not None]
        std_error = self._padded(known) if len(known) == len(errors) else None
        told = {"players": values, **({} if std_error is None else {"players_std_error": std_error})}
        regions = self.labels[None].expand(len(values), *self.labels.shape)
        return attribution(
            self._painted(values),
            dims=(HEIGHT, WIDTH),
            std_error=None if std_error is None else self._painted(std_error),
            checks=checks,
            extras={**told, "regions": regions, **(extras or {})},
        )

    def _padded(self, each: Sequence[Tensor]) -> Tensor:
        most = max(self.players)
        return torch.stack([torch.nn.functional.pad(one, (0, most - one.shape[1])) for one in each], 1).to(self.x)

    def _painted(self, values: Tensor) -> Tensor:
        index = self.labels.flatten(1)[None].expand(len(values), -1, -1)
        return values.gather(2, index).view(len(values), *self.labels.shape)


def _filled(shown: Tensor, count: int, most: int) -> Tensor:
    """Coalitions repeated to `count` rows, players that are not there added up to `most` columns."""
    rows = torch.cat([shown, shown[:1].expand(count - len(shown), -1)])
    return torch.nn.functional.pad(rows, (0, most - shown.shape[1]))


def region_mean(q: Query, labels: Tensor) -> Tensor:
    """Every region in its mean colour, taken in pixels; in the units of x."""
    pixels = q.pixels().detach()
    means: list[Tensor] = []
    for picture, where in zip(pixels.double().cpu().flatten(2), labels.cpu().flatten(1), strict=True):
        size = torch.bincount(where).double()
        means.append(torch.stack([(torch.bincount(where, one) / size)[where] for one in picture]))
    return q.references.pixels.to_rows(torch.stack(means).to(pixels).view_as(pixels))


# -- checks ------------------------------------------------------------------------------------------------------


def efficiency(worths: Sequence[Worth], difference: Sequence[Tensor], limit: float = 1e-6) -> RowCheck:
    """|Σ_i φ_i − (v(all) − v(none))|, relative: what Shapley values promise to be nothing.

    difference: v(all) − v(none) of every picture, [target] each.
    """
    gaps: list[Tensor] = []
    for one, d in zip(worths, difference, strict=True):
        floor = 1e-3 * one.values.abs().sum(1, keepdim=True)  # values that cancel leave rounding
        gaps.append(relative_gap(one.values[:, None], d[:, None], floor)[:, 0])
    value = torch.stack(gaps, 1)
    return RowCheck(
        name="efficiency",
        value=value,
        passed=value <= limit,
        limit=limit,
        says="part of the difference between all and none shown that the values do not add up to",
    )


def fidelity(r2: Sequence[Tensor], limit: float = 0.5) -> RowCheck:
    """R² of every picture's local model, [target] each."""
    value = torch.stack(list(r2), 1)
    return RowCheck(
        name="r2",
        value=value,
        passed=value >= limit,
        limit=limit,
        says="share of the scores' variance that the local linear model explains; where it is low, the weights mislead",
    )
