"""Which coalitions of a binary tree of players are asked about where not all of them can be, and Owen values of powers.

In a random order of the tree every merge puts its first or its second part first, by a fair coin, so that the players
of a part follow one another. Owen values are means over these orders of what players add to those before them. Whom a
player meets is decided by the coins of the merges above it: the part beside each is there, or is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError
from pellucid.core.points import generator
from pellucid.ops.arrivals import arriving
from pellucid.ops.designs import Design, distinct

MOST = 4096
"""Coalitions among which the most telling are looked for."""
NEAR = 2.0
"""Quarters of the players by which two coalitions differ whose scores are taken to correlate by 1 / e."""
ROUGH = 0.01
"""The variance that every coalition is taken to have for itself, over the one that it shares."""
UNKNOWN = 10.0
"""The same of the mean score."""
PAIRS = 4096
"""Pairs of orders that are drawn at most."""


def members(merges: Tensor) -> Tensor:
    """Who belongs to each part, players first, bool [2 players − 1, players]."""
    players = len(merges) + 1
    found = torch.eye(2 * players - 1, players, dtype=torch.bool)
    for k, (a, b) in enumerate(merges.tolist(), players):
        found[k] = found[a] | found[b]
    return found


def count(merges: Tensor) -> int:
    """How many coalitions the orders of the tree pass through, with none and all."""
    players = len(merges) + 1
    many = [1] * (2 * players - 1)  # contexts of every part
    for k in range(2 * players - 2, players - 1, -1):
        for part in merges[k - players].tolist():
            many[part] = 2 * many[k]
    return 2 + 2 * sum(many[players:])


def coalitions(merges: Tensor) -> Tensor:
    """All of them, none and all first, bool [count, players]."""
    who, players = members(merges), len(merges) + 1
    none = torch.zeros(1, players, dtype=torch.bool)
    before, found = {2 * players - 2: none}, [none, ~none]
    for k in range(2 * players - 2, players - 1, -1):
        a, b = merges[k - players].tolist()
        outside = before.pop(k)
        with_a, with_b = outside | who[a], outside | who[b]
        before[a], before[b] = torch.cat([outside, with_b]), torch.cat([outside, with_a])
        found += [with_a, with_b]
    return torch.cat(found)


def places(merges: Tensor, coins: Tensor) -> Tensor:
    """The place of every player in the orders of the tree, int64 [orders, players].

    coins: bool [orders, players − 1], True where a merge puts its second part first.
    """
    players, size = len(merges) + 1, members(merges).sum(1)
    start = torch.zeros(len(coins), 2 * players - 1, dtype=torch.int64)
    for k in range(players - 2, -1, -1):
        a, b = merges[k].tolist()
        start[:, a] = start[:, players + k] + torch.where(coins[:, k], size[b], 0)
        start[:, b] = start[:, players + k] + torch.where(coins[:, k], 0, size[a])
    return start[:, :players]


def paired(merges: Tensor, pairs: int, seed: int) -> Tensor:
    """Random orders of the tree, each followed by its reverse, in which all coins are turned; as `places`."""
    draw = generator(seed, "owen", len(merges) + 1, pairs)
    coins = torch.rand(pairs, len(merges), generator=draw, dtype=torch.float64) < 0.5
    return places(merges, torch.stack([coins, ~coins], 1).flatten(0, 1))


def orders(merges: Tensor, calls: int, seed: int) -> Design:
    """As many pairs of opposite orders as pass through at most so many coalitions besides none and all.

    Raises ParameterError where these are fewer than two, which have no standard error.
    """
    players = len(merges) + 1
    pairs = 2 + calls // (2 * (players - 1))
    while True:
        order = paired(merges, pairs, seed)
        which = distinct(arriving(order).shown)[1]
        new = torch.zeros(len(which), dtype=torch.int64)
        new[_first(which)] = 1
        spent = new.view(pairs, -1).sum(1).cumsum(0) - 2  # of the first pairs together
        fit = int((spent <= calls).sum())
        if fit < pairs or pairs >= PAIRS:
            break
        pairs = min(2 * pairs, PAIRS)
    if fit < 2:
        raise ParameterError(
            f"owen_shapley.calls = {calls} for pairs of orders of {players} players",
            f"at least {int(spent[1])}",
            "more calls, or estimator='process'",
        )
    return arriving(order[: 2 * fit])


def _first(which: Tensor) -> Tensor:
    """Where each number comes for the first time."""
    at = torch.arange(len(which))
    return torch.full((int(which.max()) + 1,), len(which)).scatter_reduce(0, which, at, "amin")


def asked(shown: Tensor) -> Design:
    """Coalitions that were chosen, not drawn."""
    return Design(shown=shown, weight=torch.ones(len(shown)).double(), group=torch.zeros(len(shown)).long())


def telling(merges: Tensor, calls: int, seed: int) -> Design:
    """The coalitions that tell most of the Owen values, at most so many besides none and all, which come first.

    One by one, that which takes most off the sum of the values' variances in a process with correlations ρ^|S△T|; then
    those that turn out to tell least are exchanged for others. No score is looked at. They are chosen out of all
    coalitions of the tree, or of those of random orders where there are more than 4096.

    Raises ParameterError for more than 4096 calls.
    """
    if calls > MOST:
        raise ParameterError(
            f"owen_shapley.calls = {calls} with estimator='process'", f"at most {MOST}", "estimator='orders' or 'split'"
        )
    found = coalitions(merges) if count(merges) <= MOST + 2 else _some(merges, seed)
    if len(found) <= calls + 2:
        return asked(found)
    order = torch.randperm(len(found) - 2, generator=generator(seed, "telling", len(merges) + 1)) + 2
    found = torch.cat([found[:2], found[order]])  # of those that tell as much as one another, the first is chosen
    return asked(found[exchanged(found, merges, chosen(found, merges, calls + 2))])


def _some(merges: Tensor, seed: int) -> Tensor:
    """None, all, and coalitions of random orders."""
    players = len(merges) + 1
    found = distinct(arriving(paired(merges, -(-MOST // (2 * players)), seed)).shown)[0]
    size = found.sum(1)
    ends = torch.stack([torch.zeros(players), torch.ones(players)]).bool()
    return torch.cat([ends, found[(size > 0) & (size < players)]])


def chosen(shown: Tensor, merges: Tensor, many: int) -> Tensor:
    """The numbers of the most telling, the first two first, int64 [many]: a Cholesky factorisation with pivots.

    Its rows are the scores' covariances with those chosen before; what is left of the values' is kept beside it. Single
    precision is enough to choose by.
    """
    values = _with_values(shown, merges).float()
    variance = shown.new_full((len(shown),), UNKNOWN + 1 + ROUGH, dtype=torch.float32)
    rows, found = values.new_zeros(many, len(shown)), torch.arange(many)
    for k in range(many):
        if k > 1:
            gain = values.square().sum(0) / variance
            gain[found[:k]] = -1.0
            found[k] = gain.argmax()
        one = int(found[k])
        row = (_with_scores(shown, one).float() - rows[:k, one] @ rows[:k]) / variance[one].sqrt()
        values.addr_(values[:, one] / row[one], row, alpha=-1)
        variance = (variance - row.square()).clamp_min(ROUGH / 2)
        rows[k] = row
    return found


def exchanged(shown: Tensor, merges: Tensor, found: Tensor) -> Tensor:
    """The same after exchanging the one that tells least for the one that tells most, until these are the same.

    With P = K⁻¹ of those chosen and h its column of one of them, leaving that out makes P − h hᵀ / h_one of it.
    """
    found, first = found.clone(), _with_values(shown, merges)
    rows = torch.stack([_with_scores(shown, one) for one in found.tolist()])
    inverse = torch.linalg.inv(rows[:, found])
    values = first - first[:, found] @ inverse @ rows
    variance = UNKNOWN + 1 + ROUGH - (rows * (inverse @ rows)).sum(0)
    for _ in range(len(found) // 2):
        told = (first[:, found] @ inverse).square().sum(0) / inverse.diagonal()
        k = int(told[2:].argmin()) + 2  # none and all stay
        column = inverse[:, k] / inverse[k, k].sqrt()
        freed = column @ rows
        values = values + torch.outer(first[:, found] @ column, freed)
        variance = variance + freed.square()
        gain = values.square().sum(0) / variance.clamp_min(ROUGH / 2)
        gain[found] = torch.where(torch.arange(len(found)) == k, gain[found], -1.0)
        if (one := int(gain.argmax())) == int(found[k]):
            break
        inverse = inverse - torch.outer(column, column)
        rows[k], found[k] = _with_scores(shown, one), one
        weights = -(inverse @ rows[k, found])
        weights[k] = 1.0
        row = weights @ rows
        values = values - torch.outer(values[:, one] / row[one], row)
        variance = variance - row.square() / row[one]
        inverse = inverse + torch.outer(weights, weights) / row[one]
    return found


def _with_scores(shown: Tensor, one: int) -> Tensor:
    """Covariances of the score of one coalition with those of all."""
    row = UNKNOWN + _near(shown) ** (shown != shown[one]).sum(1).double()
    row[one] += ROUGH
    return row


def _with_values(shown: Tensor, merges: Tensor) -> Tensor:
    """Covariances of the players' values with all scores, [players, rows]."""
    powers = Owen(merges)
    return (powers.games(shown, _near(shown)) + ROUGH * powers.games(shown, 0.0)).mT.contiguous()


def _near(shown: Tensor) -> float:
    return math.exp(-4 / (NEAR * shown.shape[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Owen:
    """Owen values of a tree; see `pellucid.ops.smooth.Values`."""

    merges: Tensor

    def games(self, shown: Tensor, near: float) -> Tensor:
        """± (1 − ρ) Π_P ½ (ρ^|P ∩ T| + ρ^|P ∖ T|), over the parts P beside the player's own, up to the top.

        ρ^|S△T| is a product over the players, and each P is all outside of S or all in it, with a chance of ½ each.
        """
        who = members(self.merges).double()
        inside = shown.double() @ who.mT
        either = (near**inside + near ** (who.sum(1) - inside)) / 2
        return (1 - near) * (2 * shown.double() - 1) * self._down(either)

    def prior(self, near: float) -> Tensor:
        """2 (1 − ρ) Π_P ½ (1 + ρ^|P|)."""
        size = members(self.merges).double().sum(1)
        return 2 * (1 - near) * self._down((1 + near**size)[None] / 2)[0]

    def _down(self, beside: Tensor) -> Tensor:
        """For every player the product over the parts beside its own, [rows, parts] to [rows, players]."""
        players, found = len(self.merges) + 1, torch.ones_like(beside)
        for k in range(players - 2, -1, -1):
            a, b = self.merges[k].tolist()
            found[:, a] = found[:, players + k] * beside[:, b]
            found[:, b] = found[:, players + k] * beside[:, a]
        return found[:, :players]
