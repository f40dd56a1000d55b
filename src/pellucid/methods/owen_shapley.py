"""Owen values of regions in a binary tree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck
from pellucid.core.explanation import HEIGHT, Kind
from pellucid.core.method import at_least, method, one_of, param
from pellucid.ops.arrivals import added
from pellucid.ops.designs import Design, distinct
from pellucid.ops.games import Game, Played, Worth, efficiency
from pellucid.ops.hierarchy import merges
from pellucid.ops.owen import Splitting
from pellucid.ops.owen_designs import Owen, asked, coalitions, count, orders, telling
from pellucid.ops.smooth import smooth


@method(
    kind=Kind.CONTRIBUTION,
    title="Owen values (Partition SHAP)",
    cite=("owen1977values", "lundberg2017unified", "castro2009polynomial", "rasmussen2002bayesian"),
    needs=(Can.SCORE,),
    keeps={"implementation_invariance"},
    output="probability",
    family="perturbation",
)
class OwenShapley:
    """φ_L(C, w) = φ_L(C, w/2) + φ_L(C ∪ R, w/2),  from φ_N(∅, 1) = v(N) − v(∅) down    [Owen 1977; `shap`: Partition]

    L and R are the halves of a part of a binary tree of the players; C are the players outside the part who are there.
    The same values are means, over the orders in which every part of the tree stays together, of what a player adds to
    those before it. Where the calls suffice for all coalitions of the tree, the values are exact with each estimator.
    Efficiency is exact at any time.

    estimator  `split`: parts with the most credit, w |v(C ∪ P) − v(C)|, are split first. What has not been split when
               the calls are spent is shared equally by the players of the part: extras["unresolved"] is what each of
               them has of that, and checks["unresolved"] the part of all credit. Nothing is drawn; the error is unknown
               `orders`: random orders, each with its reverse [as Castro et al. 2009]; unbiased, with standard errors
               `process`: the expected Owen values of a Gaussian process through the scores, by which coalitions tell of
               others that differ in few players, with its standard deviations [Rasmussen & Ghahramani 2002]; the
               coalitions are those that tell it most. On photos it needs the fewest calls for an error
    calls      coalitions that may be asked for, for every row; none and all come on top. With `split` every target has
               a budget of its own, so that none changes another
    hierarchy  the tree: `nearest` merges neighbours of like colour and small size; nested lists of players, as
               [[0, 1], [2, [3, 4]]], groups of columns for example; or merges as SciPy's linkage has them
    regions    who plays; `auto`: `slic` of pictures, else every column or word; see `pellucid.regions`
    fill       what shows who is hidden; `auto`: a region's mean colour, a table's background, a mask;
               `drop`: nothing, the tokens of a vision transformer are taken out
    seed       of `orders`; of `process` it says which of the coalitions are asked for that tell as much as one another
    """

    estimator: str = one_of("split", "orders", "process", default="split")
    calls: int = at_least(2, default=1000)
    hierarchy: Any = param(default="nearest")
    regions: Any = param(default="auto")
    fill: Any = param(default="auto")
    seed: int = param(default=0)

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        colours = q.pixels().detach() if HEIGHT in game.board.dims else [None] * len(game.labels)
        trees = [merges(self.hierarchy, one, seen) for one, seen in zip(game.labels, colours, strict=True)]
        return await (self._split if self.estimator == "split" else self._drawn)(q, game, trees)

    async def _split(self, q: Query, game: Game, trees: list[Tensor]) -> Attribution:
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

    async def _drawn(self, q: Query, game: Game, trees: list[Tensor]) -> Attribution:
        names = [tuple(map(tuple, tree.tolist())) for tree in trees]
        designs = {name: self._design(tree) for name, tree in dict(zip(names, trees, strict=True)).items()}
        once = {name: distinct(one.shown) for name, one in designs.items()}
        scores = await game.scores(q, [once[name][0] for name in names])
        played = [Played(designs[name], v[:, once[name][1]]) for name, v in zip(names, scores, strict=True)]
        worths = [self._worth(tree, one) for tree, one in zip(trees, played, strict=True)]
        checks = [efficiency(worths, [_difference(one) for one in played])]
        return game.attribution(worths, checks, {"hierarchy": _told(trees, len(scores[0]))})

    def _design(self, tree: Tensor) -> Design:
        if self._whole(tree):
            return asked(coalitions(tree))
        return (orders if self.estimator == "orders" else telling)(tree, self.calls, self.seed)

    def _worth(self, tree: Tensor, played: Played) -> Worth:
        shown, scores = played.design.shown, played.scores
        if self._whole(tree):
            values = scores @ Owen(tree).games(shown, 0.0)
            return Worth(values, torch.zeros_like(values))
        return added(played, 2) if self.estimator == "orders" else smooth(shown, scores, Owen(tree))

    def _whole(self, tree: Tensor) -> bool:
        """Whether the calls suffice for all coalitions of the tree."""
        return count(tree) <= self.calls + 2

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


def _difference(played: Played) -> Tensor:
    """v(all) − v(none), [target]."""
    size = played.design.shown.sum(1)
    return played.scores[:, size.argmax()] - played.scores[:, size.argmin()]


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
