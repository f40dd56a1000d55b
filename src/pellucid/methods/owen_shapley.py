"""Owen values of regions in a binary tree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck
from pellucid.core.explanation import HEIGHT, Kind
from pellucid.core.method import at_least, method, param
from pellucid.ops.games import Game, Worth, efficiency
from pellucid.ops.hierarchy import merges
from pellucid.ops.owen import Splitting


@method(
    kind=Kind.CONTRIBUTION,
    title="Owen values (Partition SHAP)",
    cite=("owen1977values", "lundberg2017unified"),
    needs=(Can.SCORE,),
    keeps={"implementation_invariance"},
    output="probability",
    family="perturbation",
)
class OwenShapley:
    """φ_L(C, w) = φ_L(C, w/2) + φ_L(C ∪ R, w/2),  from φ_N(∅, 1) = v(N) − v(∅) down    [Owen 1977; `shap`: Partition]

    L and R are the halves of a part of a binary tree of the players; C are the players outside the part who are there.
    Parts with the most credit, w |v(C ∪ P) − v(C)|, are split first. What has not been split when the calls are spent
    is shared equally by the players of the part: extras["unresolved"] is what each of them has of that, and
    checks["unresolved"] the part of all credit. Efficiency is exact at any time. Where everything is split, the values
    are the exact Owen values of the tree. Every target has a budget of its own, so that none changes another.

    calls      coalitions that may be asked for, for every row and target; none and all come on top
    hierarchy  the tree: `nearest` merges neighbours of like colour and small size; nested lists of players, as
               [[0, 1], [2, [3, 4]]], groups of columns for example; or merges as SciPy's linkage has them
    regions    who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill       what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
               `drop`: nothing, the tokens of a vision transformer are taken out
    """

    calls: int = at_least(2, default=1000)
    hierarchy: Any = param(default="nearest")
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        colours = q.pixels().detach() if HEIGHT in game.board.dims else [None] * len(game.labels)
        trees = [merges(self.hierarchy, one, seen) for one, seen in zip(game.labels, colours, strict=True)]
        ends = [torch.stack([torch.zeros(n), torch.ones(n)]).bool() for n in game.players]
        first = await game.scores(q, ends)
        rows = [[self._begun(tree, both) for both in v] for tree, v in zip(trees, first, strict=True)]
        while any(wanted := [_wanted(row) for row in rows]):
            shown = [_bits(some, n) for some, n in zip(wanted, game.players, strict=True)]
            for row, some, v in zip(rows, wanted, await game.scores(q, shown), strict=True):
                for one, found in zip(row, v.tolist(), strict=True):
                    one.take(dict(zip(some, found, strict=False)))
        worths = [Worth(_stacked([one.values() for one in row])) for row in rows]
        left = [Worth(_stacked([one.left() for one in row])) for row in rows]
        checks = [efficiency(worths, [v[:, 1] - v[:, 0] for v in first]), _unresolved(rows)]
        extras = {"unresolved": game.padded([one.values for one in left]), "hierarchy": _told(trees, len(first[0]))}
        return game.attribution(worths, checks, extras)

    def _begun(self, tree: Tensor, ends: Tensor) -> Splitting:
        none, every = ends.tolist()
        return Splitting(tree.tolist(), self.calls, {0: none, (1 << len(tree) + 1) - 1: every})


def _wanted(row: list[Splitting]) -> list[int]:
    """What the targets of one row want to know, once each."""
    return list(dict.fromkeys(coalition for one in row for coalition in one.wants()))


def _bits(coalitions: list[int], players: int) -> Tensor:
    """Whole numbers as coalitions, bool [count, players]; of none at all, the empty one."""
    return torch.tensor([[bool(s >> i & 1) for i in range(players)] for s in coalitions or [0]])


def _stacked(each: list[list[float]]) -> Tensor:
    return torch.tensor(each, dtype=torch.float64)


def _unresolved(rows: list[list[Splitting]], limit: float = 0.25) -> RowCheck:
    value = torch.tensor([[one.unresolved for one in row] for row in rows], dtype=torch.float64).mT
    return RowCheck(
        name="unresolved",
        value=value,
        passed=value <= limit,
        limit=limit,
        says="part of the credit that was not split to the end but shared equally; more calls lower it",
    )


def _told(trees: list[Tensor], targets: int) -> Tensor:
    """The merges of all rows, [target, batch, most players − 1, 2]; −1 where a row has fewer."""
    most = max(map(len, trees))
    padded = [torch.nn.functional.pad(one, (0, 0, 0, most - len(one)), value=-1) for one in trees]
    return torch.stack(padded).expand(targets, -1, -1, -1)
