"""Designs: which coalitions of players a game is asked about, and how much every answer counts.

All draws come from generators of their own and depend on the number of players, the number of samples and the seed
alone, so that a picture sees the same coalitions whatever runs beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from pellucid.core.errors import ParameterError
from pellucid.core.points import generator

LEAST, SCRAMBLES = 8, 16
"""Independent scrambles of a low-discrepancy design, from and to; its error is read off from how much they differ."""
WORD = 62
"""Players up to which a coalition is compared as one whole number."""
MOST = 20
"""Players of which all coalitions can be listed: a million."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """Coalitions of n players.

    shown   bool [samples, n], True where the player is there; numbers in 0 … 1 where players may be there in part
    weight  float64 [samples], how much every answer counts
    group   int64 [samples], equal for what was drawn together; −1 for what was not drawn at all
    stratum int64 [samples], equal for what could have been drawn in its place; nothing where that is all
    known   float64 [samples], the part of the stratum that was drawn, without replacement; nothing with replacement
    """

    shown: Tensor
    weight: Tensor
    group: Tensor
    stratum: Tensor | None = None
    known: Tensor | None = None

    def beside(self, shown: bool, weight: float = 1.0) -> Design:
        """The same, with the coalition of all (or of none) before it."""
        first = torch.full((1, self.shown.shape[1]), shown)
        return Design(
            shown=torch.cat([first.to(self.shown), self.shown]),
            weight=torch.cat([self.weight.new_tensor([weight]), self.weight]),
            group=torch.cat([self.group.new_tensor([-1]), self.group]),
            stratum=None if self.stratum is None else torch.cat([self.stratum[:1], self.stratum]),
            known=None if self.known is None else torch.cat([self.known[:1], self.known]),
        )

    def joined(self, more: Design) -> Design:
        """The same, and what was drawn independently of it in the same way; both without strata."""
        if self.stratum is not None or more.stratum is not None:
            raise ParameterError("two draws by strata", "designs that are drawn with replacement")
        group = torch.where(more.group < 0, -1, more.group + 1 + self.group.max().clamp_min(-1))
        return Design(
            shown=torch.cat([self.shown, more.shown]),
            weight=torch.cat([self.weight, more.weight]),
            group=torch.cat([self.group, group]),
        )

    def after(self, first: int) -> Design:
        """The same without the first ones."""
        stratum = None if self.stratum is None else self.stratum[first:]
        known = None if self.known is None else self.known[first:]
        return Design(
            shown=self.shown[first:],
            weight=self.weight[first:],
            group=self.group[first:],
            stratum=stratum,
            known=known,
        )


def _drawn(shown: Tensor, together: int = 1) -> Design:
    samples = len(shown)
    return Design(
        shown=shown,
        weight=torch.ones(samples, dtype=torch.float64),
        group=torch.arange(samples) // together,
    )


def coin(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """Every player is there with chance `share`, whatever the others do."""
    draw = torch.rand(samples, players, generator=generator(seed, "coin", players, samples), dtype=torch.float64)
    return _drawn(draw < share)


def paired(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """Fair coins, every coalition followed by its complement. An odd last one stays alone."""
    _fair(share, "paired")
    half = coin(players, (samples + 1) // 2, seed).shown
    return _drawn(torch.stack([half, ~half], 1).flatten(0, 1)[:samples], 2)


def sobol(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """Scrambled Sobol points u, a player being there where u < share; independent scrambles one after another."""
    drawn = uniform(players, samples, seed)
    return Design(shown=drawn.shown < share, weight=drawn.weight, group=drawn.group)


def uniform(players: int, samples: int, seed: int) -> Design:
    """Scrambled Sobol points in the cube [0, 1]^players; at least eight scrambles, 16 where each has eight points.

    Every scramble gives the coordinates to other players: in few points, some coordinates have the same first bit.

    Raises ParameterError for more than 21,201 players.
    """
    if players > SobolEngine.MAXDIM:
        raise ParameterError(f"{players} players in a Sobol design", f"at most {SobolEngine.MAXDIM}", "design='coin'")
    scrambles = min(SCRAMBLES, max(LEAST, samples // 8), samples)
    sizes = [samples // scrambles + (i < samples % scrambles) for i in range(scrambles)]
    draw = generator(seed, "sobol", players)
    parts: list[Tensor] = []
    for size in sizes:
        one = SobolEngine(players, scramble=True, seed=int(torch.randint(2**31, (), generator=draw)))
        parts.append(one.draw(size, dtype=torch.float64)[:, torch.randperm(players, generator=draw)])
    group = torch.repeat_interleave(torch.arange(scrambles), torch.tensor(sizes))
    return Design(shown=torch.cat(parts), weight=torch.ones(samples, dtype=torch.float64), group=group)


def hadamard(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """Columns of a Hadamard matrix and their mirror image: main effects free of one another and of pairs of players.

    Every block takes other columns, other signs and another order. Drawn together are blocks where there are eight or
    more of them, else a row and its mirror image.
    """
    _fair(share, "hadamard")
    order = 1 << players.bit_length()  # more than players: the constant column is not used
    at = torch.arange(order)
    bits = torch.zeros(order, order, dtype=torch.int64)
    for bit in range(order.bit_length() - 1):
        bits ^= (at[:, None] >> bit) & (at >> bit) & 1
    blocks, draw = -(-samples // (2 * order)), generator(seed, "hadamard", players)
    rows: list[Tensor] = []
    for _ in range(blocks):
        columns = 1 + torch.randperm(order - 1, generator=draw)[:players]
        half = bits[torch.randperm(order, generator=draw)][:, columns].bool()
        half = half ^ torch.randint(2, (players,), generator=draw).bool()
        rows.append(torch.stack([half, ~half], 1).flatten(0, 1))
    return _drawn(torch.cat(rows)[:samples], 2 * order if blocks >= 8 else 2)


def by_hidden(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """First how many players are hidden, each of 1 … n with the same chance, then who: those of Python's lime of texts.

    All players may be hidden, and never none.
    """
    _fair(share, "by_hidden")
    draw = generator(seed, "by_hidden", players, samples)
    hidden = torch.randint(1, players + 1, (samples, 1), generator=draw)
    return _drawn(places(samples, players, draw) >= hidden)


def by_shown(players: int, samples: int, seed: int, share: float = 0.5) -> Design:
    """First how many players are shown, each of 1 … n with the same chance, then who: those of R's lime of texts.

    All players may be shown, and never none.
    """
    _fair(share, "by_shown")
    draw = generator(seed, "by_shown", players, samples)
    shown = torch.randint(1, players + 1, (samples, 1), generator=draw)
    return _drawn(places(samples, players, draw) < shown)


DESIGNS = {"coin": coin, "paired": paired, "sobol": sobol, "hadamard": hadamard}
"""Ways of drawing that show every player equally often, and each half of the time unless told otherwise."""
BY_COUNT = {"by_hidden": by_hidden, "by_shown": by_shown}
"""Ways of drawing that choose a number of players first; coalitions of few and of many are as likely as others."""


def everything(players: int) -> Design:
    """All 2^players coalitions; player i is bit i of a coalition's number. Raises ParameterError for more than 20."""
    if players > MOST:
        raise ParameterError(f"all coalitions of {players} players", f"at most {MOST} players")
    number = torch.arange(1 << players)
    shown = ((number[:, None] >> torch.arange(players)) & 1).bool()
    one = torch.ones(len(number), dtype=torch.float64)
    return Design(shown=shown, weight=one, group=torch.full_like(number, -1))


def orders(players: int, samples: int, seed: int, antithetic: bool) -> Tensor:
    """The place of every player in random orders, int64 [samples, players]; antithetic: each and its reverse."""
    draw = generator(seed, "orders", players, samples)
    if not antithetic:
        return places(samples, players, draw)
    half = places((samples + 1) // 2, players, draw)
    return torch.stack([half, players - 1 - half], 1).flatten(0, 1)[:samples]


def chains(places: Tensor) -> Tensor:
    """Players arriving one by one: bool [samples, players + 1, players], from none to all.

    places: the place of every player in the order of arrival, [samples, players].
    """
    return places[:, None, :] < torch.arange(places.shape[1] + 1)[:, None]


def places(samples: int, players: int, draw: torch.Generator) -> Tensor:
    """The place of every player in random orders, int64 [samples, players]."""
    return torch.rand(samples, players, generator=draw, dtype=torch.float64).argsort(1)


def _fair(share: float, name: str) -> None:
    if share != 0.5:
        raise ParameterError(
            f"the {name} design with parts shown {share:g} of the time", "one half", "design='coin' or 'sobol'"
        )


def distinct(shown: Tensor) -> tuple[Tensor, Tensor]:
    """Every coalition once, and which of them each one is: ([distinct, players], int64 [samples]).

    Their order does not depend on that of the design, so that designs with the same coalitions ask the same question.
    """
    if shown.dtype != torch.bool or shown.shape[1] > WORD:
        whole = shown.to(torch.uint8) if shown.dtype == torch.bool else shown
        once, which = torch.unique(whole, dim=0, return_inverse=True)
        return once.to(shown.dtype), which
    shift = torch.arange(shown.shape[1] - 1, -1, -1)  # the first player is the highest bit: the order is that of rows
    once, which = torch.unique((shown.long() << shift).sum(1), return_inverse=True)
    return ((once[:, None] >> shift) & 1).bool(), which
