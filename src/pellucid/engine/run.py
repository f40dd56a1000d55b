"""The rounds: drive all methods' coroutines, answer what they ask together, until every one has returned."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import (
    PLAIN,
    SCORES,
    Answer,
    Ask,
    Attribution,
    Lane,
    Query,
    References,
    Rows,
    Session,
    Variant,
    What,
    Where,
)
from pellucid.core.errors import InputError, OutOfMemory, PellucidError, UnsupportedModel
from pellucid.core.explanation import Passes
from pellucid.core.fold import Tally
from pellucid.core.method import Method
from pellucid.core.points import Same
from pellucid.core.site import Site
from pellucid.core.target import Output, Pick, Target, Unit, check_unit, follows_outputs, part, resolve
from pellucid.engine.fuse import Block, Group, Share, Taker, chunks, families, merge, ride, shares
from pellucid.engine.known import Known
from pellucid.engine.nested import (
    Explained,
    Inner,
    Moved,
    Nested,
    Single,
    at_equal_points,
    moved_to,
    placed,
    varied,
)
from pellucid.engine.pool import pooled
from pellucid.ops.reference import References as Given

Progress = Callable[[int, int], None]
"""Called with how many rows were just evaluated, and how many more are known to follow: those of the same round."""

REFUSALS = (UnsupportedModel, InputError)
"""Of a question, not of the call: raised where the question was awaited, so that a metric can go without an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One method on the whole batch, for some targets."""

    method: Method
    targets: tuple[Target, ...]
    output: Output
    variant: Variant | None = None
    """Of the model, of which all is asked that the method asks; None for the model as it is."""


@dataclass(slots=True, eq=False)
class Result:
    """What a task gave, its picks, and the score of every pick at the clean rows, [target, batch]."""

    attribution: Attribution
    picks: tuple[Pick, ...]
    scores: Tensor


@dataclass(slots=True, eq=False)
class Outcome:
    """Everything a run gives."""

    results: list[Result]
    outputs: Tensor
    """Raw outputs at the clean rows, [batch, outputs]."""
    passes: Passes
    shared: list[tuple[Share, int]] = field(default_factory=list)
    """What ran together, and how many rows at once."""
    inside: list[str] = field(default_factory=list)
    """The same of the methods inside others, in lines."""

    def lines(self) -> list[str]:
        """One line per share, for plans."""
        return [describe(share, rows) for share, rows in self.shared] + self.inside


def run(
    session: Session,
    x: Tensor,
    tasks: Sequence[Task],
    references: Callable[[Tensor], References],
    progress: Progress | None = None,
    known: Known | None = None,
) -> Outcome:
    """Explain the rows x by all tasks at once. Nothing is evaluated before targets and sites are known to exist.

    known: what this model has said before, of which it is not asked again
    """
    work = _Run(session, x, references, progress, known=known)
    return work.finish(tasks, work.targets(tasks))


class _Run:
    """The state of one call: the batch, its targets, and the counters.

    clean  the rows as the model takes them, where x are other numbers: vectors of token ids, moved or not
    """

    def __init__(
        self,
        session: Session,
        x: Tensor,
        references: Callable[[Tensor], References],
        progress: Progress | None,
        clean: Tensor | None = None,
        known: Known | None = None,
    ) -> None:
        self.session, self.references, self.progress = session, references, progress
        self.x, self.clean = (session.enter(x), x) if clean is None else (x, clean)
        self.known = known
        self.passes = {"rounds": 0, "forward": 0, "backward": 0, "calls": 0, "retried": 0, "tails": 0, "known": 0}
        self.shared: list[tuple[Share, int]] = []
        self.inside: list[str] = []
        self.limit: dict[Lane, int] = {}
        self.coming = 0
        self.unsettled: dict[tuple[Target, Output], list[Pick]] = {}
        self.index = torch.arange(x.shape[0], device=x.device)
        self.others: dict[tuple[Callable[[Pick], Pick], int], tuple[Pick, ...]] = {}

    # -- targets ---------------------------------------------------------------------------------------------

    def targets(self, tasks: Sequence[Task]) -> list[tuple[Pick, ...]]:
        """The picks of every task; their class numbers are filled in when the clean rows have been evaluated."""
        blank = self.x.new_zeros((self.x.shape[0], self.session.outputs))
        known: dict[tuple[tuple[Target, ...], Output], tuple[Pick, ...]] = {}
        for task in tasks:
            for target in task.targets:
                if (target, task.output) not in self.unsettled:
                    s = self.session
                    self.unsettled[target, task.output] = resolve(
                        self._addressed(target), blank, task.output, s.emits, s.labels
                    )
            key = (task.targets, task.output)
            if key not in known:
                known[key] = tuple(p for t in task.targets for p in self.unsettled[t, task.output])
        return [known[task.targets, task.output] for task in tasks]

    def _addressed(self, target: Target) -> Target:
        """A unit's site in full, and its index found to exist."""
        if not isinstance(target, Unit):
            return target
        unit = Unit(self.session.site(target.site), target.index)
        check_unit(unit, self.session.site_shape(unit.site))
        return unit

    def settle(self, outputs: Tensor, b0: int, b1: int) -> None:
        """Fill in the class numbers of clean rows b0..b1, where they depend on the outputs."""
        s = self.session
        for (target, output), picks in self.unsettled.items():
            if not follows_outputs(target):
                continue
            for pick, found in zip(
                picks, resolve(part(target, b0, b1), outputs, output, s.emits, s.labels), strict=True
            ):
                for mine, theirs in ((pick.index, found.index), (pick.minus, found.minus)):
                    if mine is not None and theirs is not None:
                        mine[b0:b1] = theirs

    # -- rounds ----------------------------------------------------------------------------------------------

    def finish(self, tasks: Sequence[Task], picks: list[tuple[Pick, ...]], anchored: bool = True) -> Outcome:
        references = self.references(self.x)
        query = Query(self.x, references, self.session, self.clean)
        single = Query(self.x, references, Single(self.session), self.clean)
        running: dict[int, Coroutine[Any, Any, Attribution]] = {
            i: task.method.explain(query if task.variant is None else single) for i, task in enumerate(tasks)
        }
        replies: dict[int, tuple[Any, ...] | PellucidError | None] = dict.fromkeys(running)
        done: dict[int, Attribution] = {}
        anchor, scores = self._anchor(query, picks) if anchored else (None, [])
        try:
            while len(done) < len(tasks) or anchor is not None:
                asked: dict[int, tuple[Ask[Any], ...]] = {}
                for i in list(running):
                    try:
                        asked[i] = _questions(tasks[i], _resumed(running[i], replies[i]))
                    except StopIteration as stop:
                        done[i] = self._checked(tasks[i], stop.value, len(picks[i]))
                        del running[i]
                if not asked and anchor is None:
                    break
                replies = self._round(asked, tasks, picks, anchor)
                anchor = None
        finally:
            for coroutine in running.values():
                coroutine.close()
        outputs = scores[0].reply()[0] if anchored else self.x.new_zeros(0)
        at_x = [scores[1 + k].reply() for k in range(len(tasks))] if anchored else [outputs] * len(tasks)
        results = [Result(done[i], picks[i], at_x[i]) for i in range(len(tasks))]
        return Outcome(results, outputs, Passes(**self.passes), self.shared, self.inside)

    def _anchor(self, query: Query, picks: list[tuple[Pick, ...]]) -> tuple[Group, list[Taker]]:
        """The group of the clean rows: their outputs, and every task's score there."""
        groups: list[Group] = []
        takers = [merge(groups, query.outputs(), None, PLAIN, ())]
        takers += [merge(groups, query.score(), None, PLAIN, mine) for mine in picks]
        groups[0].anchor = True
        return groups[0], takers

    def _round(
        self,
        asked: Mapping[int, tuple[Ask[Any], ...]],
        tasks: Sequence[Task],
        picks: list[tuple[Pick, ...]],
        anchor: Group | None,
    ) -> dict[int, tuple[Any, ...] | PellucidError | None]:
        groups = [] if anchor is None else [anchor]
        takers: dict[int, list[Any]] = {}
        nested: list[tuple[Inner, int, int]] = []
        wanted = iter(pooled([ask for asks in asked.values() for ask in asks]))
        parts: dict[tuple[int, int], Tensor] = {}
        for i, asks in asked.items():
            takers[i] = []
            for _ in asks:
                ask, part = next(wanted)
                variant, about = tasks[i].variant, self._of(ask, picks[i])
                if part is not None:
                    parts[i, len(takers[i])] = part.to(self.x.device)
                if ask.what is What.EXPLAIN:
                    nested.append((Inner(ask, about, variant), i, len(takers[i])))
                    takers[i].append(None)
                else:
                    site = None if ask.site is None else self.session.site(ask.site)
                    takers[i].append(merge(groups, ask, site, self._resolved(ask.where, variant), about))
        ride(groups)
        self.passes["rounds"] += 1
        refused: dict[int, PellucidError] = {}
        together = shares(groups)
        self.coming = sum(share.rows for share in together)
        for family in families(together):
            refused |= self._family(family)
        why = {i: error for i, mine in takers.items() for t in mine if (error := refused.get(id(t))) is not None}
        replies: dict[int, list[Any]] = {
            i: [None if t is None else t.reply() for t in mine] for i, mine in takers.items() if i not in why
        }
        nested = [one for one in nested if one[1] not in why]
        for (i, place), part in parts.items():
            if i not in why:
                replies[i][place] = replies[i][place][:, part]
        for members in at_equal_points(nested):
            answers = self._explained_or_why([inner for inner, _, _ in members])
            for (_, i, place), answer in zip(members, answers, strict=True):
                if isinstance(answer, PellucidError):
                    why[i] = answer
                replies[i][place] = answer
        return {**{i: tuple(mine) for i, mine in replies.items()}, **why}

    def _of(self, ask: Ask[Any], picks: tuple[Pick, ...]) -> tuple[Pick, ...]:
        """The numbers that a question is about: the targets', or others made of them."""
        if ask.of is None:
            return picks
        key = (ask.of, id(picks))
        if key not in self.others:
            self.others[key] = tuple(map(ask.of, picks))
        return self.others[key]

    def _resolved(self, where: Where, variant: Variant | None) -> Where:
        find, where = self.session.site, varied(where, variant)
        if where.edit is not None:
            source = None if where.edit.source is None else find(where.edit.source)
            where = replace(where, edit=replace(where.edit, site=find(where.edit.site), source=source))
        if where.signal is not None:
            where = replace(where, signal=replace(where.signal, site=find(where.signal.site)))
        if where.into is not None:
            where = replace(where, into=find(where.into))
        return where

    # -- passes ----------------------------------------------------------------------------------------------

    def _family(self, family: Sequence[Share]) -> dict[int, PellucidError]:
        """Evaluate shares that differ in their variant alone; where the model refuses one, why, by its takers.

        Where the session can run once what they have in common, they take turns at every chunk of rows.
        """
        lanes = [share.lane for share in family]
        with nullcontext(False) if len(family) == 1 else self.session.replaying(lanes) as together:
            turns = [family] if together else [[share] for share in family]
            return {i: why for shares in turns for i, why in self._turns(shares).items()}

    def _turns(self, family: Sequence[Share]) -> dict[int, PellucidError]:
        every = [self.session.rows(share.lane, share.graded, share.rows) for share in family]
        rows = min(*every, *(self.limit.get(share.lane, 1 << 30) for share in family))
        self.shared += [(share, rows) for share in family]
        refused: dict[int, PellucidError] = {}
        gone: set[int] = set()
        for place, turn in enumerate(zip(*(chunks(share.groups, rows) for share in family), strict=True)):
            for share, chunk in zip(family, turn, strict=True):
                if id(share) in gone:
                    continue
                try:
                    self._place(place, share, chunk)
                except REFUSALS as error:
                    if any(group.anchor for group in share.groups):
                        raise
                    refused |= {id(t): error for group in share.groups for t in (*group.takers, *group.beside)}
                    gone.add(id(share))
            if len(gone) == len(family):
                break
        return refused

    def _place(self, place: int, share: Share, chunk: list[Block]) -> None:
        """Evaluate a chunk, with word to the session before the first."""
        if place == 0:
            count = sum(block.count for block in chunk)
            self._expect(share.lane, self._rows(share, chunk, count), share.rows)
        self._chunk(share, chunk)

    def _chunk(self, share: Share, chunk: list[Block]) -> None:
        """Evaluate a chunk; where memory ends, evaluate its parts, down to one row."""
        count = sum(block.count for block in chunk)
        if count <= self.limit.get(share.lane, count):
            answer, reason = self._attempt(share, chunk, count)
            if answer is not None:
                self._give(answer, share.picks, chunk)
                return
            self.passes["retried"] += count
            self.limit[share.lane] = max(1, count // 2)
            if count == 1:
                raise no_room(tuple(self.x.shape[1:]), reason)
        parts = [[block] for block in chunk] if len(chunk) > 1 else [[half] for half in chunk[0].halves()]
        for piece in parts:
            self._chunk(share, piece)

    def _attempt(self, share: Share, chunk: list[Block], count: int) -> tuple[Answer | None, str]:
        rows = self._rows(share, chunk, count)
        try:
            answer = self._answer(rows, share.lane)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None, str(error).partition("\n")[0][:120]  # leaving the block frees the failed graph
        whole = count if answer.whole is None else answer.whole
        recalled = count - whole if self.known is not None and share.lane == SCORES else 0
        self.passes["forward"] += whole
        self.passes["tails"] += answer.tails
        self.passes["backward"] += count * share.graded if share.lane.backward else 0
        self.passes["known"] += recalled
        self.passes["calls"] += recalled < count
        self.coming -= count
        if self.progress is not None:
            self.progress(whole + answer.tails + recalled, self.coming)
        return answer, ""

    def _expect(self, lane: Lane, rows: Rows, many: int) -> None:
        if self.known is not None and lane == SCORES:
            many = self.known.expected(rows, many, self.clean is not self.x)
        self.session.expect(lane, rows, many)

    def _answer(self, rows: Rows, lane: Lane) -> Answer:
        if self.known is None:
            return self.session.run(rows, lane)
        return self.known.answer(self.session, rows, lane, self.clean is not self.x)

    def _rows(self, share: Share, chunk: list[Block], count: int) -> Rows:
        picks = share.picks

        def build() -> Tensor:
            parts = [b.group.points.rows(b.k0, b.k1, b.b0, b.b1) for b in chunk]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        def clean() -> Tensor:
            return self.clean[numbers]

        def against() -> Tensor:
            parts = [beside.rows(b.k0, b.k1, b.b0, b.b1) for b in chunk if (beside := b.group.where.against)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        def points() -> Tensor:
            return torch.cat(
                [torch.arange(b.k0, b.k1, device=self.x.device).repeat_interleave(b.b1 - b.b0) for b in chunk]
            )

        def objective(outputs: Tensor, sites: Mapping[Site, Tensor]) -> Tensor:
            at = 0
            for b in chunk:
                if b.group.anchor:
                    self.settle(outputs[at : at + b.count].detach(), b.b0, b.b1)
                at += b.count
            return score(outputs, sites)

        def score(outputs: Tensor, sites: Mapping[Site, Tensor]) -> Tensor:
            emits = self.session.emits
            scores = [
                p.value(outputs, numbers, emits, sites.get(getattr(p.target, "site", None)))  # pyright: ignore
                for p in picks
            ]
            return torch.stack(scores) if scores else outputs.new_zeros((0, count))

        pieces = [self.index[b.b0 : b.b1].repeat(b.k1 - b.k0) for b in chunk]
        numbers = pieces[0] if len(pieces) == 1 else torch.cat(pieces)

        def start(outputs: Tensor) -> list[Tensor]:
            return [p.slope(outputs, numbers) for p in picks[: share.graded]]

        plain = all(p.plain_logit(self.session.emits) for p in picks[: share.graded])

        def narrow() -> tuple[Tensor, Tensor]:
            b0, b1 = min(b.b0 for b in chunk), max(b.b1 for b in chunk)
            return chunk[0].group.points.rows(0, 1, b0, b1), self.index[b0:b1]

        lone = len({id(b.group) for b in chunk}) == 1 and isinstance(chunk[0].group.points, Same)
        compares = share.lane.where.against is not None
        return Rows(
            count,
            build,
            clean,
            points,
            numbers,
            objective,
            share.graded,
            start if plain else None,
            against=against if compares else None,
            narrow=narrow if lone else None,
            beside=score if compares else None,
            own=len(chunk) > 1 or chunk[0].group.points.own,
        )

    def _give(self, answer: Answer, picks: tuple[Pick, ...], chunk: list[Block]) -> None:
        """Hand every taker its part of an answer."""
        place = {id(pick): t for t, pick in enumerate(picks)}
        at = 0
        for block in chunk:
            here = slice(at, at + block.count)
            at += block.count
            for taker in (*block.group.takers, *block.group.beside):
                if taker.what is What.OUTPUTS:
                    _add(taker.tally, answer.outputs[None, here], block)
                    continue
                mine = [place[id(p)] for p in taker.picks]
                values = answer.scores if taker.what is What.SCORE else answer.gradient
                if taker in block.group.beside:
                    values = answer.beside
                if taker.what is What.SITE and taker.site is not None and taker.inner is not None:
                    values = answer.slopes[taker.site]
                    _add(taker.inner, answer.sites[taker.site][None, here], block)
                if values is None:
                    raise RuntimeError(f"no gradient in the answer to {taker.what}")
                every = mine == list(range(len(values)))
                _add(taker.tally, values[:, here] if every else values[mine][:, here], block)

    # -- nested explanations ---------------------------------------------------------------------------------

    def _explained_or_why(self, asked: Sequence[Inner]) -> list[Explained | PellucidError]:
        """Explanations at equal points; where one method cannot be asked, why, and the others without it."""
        try:
            return [*self._explained(asked)]
        except REFUSALS as error:
            if len(asked) == 1:
                return [error]
            methods = dict.fromkeys(id(one.ask.method) for one in asked)  # variants of one method stay together
            parts = [[i for i, one in enumerate(asked) if id(one.ask.method) == m] for m in methods]
            parts = parts if len(parts) > 1 else [[i] for i in range(len(asked))]
            found = {i: got for some in parts for i, got in self._some(asked, some)}
            return [found[i] for i in range(len(asked))]

    def _some(self, asked: Sequence[Inner], which: list[int]) -> Iterable[tuple[int, Explained | PellucidError]]:
        return zip(which, self._explained_or_why([asked[i] for i in which]), strict=True)

    def _explained(self, asked: Sequence[Inner]) -> list[Explained]:
        """Other methods at the points of one question, a few rows at a time, for the targets of the clean rows.

        They share their passes, and questions that are the same their answer.
        """
        under, points = asked[0].under, asked[0].ask.points
        lone: list[Nested] = []
        which = [placed(lone, Nested(inner)) for inner in asked]
        several = len({one.variant for one in lone})
        rows = self.session.rows(Lane(PLAIN, True), max(len(one.picks) for one in lone))
        for n, block in enumerate(
            b for chunk in chunks([Group(points, PLAIN)], max(1, rows // several)) for b in chunk
        ):
            x = points.rows(block.k0, block.k1, block.b0, block.b1)
            numbers = self.index[block.b0 : block.b1].repeat(block.k1 - block.k0)
            beneath, references = self._beneath(x, numbers), self._under(lone[0].variant, under)
            child = _Run(self.session, x, references, self.progress, beneath, self.known)
            moved = {id(one.picks): tuple(moved_to(p, numbers) for p in one.picks) for one in lone}
            tasks = [Task(one.method, (), "logit", one.variant) for one in lone]
            outcome = child.finish(tasks, [moved[id(one.picks)] for one in lone], anchored=False)
            if n == 0:  # the other blocks are like the first
                names = ", ".join(dict.fromkeys(one.method.about.title for one in lone))
                at = f"{names}, {block.count} of {points.count * len(points.like)} rows"
                self.inside += [f"inside {at}: {line}" for line in outcome.lines()]
            for one, result in zip(lone, outcome.results, strict=True):
                one.like = result.attribution
                _add(one.tally, result.attribution.values, block)
            for name in self.passes:
                self.passes[name] += child.passes[name]
        return [lone[i].reply() for i in which]

    def _under(self, variant: Variant | None, already: Variant | None) -> Callable[[Tensor], References]:
        """Reference inputs in the units of a variant; already: the one in whose units they are."""
        if variant is None or variant == already or not variant.shift:
            return self.references
        return lambda x: Given(x, Moved(self.references(x).pixels, variant.shift))

    def _beneath(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The rows as the model takes them, below points of another method: the points themselves, or their ids."""
        return x if self.clean is self.x else self.clean[numbers]

    def _checked(self, task: Task, value: object, picks: int) -> Attribution:
        wanted = (picks, len(self.x))
        if not isinstance(value, Attribution) or tuple(value.values.shape[:2]) != wanted:
            got = tuple(value.values.shape) if isinstance(value, Attribution) else type(value).__name__
            raise PellucidError(
                f"{type(task.method).__name__}.explain returned {got}",
                f"attribution(values) with shape {wanted} + ...: [target, batch, ...]",
            )
        return value


def _resumed(running: Coroutine[Any, Any, Attribution], reply: object) -> object:
    """What a coroutine asks next, given its answers or why there are none."""
    return running.throw(reply) if isinstance(reply, PellucidError) else running.send(reply)


def _questions(task: Task, asked: object) -> tuple[Ask[Any], ...]:
    if isinstance(asked, tuple) and all(isinstance(one, Ask) for one in asked):
        return asked
    raise PellucidError(
        f"{type(task.method).__name__}.explain awaited {type(asked).__name__}, which is no question",
        "questions about the model: await q.grad(...), or await together(...)",
    )


def _add(tally: Tally, values: Tensor, block: Block) -> None:
    points, rows = block.k1 - block.k0, block.b1 - block.b0
    tally.add(values.reshape(values.shape[0], points, rows, *values.shape[2:]), block.k0, block.b0, block.b1)


def no_room(row: tuple[int, ...], reason: str) -> OutOfMemory:
    """The error for a single row that does not fit."""
    return OutOfMemory(
        f"one row of {row} does not fit into memory ({reason})",
        "memory for a single row",
        "use a smaller input, a method without gradients, or a machine with more memory",
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ended, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "out of memory" in text or "CUDNN_STATUS_NOT_SUPPORTED" in text


def describe(share: Share, rows: int) -> str:
    """One line of a plan."""
    lane, where = share.lane, share.lane.where
    parts = ["forward + backward" if lane.backward else "forward"]
    parts += [f"rule {getattr(where.rule, 'name', type(where.rule).__name__)}"] if where.rule is not None else []
    parts += [f"edit {where.edit.site}"] if where.edit is not None else []
    parts += [f"into {where.into}"] if where.into is not None else []
    parts += [f"signal changed at {where.signal.site}"] if where.signal is not None else []
    parts += ["beside reference rows"] if where.against is not None else []
    parts += [f"variant {where.variant.name}"] if where.variant is not None else []
    parts += [f"sites {', '.join(map(str, lane.sites))}"] if lane.sites else []
    asked = sum(len(g.takers) for g in share.groups)
    names = ", ".join(f"{type(g.points).__name__} × {g.points.count}" for g in share.groups)
    counts = f"{asked} questions, {len(share.picks)} targets, {rows} at once"
    return f"{'; '.join(parts)}: {share.rows} rows ({names}), {counts}"
