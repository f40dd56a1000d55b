"""Designs whose weighted least squares are Shapley values: coalitions drawn by size, each with its complement."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from pellucid.core.points import generator
from pellucid.ops.designs import MOST, Design, everything, places

ENOUGH = 2
"""Pairs that have to be left for the sizes that are not enumerated."""


def shapley_kernel(players: int, samples: int, seed: int) -> Design:
    """Coalitions whose sizes k have chance ∝ 1 / (k (n − k)), each followed by its complement; all, where they fit.

    Where there are no more than `samples` coalitions besides none and all, each is there once, with the weight of the
    Shapley kernel, (n − 1) / (C(n, k) k (n − k)).
    """
    if _fits(players, samples):
        return _all(players)
    draw, pairs = generator(seed, "shapley kernel", players, samples), (samples + 1) // 2
    k = 1 + torch.multinomial(_mass(players), pairs, replacement=True, generator=draw)
    shown = _with_complements(places(pairs, players, draw) < k[:, None])[:samples]
    return Design(shown=shown, weight=torch.ones(samples, dtype=torch.float64), group=torch.arange(samples) // 2)


def border(players: int, samples: int, seed: int) -> Design:
    """All coalitions of the sizes 1, n − 1, 2, n − 2 … as far as the samples go; of the others, pairs by chance.

    A size and its complement are enumerated where the samples that are left, shared out by the kernel's mass, give
    every one of its coalitions one [as Lundberg's software does]. The coalitions that are drawn share the mass of the
    sizes that are not enumerated; enumerated ones have their own.
    """
    if _fits(players, samples):
        return _all(players)
    mass, left = _mass(players), samples
    listed: list[Tensor] = []
    for k in range(1, players // 2 + 1):
        there = math.comb(players, k) * (1 if 2 * k == players else 2)
        part = mass[k - 1 : players - k]
        share = (part[0] + (part[-1] if len(part) > 1 else 0)) / part.sum()
        if there > left * float(share) * (1 + 1e-8) or left - there < 2 * ENOUGH:
            break
        one = _listed(players, k)
        listed.append(one if 2 * k == players else torch.cat([one, ~one]))
        left -= there
    draw, pairs, first = generator(seed, "border", players, samples), left // 2, len(listed)
    rest = mass[first : players - 1 - first]
    size = 1 + first + torch.multinomial(rest, pairs, replacement=True, generator=draw)
    drawn = _with_complements(places(pairs, players, draw) < size[:, None])
    known = torch.cat([torch.zeros(0, players, dtype=torch.bool), *listed])
    one = torch.tensor([0.0, *(float(mass[k]) / math.comb(players, k + 1) for k in range(players - 1))])
    return Design(
        shown=torch.cat([known, drawn]),
        weight=torch.cat([one.to(mass)[known.sum(1)], (rest.sum() / len(drawn)).expand(len(drawn))]),
        group=torch.cat([torch.full((len(known),), -1), torch.arange(len(drawn)) // 2]),
    )


def leverage(players: int, samples: int, seed: int) -> Design:
    """Every size equally often, coalitions without replacement, each with its complement    [Musco & Witter 2025]

    1 / C(n, k) is the leverage of a coalition of k in the regression whose solution are the Shapley values. A row
    counts the Shapley kernel over its chance of being drawn. Sizes with fewer coalitions than their share are there as
    a whole, and leave the rest of it to the others. Unlike in the paper the count of every size is not itself drawn,
    so that there are exactly as many rows as asked for (less one, where that is odd).
    """
    if _fits(players, samples):
        return _all(players)
    draw = generator(seed, "leverage", players, samples)
    sizes, half = range(1, players // 2 + 1), [0.5 if 2 * k == players else 1.0 for k in range(1, players // 2 + 1)]
    there = [min(math.comb(players, k), 1 << 62) // (2 if 2 * k == players else 1) for k in sizes]
    wanted = _shared(samples // 2, torch.tensor(half).double(), torch.tensor(there).double())
    counts = _rounded(wanted, draw)
    rows = [_some(players, k, int(m), draw) for k, m in zip(sizes, counts, strict=True)]
    of = torch.repeat_interleave(torch.arange(len(rows)), counts).repeat_interleave(2)
    weight = _mass(players)[: len(rows)] * torch.tensor(half) / torch.where(wanted < 1, wanted, counts)
    known = wanted / torch.tensor(there)
    whole = (known >= 1)[of]
    group = torch.arange(len(of)) // 2
    return Design(
        shown=_with_complements(torch.cat(rows)),
        weight=weight[of],
        group=torch.where(whole, -1, group),
        stratum=_merged(torch.where(known >= 1, 0, counts))[of],
        known=known[of],
    )


KERNELS = {"kernel": shapley_kernel, "border": border, "leverage": leverage}
"""Ways of drawing whose weighted least squares tend to Shapley values."""


def _fits(players: int, samples: int) -> bool:
    return players <= MOST and 2**players - 2 <= samples


def _mass(players: int) -> Tensor:
    """(n − 1) / (k (n − k)): what the kernel gives to all coalitions of k = 1 … n − 1 players together."""
    size = torch.arange(1, players, dtype=torch.float64)
    return (players - 1) / (size * (players - size))


def _all(players: int) -> Design:
    """Every coalition but none and all, with its weight in the Shapley kernel."""
    shown = everything(players).shown[1 : 2**players - 1]
    each = [float(m) / math.comb(players, k + 1) for k, m in enumerate(_mass(players))]
    weight = torch.tensor([0.0, *each], dtype=torch.float64)[shown.sum(1)]
    return Design(shown=shown, weight=weight, group=torch.full((len(shown),), -1))


def _with_complements(half: Tensor) -> Tensor:
    return torch.stack([half, ~half], 1).flatten(0, 1)


def _listed(players: int, k: int) -> Tensor:
    """All coalitions of k players, bool [C(n, k), players]."""
    chosen = torch.tensor(list(combinations(range(players), k)), dtype=torch.int64).view(-1, k)
    return torch.zeros(len(chosen), players, dtype=torch.bool).scatter(1, chosen, True)


def _some(players: int, k: int, count: int, draw: torch.Generator) -> Tensor:
    """`count` different coalitions of k players; of k = n / 2 those with player 0, whose complements are the others."""
    if 2 * k == players:
        return torch.nn.functional.pad(_some(players - 1, k - 1, count, draw), (1, 0), value=True)
    there = math.comb(players, k)
    if there <= 2 * count:
        return _listed(players, k)[torch.randperm(there, generator=draw)[:count]]
    found = torch.zeros(0, players, dtype=torch.bool)
    while len(found) < count:
        found = torch.cat([found, places(count - len(found), players, draw) < k])
        once, of = torch.unique(found.to(torch.uint8), dim=0, return_inverse=True)
        first = torch.full((len(once),), len(found)).scatter_reduce(0, of, torch.arange(len(found)), "amin")
        found = found[first.sort().values]
    return found


def _shared(total: int, share: Tensor, room: Tensor) -> Tensor:
    """`total` shared out by `share`, nobody getting more than there is room for."""
    given = torch.zeros_like(share)
    full = torch.zeros_like(share).bool()
    while True:
        given = torch.where(full, room, share * (total - room[full].sum()) / share[~full].sum())
        over = ~full & (given >= room)
        if not bool(over.any()):
            return given
        full |= over


def _rounded(wanted: Tensor, draw: torch.Generator) -> Tensor:
    """Whole numbers with the same sum, each in expectation what was wanted."""
    start = torch.rand((), generator=draw, dtype=torch.float64)
    ends = torch.cat([wanted.new_zeros(1), wanted.frac().cumsum(0)])
    ends[-1] = ends[-1].round()
    return (wanted.floor() + (ends + start).floor().diff()).long()


def _merged(counts: Tensor) -> Tensor:
    """Numbers of strata that hold at least two draws each: sizes with fewer are one with the next ones."""
    number, held, strata = 0, 0, torch.zeros_like(counts)
    for k, count in enumerate(counts.tolist()):
        if held >= 2 and int(counts[k:].sum()) >= 2:
            number, held = number + 1, 0
        strata[k], held = number, held + count
    return strata
