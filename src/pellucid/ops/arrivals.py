"""Players that arrive one after another: what each adds to those before it."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.points import generator
from pellucid.ops.designs import Design, chains, places
from pellucid.ops.games import Played, Worth


def arriving(order: Tensor) -> Design:
    """All coalitions on the way from none to all in every order.

    order: the place of every player, int64 [orders, players].
    """
    shown = chains(order).flatten(0, 1)
    return Design(shown=shown, weight=torch.ones(len(shown)).double(), group=torch.zeros(len(shown)).long())


def added(played: Played, together: int) -> Worth:
    """The mean over orders of what every player adds, and its standard error; None of a single draw.

    played: of designs `arriving(order)`; together: how many orders, one after another, were drawn together.
    """
    shown = played.design.shown
    steps = shown.unflatten(0, (-1, shown.shape[1] + 1))  # [order, step, player]
    order = steps.shape[2] - steps.sum(1)  # who is there in many steps came early
    v = played.scores.view(len(played.scores), len(order), -1)
    each = v.diff(dim=2).gather(2, order.expand(len(v), -1, -1))  # [target, order, player]
    mean, parts = each.mean(1), each.split(together, 1)
    if len(parts) < 2:
        return Worth(mean, None)
    off = torch.stack([(some - mean[:, None]).sum(1) for some in parts], 1)
    error = (off.square().sum(1) * len(parts) / (len(parts) - 1)).sqrt() / len(order)
    return Worth(mean, error)


def stratified(players: int, samples: int, seed: int, strata: int) -> Tensor:
    """Orders in which every player arrives once in each of `strata` parts of the way; int64 [samples, players].

    For every `strata` orders the players are put into as many blocks by chance. The blocks arrive in the orders of the
    rows of a Latin square; for an even number, of one in which each follows each other block once [Williams 1949], so
    that a player does not see the same others before it again and again. Within a block, players arrive by chance.
    """
    strata = min(strata, players)
    square, draw = williams(strata), generator(seed, "stratified", players, samples, strata)
    found: list[Tensor] = []
    for _ in range(-(-samples // strata)):
        block = places(1, players, draw)[0] * strata // players
        name = torch.randperm(strata, generator=draw)
        turn = name[square].argsort(1)[:, block]  # when the block of every player arrives
        late = torch.rand(strata, players, generator=draw, dtype=torch.float64)
        found.append((turn + late).argsort(1).argsort(1))
    return torch.cat(found)[:samples]


def williams(order: int) -> Tensor:
    """A Latin square, int64 [order, order]; of even order each number follows each other one once."""
    at = torch.arange(order)
    first = torch.where(at % 2 == 1, (at + 1) // 2, (order - at // 2) % order) if order % 2 == 0 else at
    return (first + at[:, None]) % order
