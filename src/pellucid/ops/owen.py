"""Owen values of a binary tree of players: credit is split from the top down, where there is most of it first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

ROUNDS = 8
"""The budget is spent in at least as many rounds, so that later ones go where earlier ones found credit."""

Open = tuple[float, int, int, float]
"""A part whose credit is to be split: −|credit|, its number, its context, its weight."""


@dataclass(slots=True)
class Splitting:
    """The credit of one row for one target, on its way from all players to single ones.

    A part P in the context of a coalition C outside of it has the credit w (v(C ∪ P) − v(C)). Its halves L and R get
    theirs in two contexts each, C and C with the other half, w / 2 each. Coalitions are whole numbers, player i bit i.

    merges  [players − 1, 2], see `pellucid.ops.hierarchy`
    calls   coalitions that may be asked for besides none and all
    v       what is known of the game
    """

    merges: list[list[int]]
    calls: int
    v: dict[int, float]
    members: list[int] = field(init=False)
    heap: list[Open] = field(init=False)
    single: list[float] = field(init=False)
    """Credit that reached single players."""
    at_once: int = field(init=False)
    chosen: list[Open] = field(init=False)
    asked: list[int] = field(init=False)

    def __post_init__(self) -> None:
        players = len(self.merges) + 1
        self.members = [1 << i for i in range(players)]
        for a, b in self.merges:
            self.members.append(self.members[a] | self.members[b])
        self.heap, self.single, self.chosen, self.asked = [], [0.0] * players, [], []
        self.at_once = max(2, self.calls // ROUNDS)
        self._add(2 * players - 2, 0, 1.0)

    def wants(self) -> list[int]:
        """The coalitions to be asked for next; none when all is split, or the budget is spent."""
        new: dict[int, None] = {}
        self.chosen = []
        most = min(self.at_once, self.calls)
        while self.heap:
            _, part, context, _ = self.heap[0]
            a, b = self._halves(part)
            more = {context | one for one in (a, b)} - self.v.keys() - new.keys()
            if len(new) + len(more) > most:
                break
            self.chosen.append(heapq.heappop(self.heap))
            new.update(dict.fromkeys(sorted(more)))
        self.calls -= len(new)
        self.asked = list(new)
        return self.asked

    def take(self, found: dict[int, float]) -> None:
        """Split what was chosen, now that its coalitions are known; what others asked for is not looked at."""
        self.v.update({coalition: found[coalition] for coalition in self.asked})
        for _, part, context, weight in self.chosen:
            for one, other in (pair := self.merges[part - len(self.single)], pair[::-1]):
                self._add(one, context, weight / 2)
                self._add(one, context | self.members[other], weight / 2)

    def _halves(self, part: int) -> tuple[int, int]:
        a, b = self.merges[part - len(self.single)]
        return self.members[a], self.members[b]

    def _add(self, part: int, context: int, weight: float) -> None:
        credit = weight * (self.v[context | self.members[part]] - self.v[context])
        if part < len(self.single):
            self.single[part] += credit
        else:
            heapq.heappush(self.heap, (-abs(credit), part, context, weight))

    def _open(self) -> list[tuple[float, int]]:
        """The credit that is not split, and whose it is."""
        parts = ((weight, context, self.members[part]) for _, part, context, weight in self.heap)
        return [(weight * (self.v[context | one] - self.v[context]), one) for weight, context, one in parts]

    def left(self) -> list[float]:
        """What every player gets of the credit that is not split: equal shares of that of its parts."""
        shares = [0.0] * len(self.single)
        for credit, members in self._open():
            for i in range(len(shares)):
                if members >> i & 1:
                    shares[i] += credit / members.bit_count()
        return shares

    def values(self) -> list[float]:
        """What every player is worth."""
        return [sure + share for sure, share in zip(self.single, self.left(), strict=True)]

    @property
    def unresolved(self) -> float:
        """The part of all credit that is not split, 0 … 1."""
        rest = sum(abs(credit) for credit, _ in self._open())
        total = rest + sum(map(abs, self.single))
        return rest / total if total else 0.0
