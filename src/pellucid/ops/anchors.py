"""Anchors: few players that hold the model's answer whatever the others do, found by a bandit in a beam search.

The search is a generator: it yields draws, is sent how often the model agreed, and returns the anchor. So it knows no
model, and many searches can go in step and share their questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.points import generator
from pellucid.ops.bounds import bounds, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What is looked for, and how hard.

    threshold  precision that an anchor must have
    delta      chance that any of the bounds seen on the way is wrong
    tau        the bandit stops where no other set can be better by more than this
    slack      how far the lower bound of an anchor's precision may lie below the threshold
    beam       sets that are grown further
    size       most players of an anchor
    samples    draws, at most
    batch      draws per question
    share      chance that a player who is not held is shown
    """

    threshold: float = 0.95
    delta: float = 0.1
    tau: float = 0.15
    slack: float = 0.05
    beam: int = 2
    size: int | None = None
    samples: int = 4000
    batch: int = 100
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """Coalitions to be asked about.  shown: bool [draws, players]; behind: number of the background, int64 [draws]."""

    shown: Tensor
    behind: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anchor:
    """A set of players and what is known of it.

    members      bool [players]
    precision    share of the draws with all members shown in which the model agreed
    low, high    bounds on it, right with chance 1 − delta for all that the search said
    coverage     chance that the anchor holds in a draw
    draws        number of draws behind precision
    held         whether the threshold was reached, to within the slack
    """

    members: Tensor
    precision: float
    low: float
    high: float
    coverage: float
    draws: int
    held: bool


HASTE, PATIENCE = 16, 8
"""A contest takes at most one part in so many of the draws that are left, and so does a trial."""
Search = Generator[Draws, Tensor, Anchor]
Drawing = Generator[Draws, Tensor, None]


def search(
    players: int, aim: Aim, seed: int, backgrounds: int = 1, coverage: Callable[[Tensor], Tensor] | None = None
) -> Search:
    """Beam search from no players up, one more at a time, until an anchor of the highest coverage is known.

    backgrounds  how many fills there are for what is hidden; every draw takes one
    coverage     of sets of players, bool [sets, players] -> [sets]; by default share^(number of members)
    Yields draws; wants, for each, 1 where the model agreed and 0 where not, float64 [draws].
    """
    covered = coverage or (lambda sets: aim.share ** sets.sum(1).double())
    seen = _Seen(players, aim, seed, backgrounds)
    beam = torch.zeros(1, players, dtype=torch.bool)
    best, closest = None, None
    for size in range(min(players, aim.size or players) + 1):
        if size:
            beam = _grown(beam, covered, 0.0 if best is None else best.coverage)
            if not len(beam):
                break
            beam = yield from _contest(seen, beam)
        for arm in beam:
            value = float(covered(arm[None])[0])
            if best is not None and value <= best.coverage:
                continue
            judged = yield from _judged(seen, arm, value)
            best = judged if judged.held else best
            closest = judged if closest is None or judged.low > closest.low else closest
        if seen.left <= 0:
            break
    found = best or closest
    if found is None:
        raise RuntimeError("a search that judged nothing")
    return found


class _Seen:
    """All draws so far. A draw with the set A held tells of every set B that holds A and is shown in it.

    Given that B is shown, it is distributed as a draw with B held, and whether it is used for B depends on nothing
    that the model said of it: so one draw serves many sets, and every set's draws are independent.
    """

    def __init__(self, players: int, aim: Aim, seed: int, backgrounds: int) -> None:
        self.aim, self.backgrounds = aim, backgrounds
        self.source = generator(seed, "anchors", players)
        self.held, self.shown = (torch.zeros(0, players) for _ in range(2))
        self.agreed = torch.zeros(0, dtype=torch.float64)
        self.trials = 0

    @property
    def left(self) -> int:
        """Draws that may still be made."""
        return self.aim.samples - len(self.shown)

    def draw(self, sets: Tensor) -> Drawing:
        """A batch of draws, shared among the sets that are held, bool [sets, players]."""
        count = min(self.aim.batch, self.left)
        if count <= 0:
            return
        held = sets[torch.arange(count) * len(sets) // count]
        coins = torch.rand(held.shape, generator=self.source, dtype=torch.float64) < self.aim.share
        behind = torch.randint(self.backgrounds, (count,), generator=self.source)
        agreed = yield Draws(shown=coins | held, behind=behind)
        self.held, self.shown = torch.cat([self.held, held.float()]), torch.cat([self.shown, (coins | held).float()])
        self.agreed = torch.cat([self.agreed, agreed.double()])

    def counts(self, sets: Tensor) -> tuple[Tensor, Tensor]:
        """How often the model agreed and how many draws there are, of every set, float64 [sets]."""
        inside = self.held @ (~sets).float().mT == 0
        whole = (1 - self.shown) @ sets.float().mT == 0
        use = (inside & whole).double()  # [draws, sets]
        return self.agreed @ use, use.sum(0)

    def bounds(self, sets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean, lower and upper bound, and number of draws of every set, all of one size.

        Half of delta is shared out: a half of it for the empty set, a quarter for all sets of one player, and so on,
        in equal parts within a size; so they hold for all sets that there are, whichever were looked at.
        """
        size, players = int(sets[0].sum()), sets.shape[1]
        return self._bounds(sets, -(size + 2) * math.log(2) - math.log(math.comb(players, size)))

    def steering(self, sets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same for the sets of a contest alone, as if they had been named before all draws: narrower.

        They decide what is drawn next, as in the paper, and nothing that is said of an anchor.
        """
        return self._bounds(sets, -math.log(len(sets)))

    def trial(self, first: int) -> tuple[float, float, float, int]:
        """Mean, lower and upper bound, and number of draws since the first of a trial."""
        agreed = self.agreed[first:]
        hits, draws = agreed.sum(), agreed.new_tensor(float(len(agreed)))
        low, high = bounds(hits, draws, rate(hits, draws, math.log(self.aim.delta) - (self.trials + 1) * math.log(2)))
        return float(hits / draws), float(low), float(high), len(agreed)

    def _bounds(self, sets: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        risk = math.log(self.aim.delta) + share
        hits, draws = self.counts(sets)
        low, high = bounds(hits, draws, rate(hits, draws, risk))
        return hits / draws.clamp_min(1), low, high, draws


def _grown(beam: Tensor, coverage: Callable[[Tensor], Tensor], above: float) -> Tensor:
    """Every set of the beam with every further player, each once, where it covers more than `above`."""
    one = torch.eye(beam.shape[1], dtype=torch.bool)
    grown = (beam[:, None] | one)[~beam]  # [sets · players not in them, players]
    _, first = torch.unique(grown.to(torch.uint8), dim=0, return_inverse=True)
    order = torch.full((int(first.max()) + 1,), len(grown)).scatter_reduce(0, first, torch.arange(len(grown)), "amin")
    once = grown[order.sort().values]
    return once[coverage(once) > above]


def _contest(seen: _Seen, arms: Tensor) -> Generator[Draws, Tensor, Tensor]:
    """The best few sets by KL-LUCB: draw for the weakest of the best and the strongest of the rest until they part.

    What is held in a draw is the set without one member that has the most rivals, so that it tells of them as well.
    Ends early when a sixteenth of the draws that were left at its start are used, lest none be left for larger sets.
    """
    width, floor = seen.aim.beam, max(0, seen.left - max(seen.aim.batch, seen.left // HASTE))
    parents = _parents(arms)
    yield from seen.draw(torch.unique(parents, dim=0))
    while True:
        mean, low, high, _ = seen.steering(arms)
        order = mean.argsort(descending=True, stable=True)
        top, rest = order[:width], order[width:]
        if not len(rest):
            return arms[top]
        weak, strong = top[low[top].argmin()], rest[high[rest].argmax()]
        if high[strong] - low[weak] <= seen.aim.tau or seen.left <= floor:
            return arms[top]
        yield from seen.draw(parents[torch.stack([weak, strong])])


def _parents(arms: Tensor) -> Tensor:
    """Every arm without the member that the fewest other arms have: what it shares with the most of them."""
    common = torch.where(arms, arms.sum(0), len(arms) + 1)
    return arms & ~torch.nn.functional.one_hot(common.argmin(1), arms.shape[1]).bool()


def _judged(seen: _Seen, arm: Tensor, coverage: float) -> Generator[Draws, Tensor, Anchor]:
    """Whether a set's precision reaches the threshold: tried on draws of its own, unless it is plainly too low.

    What led to the set was chosen by its luck; of its own draws, made after it was chosen, it is one coin. So their
    bounds need no allowance for all the sets that might have been chosen, only for the trials that there are: half of
    delta is shared out among them, a half of it to the first, a quarter to the second, and so on. A trial that is below
    the threshold, though not surely, after an eighth of the draws that are left ends there: one more player decides
    sooner.
    """
    aim = seen.aim
    refused = aim.threshold + min(aim.slack, (1 - aim.threshold) / 2)
    if float(seen.steering(arm[None])[2]) < refused or seen.left <= 0:
        mean, low, high, draws = (float(one[0]) for one in seen.bounds(arm[None]))
        return Anchor(members=arm, precision=mean, low=low, high=high, coverage=coverage, draws=int(draws), held=False)
    seen.trials += 1
    first, floor = len(seen.agreed), seen.left - max(aim.batch, seen.left // PATIENCE)
    while True:
        yield from seen.draw(arm[None])
        mean, low, high, draws = seen.trial(first)
        held = mean >= aim.threshold and low > aim.threshold - aim.slack
        if held or high < refused or seen.left <= (max(floor, 0) if mean < aim.threshold else 0):
            return Anchor(members=arm, precision=mean, low=low, high=high, coverage=coverage, draws=draws, held=held)
