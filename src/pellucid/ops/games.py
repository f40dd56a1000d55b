"""Games: what does the model say of a row of which only some players are shown: regions, columns, words?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Query, RowCheck, attribution
from pellucid.core.fold import Stack
from pellucid.ops.boards import Board, board
from pellucid.ops.checks import relative_gap
from pellucid.ops.designs import Design, distinct
from pellucid.ops.dropped import players_of, scores_without
from pellucid.ops.enough import Until, Worth, taken


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One picture's game: its design, and the scores of all targets, float64 [target, samples] on the CPU.

    samples  how many were taken, by methods that go on until they are enough
    """

    design: Design
    scores: Tensor
    samples: int = 0


Draw = Callable[[int, int, int], Design]


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """What a model says when only some players of a row are shown."""

    board: Board

    @staticmethod
    def of(q: Query, regions: Any, fill: Any, *, pictures: tuple[Any, Any] = ("slic", "region_mean")) -> Game:
        """The game of a query; arguments and errors as `pellucid.ops.boards.board`."""
        return Game(board(q, regions, fill, pictures))

    @property
    def labels(self) -> Tensor:
        """The number of every place's player, int64 [batch, *places]."""
        return self.board.labels

    @property
    def players(self) -> list[int]:
        """How many players every picture has."""
        return [int(one.max()) + 1 for one in self.labels]

    async def play(
        self, q: Query, design: Callable[[int], Design], before: Sequence[Played] | None = None
    ) -> list[Played]:
        """The scores of every picture's coalitions; equal coalitions are evaluated once.

        design: from the number of players; before: what was played already, and need not be asked again. Pictures with
        fewer coalitions than others repeat their first one.
        """
        players = self.players
        designs = {n: design(n) for n in sorted(set(players))}
        once = {n: distinct(d.shown) for n, d in designs.items()}
        if before is None:
            scores = await self.scores(q, [once[n][0] for n in players])
        else:
            scores = await self._more(q, {n: rows for n, (rows, _) in once.items()}, before)
        return [Played(designs[n], v[:, once[n][1]]) for n, v in zip(players, scores, strict=True)]

    async def _more(self, q: Query, rows: Mapping[int, Tensor], before: Sequence[Played]) -> list[Tensor]:
        """The scores of coalitions, by the number of players, of which those that were played before are known."""
        players = self.players
        known = {n: _number(rows[n], one.design.shown) for n, one in zip(players, before, strict=True)}
        new = {n: rows[n][at < 0] for n, at in known.items()}
        scores = [one.scores[:, known[n]] for n, one in zip(players, before, strict=True)]
        if not any(map(len, new.values())):
            return scores
        asked = {n: some if len(some) else rows[n][:1] for n, some in new.items()}
        for n, mine, found in zip(players, scores, await self.scores(q, [asked[n] for n in players]), strict=True):
            mine[:, known[n] < 0] = found[:, : len(new[n])]
        return scores

    async def enough(
        self, q: Query, draw: Draw, first: Callable[[Design], Design], worth: Callable[[Played], Worth], until: Until
    ) -> list[Played]:
        """As many coalitions as are needed: those of a pilot, whose errors say how many more a second round takes.

        draw   (players, samples, seed) -> design; every round takes another seed, and all rounds count
        first  puts the coalitions before those of the pilot that are no draws
        worth  values and errors of what was played
        until  how many samples, and when they are enough
        """
        played = await self.play(q, lambda n: first(draw(n, until.samples, until.seed)))
        if not until.rounds:  # errors are not looked at
            return played
        total = until.samples
        for seed in range(until.seed + 1, until.seed + 1 + until.rounds):
            more = until.more(total, [worth(one) for one in played])
            if not more:
                break
            again = await self.play(q, lambda n, seed=seed, more=more: draw(n, more, seed), played)
            played = [
                Played(a.design.joined(b.design), torch.cat([a.scores, b.scores], 1))
                for a, b in zip(played, again, strict=True)
            ]
            total += more
        return [replace(one, samples=total) for one in played]

    async def scores(self, q: Query, shown: Sequence[Tensor]) -> list[Tensor]:
        """The scores of every picture's own coalitions, float64 [target, coalitions] each on the CPU.

        shown: bool [coalitions, players] of every picture. Pictures with fewer than others repeat their first one.
        """
        if self.board.stream is not None:
            player = players_of(self.labels, self.board.stream)
            return await scores_without(q, self.board.stream, player, shown)
        count, most = max(map(len, shown)), max(self.players)
        alike = all(one is shown[0] for one in shown)
        points = self.board.showing(torch.stack([_filled(one, count, most) for one in (shown[:1] if alike else shown)]))
        scores: Tensor = await q.score(points, Stack())  # [target, points, batch]
        scores = scores.detach().double().cpu().unflatten(1, (count, points.many)).mean(2)
        return [scores[:, : len(one), b] for b, one in enumerate(shown)]

    def attribution(
        self,
        worths: Sequence[Worth],
        checks: Sequence[RowCheck | None] = (),
        extras: Mapping[str, Tensor] | None = None,
        played: Sequence[Played] = (),
    ) -> Attribution:
        """Every place shows what its region is worth.

        extras["players"] holds the worths, [target, batch, players], zero where a picture has no such player, and
        extras["regions"] the number of every place's region. Where samples were `played` until they were enough,
        extras["samples"] says how many.
        """
        values = self.padded([one.values for one in worths])
        errors = [one.std_error for one in worths]
        known = [one for one in errors if one is not None]
        std_error = self.padded(known) if len(known) == len(errors) else None
        told = {"players": values, **({} if std_error is None else {"players_std_error": std_error})}
        regions = self.labels[None].expand(len(values), *self.labels.shape)
        told |= taken([one.samples for one in played], len(values))
        return attribution(
            self._painted(values),
            dims=self.board.dims,
            std_error=None if std_error is None else self._painted(std_error),
            checks=checks,
            extras={**told, "regions": regions, **(extras or {})},
        )

    def padded(self, each: Sequence[Tensor]) -> Tensor:
        """Numbers of every picture's players, [target, players] each, as [target, batch, players]; 0 for no player."""
        most = max(self.players)
        return torch.stack([torch.nn.functional.pad(one, (0, most - one.shape[1])) for one in each], 1).to(self._like)

    def squares(self, each: Sequence[Tensor]) -> Tensor:
        """Numbers of pairs of players, [target, players, players] each, as [target, batch, players, players]."""
        most = max(self.players)
        room = [most - one.shape[1] for one in each]
        padded = [torch.nn.functional.pad(one, (0, k, 0, k)) for one, k in zip(each, room, strict=True)]
        return torch.stack(padded, 1).to(self._like)

    @property
    def _like(self) -> Tensor:
        """A tensor of the numbers that values are kept in."""
        x = self.board.x
        return x if x.is_floating_point() else x.new_empty(0, dtype=torch.float32)

    def _painted(self, values: Tensor) -> Tensor:
        """Every place with the value of its player; nobody's places with nothing."""
        with_nobody = torch.nn.functional.pad(values, (0, 1))
        index = (self.labels % with_nobody.shape[2]).flatten(1)[None].expand(len(values), -1, -1)
        return with_nobody.gather(2, index).view(len(values), *self.labels.shape)


def _number(rows: Tensor, played: Tensor) -> Tensor:
    """For every coalition the number of an equal one among those played, int64 [rows]; −1 where there is none."""
    every, number = distinct(torch.cat([played, rows]))
    place = torch.full((len(every),), -1)
    place[number[: len(played)]] = torch.arange(len(played))
    return place[number[len(played) :]]


def _filled(shown: Tensor, count: int, most: int) -> Tensor:
    """Coalitions repeated to `count` rows, players that are not there added up to `most` columns."""
    rows = torch.cat([shown, shown[:1].expand(count - len(shown), -1)])
    return torch.nn.functional.pad(rows, (0, most - shown.shape[1]))


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


def held_out(r2: Sequence[Tensor], limit: float = 0.5) -> RowCheck:
    """R² of the coalitions of every picture that its linear model was not fitted to, [target] each."""
    value = torch.stack(list(r2), 1)
    return RowCheck(
        name="held_out",
        value=value,
        passed=value >= limit,
        limit=limit,
        says="the same share where each score is predicted by a model fitted without it; far below r2 there were too "
        "few samples, and where it is low the values do not say what the model does",
    )


def additivity(r2: Sequence[Tensor]) -> RowCheck:
    """The same of values that need not predict: Shapley values are what they are in a game that does not add up."""
    value = torch.stack(list(r2), 1)
    return RowCheck(
        name="held_out",
        value=value,
        passed=torch.ones_like(value, dtype=torch.bool),
        says="share of the scores' variance that sums of the values explain, each score predicted without its "
        "coalition; low or below zero where regions work together: the values are fair shares then, and no forecast",
        judged=False,
    )
