"""The few regions that hold the model's answer, whatever the others show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Ask, Attribution, Can, Query, RowCheck, What, together
from pellucid.core.decision import decides, decision
from pellucid.core.explanation import Kind
from pellucid.core.fold import Stack
from pellucid.core.method import at_least, method, param
from pellucid.ops.anchors import Aim, Anchor, Draws, Search, search
from pellucid.ops.boards import Board
from pellucid.ops.games import Game, Worth

Replies = dict[bytes, Tensor]
"""What the model said of one row's coalitions, [target] each, by their bits and background."""


@method(
    kind=Kind.PART,
    cite=("ribeiro2018anchors", "kaufmann2013information"),
    needs=(Can.SCORE,),
    keeps={"implementation_invariance"},
    output="probability",
    family="perturbation",
)
class Anchors:
    """A = argmax coverage(A) such that P(prec(A) ≥ threshold) ≥ 1 − delta    [Ribeiro et al. 2018, eq. 3-4]

    prec(A) = P(answer(z) = answer(x) | all players of A shown in z), the others being shown by fair coins. Places of
    the anchor show 1, all others 0. The answer is whether the model says the target; of a target that is no answer (a
    unit, a function, a single value), whether the number stays on x's side of the middle between x and nothing shown.

    Sets are grown one player at a time and the best kept by KL-LUCB [Kaufmann and Kalyanakrishnan 2013]; one that may
    be an anchor is tried on draws of its own, which had no part in its choice, so that its bounds are narrow and hold,
    at all times and for all trials at once. No step takes more than its share of the draws that are left. extras:
    players (1 for those of the anchor), precision, precision_low, precision_high, coverage (chance that the anchor
    holds in a draw), draws, and calls: rows that the search of this target asked of the model for this row, equal ones
    once. Where rows are explained together, each takes as many rows as the longest search. checks: precision, and
    precision_low with the slack taken off its limit; red where `samples` did not suffice.

    threshold  precision that is wanted
    delta      chance that a bound is wrong
    tau        sets that may be this much worse than the best are good enough to be grown further
    slack      how far the lower bound may lie below the threshold
    beam_size  sets that are grown further
    most       players of an anchor, at most; None for no limit
    samples    draws, at most
    batch      draws in one question
    share      chance that a player outside the anchor is shown
    regions    who plays; `auto`: about thirty superpixels of pictures, for each costs draws at every size; else
               every column or word; see `pellucid.regions`
    fill       what shows who is hidden; of several backgrounds, every draw takes one
    """

    threshold: float = at_least(0.0, default=0.95, above=True, most=1.0)
    delta: float = at_least(0.0, default=0.1, above=True, most=1.0)
    tau: float = at_least(0.0, default=0.15, above=True, most=1.0)
    slack: float = at_least(0.0, default=0.05, above=True, most=1.0)
    beam_size: int = at_least(1, default=2)
    most: int | None = at_least(1, default=None)
    samples: int = at_least(1, default=4000)
    batch: int = at_least(1, default=100)
    share: float = at_least(0.0, default=0.5, above=True, most=0.99)
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill, pictures=("slic(n=30)", "region_mean"))
        at_x, middle = await _middle(q, game)
        side = (at_x - middle).sign()
        same = _same(game.board, max(game.players))
        runs = {
            (t, b): search(n, self._aim(), self.seed, len(game.board.fill), self._coverage(same[b, :, :n]))
            for b, n in enumerate(game.players)
            for t in range(len(at_x))
        }
        found, calls = await _run(q, game.board, runs, middle, side)
        return self._told(game, found, calls, len(at_x))

    def _aim(self) -> Aim:
        return Aim(
            threshold=self.threshold,
            delta=self.delta,
            tau=self.tau,
            slack=self.slack,
            beam=self.beam_size,
            size=self.most,
            samples=self.samples,
            batch=self.batch,
            share=self.share,
        )

    def _coverage(self, same: Tensor) -> Any:
        """Mean over the backgrounds of Π_i (share + (1 − share) [the background is as x there]), i in the set."""
        holds = torch.where(same, 1.0, self.share).double()  # [backgrounds, players]
        return lambda sets: torch.where(sets[:, None], holds, 1.0).prod(2).mean(1)

    def _told(self, game: Game, found: dict[tuple[int, int], Anchor], calls: Tensor, targets: int) -> Attribution:
        rows = range(len(game.players))
        worths = [Worth(torch.stack([found[t, b].members.double() for t in range(targets)])) for b in rows]

        def each(name: str) -> Tensor:
            return torch.tensor([[float(getattr(found[t, b], name)) for b in rows] for t in range(targets)])

        precision = each("precision")
        low = each("low")
        checks = [
            RowCheck(
                name="precision",
                value=precision,
                passed=precision >= self.threshold,
                limit=self.threshold,
                says="share of the draws with the anchor shown in which the model's answer is that for the whole",
            ),
            RowCheck(
                name="precision_low",
                value=low,
                passed=low >= self.threshold - self.slack,
                limit=self.threshold - self.slack,
                says="lower bound of that share over all draws that could be made; more samples raise it",
            ),
        ]
        names = {"precision_low": "low", "precision_high": "high", "coverage": "coverage", "draws": "draws"}
        extras = {name: each(field) for name, field in names.items()}
        return game.attribution(worths, checks, {"precision": precision, **extras, "calls": calls})


async def _middle(q: Query, game: Game) -> tuple[Tensor, Tensor]:
    """The number at x, and what divides one answer from the other, [target, batch] each."""
    ask = Ask(What.SCORE, q.at, Stack(), of=decision)
    at_x, answers = await together(ask, Ask(What.SCORE, q.at, Stack(), of=decides))
    at_x, answers = at_x[:, 0].detach().double().cpu(), answers[:, 0].detach().cpu() > 0
    if bool(answers.all()):
        return at_x, torch.zeros_like(at_x)
    nothing = game.board.showing(torch.zeros(1, 1, max(game.players), dtype=torch.bool))
    at_none: Tensor = await Ask(What.SCORE, nothing, Stack(), of=decision)
    return at_x, torch.where(answers, 0.0, (at_x + at_none.detach().double().cpu().mean(1)) / 2)


def _same(board: Board, players: int) -> Tensor:
    """Where a background shows for a player what the row itself shows, bool [batch, backgrounds, players]."""
    x, labels = board.x.cpu(), board.labels.cpu().flatten(1)
    found: list[Tensor] = []
    for b, where in enumerate(labels):
        fill = board.fill[:, b if board.fill.shape[1] > 1 else 0].cpu()
        differs = fill != x[b]  # [backgrounds, (channel,) *places]
        differs = differs.any(1) if x.ndim > board.labels.ndim else differs
        index = torch.where(where < 0, players, where).expand(len(fill), -1)
        counts = torch.zeros(len(fill), players + 1).scatter_add(1, index, differs.flatten(1).float())
        found.append(counts[:, :players] == 0)
    return torch.stack(found)


async def _run(
    q: Query, board: Board, runs: dict[tuple[int, int], Search], middle: Tensor, side: Tensor
) -> tuple[dict[tuple[int, int], Anchor], Tensor]:
    """All searches in step: each round's draws of all of them are one question, equal ones asked once.

    runs: by target and row. Returns the anchors, and the number of different coalitions that each needed.
    """
    known: list[Replies] = [{} for _ in board.x]
    used: dict[tuple[int, int], set[bytes]] = {key: set() for key in runs}
    found: dict[tuple[int, int], Anchor] = {}
    wanted = {key: next(run) for key, run in runs.items()}
    while wanted:
        keys = {key: _keys(draws) for key, draws in wanted.items()}
        fresh: list[dict[bytes, tuple[Tensor, Tensor]]] = [{} for _ in board.x]
        for (t, b), draws in wanted.items():
            used[t, b].update(keys[t, b])
            new = zip(keys[t, b], draws.shown, draws.behind, strict=True)
            fresh[b].update({k: (shown, behind) for k, shown, behind in new if k not in known[b]})
        if any(fresh):
            said: Tensor = await Ask(What.SCORE, _asked(board, fresh), Stack(), of=decision)
            said = said.detach().double().cpu()  # [target, points, batch]
            for b, them in enumerate(fresh):
                known[b].update({k: said[:, i, b] for i, k in enumerate(them)})
        for (t, b), key in keys.items():
            number = torch.stack([known[b][k][t] for k in key])
            agreed = ((number - middle[t, b]) * side[t, b] >= 0).double()
            try:
                wanted[t, b] = runs[t, b].send(agreed)
            except StopIteration as stop:
                found[t, b] = stop.value
                del wanted[t, b]
    calls = torch.tensor([[float(len(used[t, b])) for b in range(middle.shape[1])] for t in range(len(middle))])
    return found, calls


def _keys(draws: Draws) -> list[bytes]:
    bits = draws.shown.to(torch.uint8).numpy()
    return [row.tobytes() + int(b).to_bytes(4, "little") for row, b in zip(bits, draws.behind, strict=True)]


def _asked(board: Board, fresh: Sequence[dict[bytes, tuple[Tensor, Tensor]]]) -> Any:
    """The coalitions of every row, those of rows with fewer filled up with all players shown."""
    count, most = max(map(len, fresh)), int(board.labels.max()) + 1
    shown = torch.ones(len(fresh), count, most, dtype=torch.bool)
    behind = torch.zeros(len(fresh), count, dtype=torch.int64)
    for b, them in enumerate(fresh):
        for i, (one, number) in enumerate(them.values()):
            shown[b, i, : len(one)], behind[b, i] = one, number
    return board.showing(shown, behind)
