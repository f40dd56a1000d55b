"""A torch model made ready for rows of one shape: the evaluation behind every answer."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.attend import attentions
from pellucid.adapters.torch.backward import answered
from pellucid.adapters.torch.beside import starts
from pellucid.adapters.torch.double import as_asked, undoubled
from pellucid.adapters.torch.faster import AT_ONCE, LEAST, Faster, faster, installed
from pellucid.adapters.torch.outputs import Selector
from pellucid.adapters.torch.outputs import scores as raw_scores
from pellucid.adapters.torch.prepare import TOLERANCE, disagreement
from pellucid.adapters.torch.ready import Met, Ready
from pellucid.adapters.torch.replay import Reading, Recording, Replay, Weights
from pellucid.adapters.torch.sites import Sites
from pellucid.adapters.torch.stream import refused, stream, trouble
from pellucid.adapters.torch.tails import may_tail, parted, scored
from pellucid.adapters.torch.tape import Tape, touched
from pellucid.adapters.torch.tokens import entering
from pellucid.adapters.torch.turns import Turns, cuts, may_begin_inside
from pellucid.adapters.torch.twin import varied, weighted
from pellucid.adapters.torch.watch import Headless, by_rows
from pellucid.core.ask import DOUBLE, PLAIN, SCORES, Answer, Lane, Rows, Variant
from pellucid.core.errors import RuleError, UnsupportedModel
from pellucid.core.explanation import ModelCard
from pellucid.core.points import At
from pellucid.core.site import AUTO, Attention, Site, Stream
from pellucid.core.target import Labels
from pellucid.engine.run import no_room, out_of_memory
from pellucid.propagation import Intercept
from pellucid.propagation.composite import inventory
from pellucid.propagation.deeplift import Unlike

KEPT = 256 * 2**20
"""Bytes of what a reference row meets, up to which it is kept between calls."""
MOST = 32
"""Sets of rules of which something is remembered."""

MOST_VARIANTS = 4
"""Copies with other weights that are kept, double precision aside."""

SLOWER = 4.6
"""Times longer that double precision takes, measured on a CPU with a convolutional net."""


class TorchSession:
    """Answers the engine. One thread, one shape of rows."""

    def __init__(
        self,
        ready: Ready,
        *,
        labels: Labels,
        card: ModelCard,
        select: Selector,
        original: nn.Module,
        evaluate: str,
        most_rows: int | None,
        verification: int,
        decisions: tuple[str, ...],
    ) -> None:
        self.ready, self.labels, self.card, self.select = ready, labels, card, select
        self.original, self.evaluate, self.most_rows = original, evaluate, most_rows
        self.emits, self.outputs = ready.facts.emits, ready.facts.outputs
        self.verification, self._decisions = verification, list(decisions)
        self.sites = Sites(ready.facts, ready.image, original, self._attended)
        self.fast: Faster | None = None
        self.turns: Turns | None = None

    # -- sites -----------------------------------------------------------------------------------------------

    @property
    def decisions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._decisions))

    def site(self, site: Site) -> Site:
        """The full address; `auto`, layers given as objects, and layouts are resolved here, once."""
        if site.name != "auto":
            return self.sites.resolved(site)
        if self.ready.auto is None:
            self.ready.auto = self._choose()
            self.verification += 1
        return self.ready.auto

    @property
    def layers(self) -> tuple[Site, ...]:
        return tuple(site for site, _ in self.sites.candidates())

    @property
    def every_layer(self) -> tuple[Site, ...]:
        ready = self.ready
        if ready.by_rows is None:
            with torch.no_grad():
                two = torch.cat([self._blank()] * 2)
                ready.by_rows = by_rows(ready.twin, lambda: ready.twin(two), len(two))
            self.verification += 2
        return self.sites.every(ready.by_rows)

    @property
    def weighted(self) -> tuple[str, ...]:
        return weighted(self.ready.twin, self.ready.facts.order)

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return tuple(attention for attention, _ in self._attended())

    def _attended(self) -> tuple[tuple[Attention, int], ...]:
        ready = self.ready
        if ready.attended is None:
            with torch.no_grad():
                ready.attended = attentions(ready.twin, lambda: ready.twin(self._blank()), ready.image, ready.facts)
            self.verification += 1
        return ready.attended

    @property
    def stream(self) -> Stream:
        ready = self.ready
        if ready.stream is None:
            site = stream(self.sites, self.attentions)
            why, ran = trouble(site, self._blank(), self.sites, self._scored)
            self.verification += ran
            ready.stream = why or Stream(site, self.sites.plan(site).grid)
        if isinstance(ready.stream, str):
            raise refused(self.card.name, ready.stream)
        return ready.stream

    @property
    def doubles(self) -> bool:
        ready = self.ready
        if ready.undoubled is None:
            x = self._blank()
            x = x + 0.1 if x.is_floating_point() else x
            tape = Tape(self.sites, SCORES, Rows(1, lambda: x, lambda: x, lambda: x, x, _best, 0), None)
            ready.undoubled = undoubled(
                ready.twin, lambda: self._variant(DOUBLE), lambda net, x: self._through(net, x, tape), x
            )
            self.verification += 2
        if ready.undoubled:
            self._decisions.append(f"double precision: not possible ({ready.undoubled})")
        return not ready.undoubled

    def about(self, site: Site) -> tuple[str, ...]:
        """What was decided about a site that a method asked for."""
        found = self.site(site)
        says = self.sites.plan(found).says
        notes = [f"layer {found}: the last with height and width that the output depends on"] if site == AUTO else []
        return (*notes, *([f"layer {found}: {says}"] if says else []))

    def _choose(self) -> Site:
        """The last candidate on which the score depends, seen in one pass.

        Side branches end later than what they branch from, and behind the last block of a vision transformer with
        a class token the patches no longer matter.
        """
        sites = self.sites.streams()
        x = self._blank()
        lane = Lane(PLAIN, False, sites, sites)
        try:
            zero = torch.zeros(1, dtype=torch.int64, device=x.device)
            answer = self.run(Rows(1, lambda: x + 0.1, lambda: x, lambda: zero, zero, _best, 1), lane)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise no_room(self.ready.budget.shape, str(error).partition("\n")[0][:120]) from error
        matters = [site for site in sites if bool(answer.slopes[site].any())]
        return self.sites.best(matters or list(sites))

    def site_shape(self, site: Site) -> tuple[int, ...]:
        return self.sites.shape(site)

    # -- cost ------------------------------------------------------------------------------------------------

    def rows(self, lane: Lane, graded: int, many: int = 0) -> int:
        if self.most_rows is not None:
            return self.most_rows
        if self._fast_enough(lane, many) and self.ready.slower is None:
            return self.ready.budget.rows(max(self.bytes(lane), self.ready.budget.memory // AT_ONCE), 0, False)
        largest = self.ready.facts.bytes_largest
        if self._tailed(lane):
            largest = 0  # fresh blocks of memory cost less than one more pass up to the site
        return self.ready.budget.rows(self.bytes(lane), largest, lane.backward)

    def bytes(self, lane: Lane) -> int:
        return self._bytes(lane) * (2 if lane.where.variant == DOUBLE else 1)

    def _bytes(self, lane: Lane) -> int:
        facts = self.ready.facts
        if self._tailed(lane):
            return 4 * self._behind(lane.where.edit.site)  # pyright: ignore[reportOptionalMemberAccess]
        if lane.where.against is not None:
            alike = isinstance(lane.where.against, At) and lane.where.against.x.stride(0) == 0  # one reference for all
            return facts.bytes_all if alike else 2 * facts.bytes_all
        if self.turns is not None and lane in self.turns.lanes:
            held = 2 * facts.bytes_largest * len(set(self.turns.cuts.values()))  # what is kept for those that follow
            inside = sum(4 * _size(self.site_shape(s)) for s in lane.sites)
            graph = lane.gradient or lane.where.rule is not None
            return 2 * facts.bytes_all if graph else 4 * facts.bytes_largest + held + inside
        if lane.gradient or lane.where.rule is not None:
            return facts.bytes_all * 3 // 4 if self.ready.folded else facts.bytes_all  # folded norms keep nothing
        return 4 * facts.bytes_largest + sum(4 * _size(self.site_shape(s)) for s in lane.sites)

    def measure(self) -> None:
        """Time one row forward and backward, for plans; kept with the prepared form. Twice: the first may be slow."""
        if self.ready.seconds is None:
            first, again = self._timed(), self._timed()
            self.ready.seconds = {name: min(first[name], again[name]) for name in first}

    def _timed(self) -> dict[str, float]:
        ready, row = self.ready, self._blank()
        net = ready.padded or ready.prepared or ready.twin
        start = time.perf_counter()
        leaf = self.enter(row).detach().requires_grad_()
        zero = torch.zeros(1, dtype=torch.int64, device=row.device)
        tape = Tape(self.sites, SCORES, Rows(1, lambda: row, lambda: row, lambda: zero, zero, _best, 1), leaf)
        with torch.enable_grad():
            out = self._forward(net, leaf * 1, tape)
            middle = time.perf_counter()
            if out.requires_grad:
                torch.autograd.grad(out.sum(), leaf)
        self.verification += 1
        return {"forward": middle - start, "backward": time.perf_counter() - middle}

    def seconds(self, lane: Lane, graded: int, tail: bool = False) -> float:
        times = self.ready.seconds or {}
        forward, backward = times.get("forward", 0.0), times.get("backward", 0.0)
        once = forward + (backward * graded if lane.gradient else 0.1 * backward * graded if lane.backward else 0.0)
        part = self._part_behind(lane.where.edit.site) if tail and lane.where.edit is not None else 1.0
        return once * part * (SLOWER if lane.where.variant == DOUBLE else 1)

    def _part_behind(self, site: Site) -> float:
        """The part of the layers that finish after a site, which stands for their part of a row's time."""
        order = list(self.ready.facts.order)
        return 1 - (order.index((site.name, site.call or 0)) + 1) / len(order)

    # -- evaluation ------------------------------------------------------------------------------------------

    def expect(self, lane: Lane, rows: Rows, many: int) -> None:
        """Told before many rows of a lane: scores alone may be worth a faster twin, seen to agree on these rows."""
        if not self._fast_enough(lane, many):
            self.fast = None
            return
        ready, facts, dtype = self.ready, self.ready.facts, self.ready.budget.dtype
        x = rows.build()[:2].clone()
        with torch.no_grad():
            expected = self._forward(self._net(lane), x.clone(), Tape(self.sites, lane, rows, None))
        self.verification += 2 * len(x)
        if ready.faster is None and ready.slower is None:
            ready.faster, ready.slower = faster(ready.twin, self.select, facts.head, x, expected)
        agrees = ready.faster is not None and disagreement(ready.faster(x), expected) <= TOLERANCE[dtype]
        self.fast = ready.faster if agrees else None
        self._decisions.append(
            self.fast.says if self.fast else ready.slower or "no faster twin: it differs on these rows"
        )

    def _fast_enough(self, lane: Lane, many: int) -> bool:
        """Whether so many rows are worth a faster twin, and the model is one of which there may be one."""
        facts, budget = self.ready.facts, self.ready.budget
        scores_alone = lane == SCORES and many >= LEAST and self.evaluate == "auto"
        simple = budget.device.type == "cpu" and budget.dtype == torch.float32
        plain = facts.entrance is None and not facts.draws and facts.convolutions >= 3
        return scores_alone and simple and plain and installed()

    def run(self, rows: Rows, lane: Lane) -> Answer:
        net = self._net(lane)
        where = lane.where
        entering = rows.clean if where.into is not None else rows.build
        if where.edit is not None and (whole := self.whole(rows, lane)) < rows.count:
            with torch.inference_mode():
                out = scored(rows, lane, self.sites, self._scored, self.outputs)
                explained = rows.objective(out, {})
            return Answer(out.clone(), explained.clone(), whole=whole, tails=rows.count)
        if self.fast is not None and lane == SCORES:
            with torch.no_grad():
                out = self.fast(rows.build())
                return Answer(out, rows.objective(out, {}))
        if self.turns is not None and lane in self.turns.lanes:
            return self._in_turn(self.turns, net, rows, lane)
        if not lane.backward:
            with torch.inference_mode():
                tape = Tape(self.sites, lane, rows, None)
                x = as_asked(entering(), lane)
                out = self._forward(net, x if rows.own and where.into is None else x.clone(), tape)
                explained = rows.objective(out, tape.seen)
            return Answer(out.clone(), explained.clone(), sites={s: t.clone() for s, t in tape.seen.items()})
        if where.rule is None:
            return self._differentiated(net, rows, lane, None)
        rule: Any = where.rule
        seen_before = not rule.manner.named and (net, rule) in self.ready.audits  # then passes without names are enough
        try:
            return self._ruled(net, rows, lane, names=not seen_before)
        except Unlike:
            if (net, rule) in self.ready.unlike:
                raise
            self.ready.unlike.add((net, rule))
            return self.run(rows, lane)
        except RuleError:
            if not seen_before:
                raise
            return self._ruled(net, rows, lane, names=True)  # for a message that names the layer

    def _ruled(self, net: nn.Module, rows: Rows, lane: Lane, names: bool) -> Answer:
        rule: Any = lane.where.rule
        if not rule.manner.pairs:
            canvas = _canvas(rows, rule.manner.canvas)
            listening = Intercept(net, self._settled(net, rows, lane), names=names, canvas=canvas)
            return self._differentiated(net, rows, lane, listening)
        score = rows.beside
        if score is None or lane.where.into or lane.where.edit:
            raise RuleError(
                f"{rule.name} shares out the change between two inputs, and asked is for a change inside",
                "rows beside their reference",
                "at a layer, give the layer as `at`",
            )
        met = self._met(net, rows, lane, names)
        if rows.start is None:
            rows = replace(rows, slopes=lambda y, seen: starts(rule, score, y, seen, met, rows.graded))
        answer = self._differentiated(net, rows, lane, Intercept(net, rule, names=names, against=met.reference))
        answer.whole = rows.count if len(met.rows) == 1 else rows.count + len(met.rows)
        answer.beside = score(
            met.out.expand(rows.count, -1), {site: t.expand(rows.count, *t.shape[1:]) for site, t in met.seen.items()}
        )
        return answer

    def _met(self, net: nn.Module, rows: Rows, lane: Lane, names: bool) -> Met:
        """What the reference rows meet; of a single one that stands for all it is kept, for other rows and calls."""
        rule: Any = lane.where.rule
        wanted = as_asked(self._references(rows, lane), lane)
        key = (net, rule, names, lane.gradient, lane.slopes, touched(lane))  # what is read at a site is copied
        kept = self.ready.met
        if kept is not None and kept.key == key and torch.equal(kept.rows, wanted):
            return kept
        before = Intercept(net, rule, names=names)
        with torch.enable_grad(), before:
            leaf = wanted.clone().requires_grad_()
            tape = Tape(self.sites, lane, replace(rows, count=len(wanted), b=rows.b[: len(wanted)]), leaf)
            out = self._forward(net, leaf * 1, tape).detach()
        made = Met(key, wanted, before.reference, out, {site: t.detach().clone() for site, t in tape.seen.items()})
        if len(wanted) == 1:
            self.verification += 1
            self.ready.met = made if self.ready.facts.bytes_all <= KEPT else None
        return made

    def _settled(self, net: nn.Module, rows: Rows, lane: Lane) -> Any:
        """The lane's rules; a composite that looks at positions is told the calls of the module, found in one run.

        Rules that paint are told where channels are.
        """
        rule: Any = lane.where.rule
        if getattr(rule, "last", None) is False and any(layer.last for layer in self.ready.facts.layers):
            return replace(rule, last=True)
        if not getattr(rule, "counts", False):
            return rule
        key = (net, rule, lane.gradient, lane.slopes, touched(lane))  # what is read at a site is copied: a call more
        if key not in self.ready.laid:
            leaf, entering = self._entering(rows, lane)
            tape = Tape(self.sites, lane, rows, leaf)
            _keep(self.ready.laid, key, rule.laid(inventory(net, lambda: self._forward(net, entering, tape), rule)))
            self.verification += rows.count
        return self.ready.laid[key]

    def _references(self, rows: Rows, lane: Lane) -> Tensor:
        """The reference of every row; the only one where all are equal, and the model keeps rows apart."""
        against = rows.build() if rows.against is None else rows.against()
        alike = self.ready.facts.entrance is None and (self._net(lane), lane.where.rule) not in self.ready.unlike
        one = alike and (len(against) == 1 or bool((against == against[:1]).all()))
        return (against[:1] if one else against).detach()

    # -- variants --------------------------------------------------------------------------------------------

    @contextmanager
    def replaying(self, lanes: Sequence[Lane]) -> Generator[bool]:
        before, self.turns = self.turns, self._taking_turns(lanes)
        try:
            yield self.turns is not None
        finally:
            self.turns = before
            self._forget(MOST_VARIANTS)

    def _taking_turns(self, lanes: Sequence[Lane]) -> Turns | None:
        if self.ready.facts.draws or not all(map(may_begin_inside, lanes)):
            return None
        if self.ready.course is None:
            x = self._blank()
            x = x + 0.1 if x.is_floating_point() else x
            zero = torch.zeros(1, dtype=torch.int64, device=x.device)
            rows = Rows(1, lambda: x, lambda: x, lambda: zero, zero, _best, 0)
            with torch.no_grad(), Reading(Weights(self.ready.twin), [x]) as reading:
                self._forward(self.ready.twin, x, Tape(self.sites, SCORES, rows, None))
            self.ready.course = reading.course
            self.verification += 1
        found = cuts(self.ready.course, lanes, self.ready.twin)
        return Turns(lanes, found) if found else None

    def _in_turn(self, turns: Turns, net: nn.Module, rows: Rows, lane: Lane) -> Answer:
        """A pass of one of several variants: recorded, begun inside the recorded one, or whole."""
        try:
            began = turns.start(lane, rows)
            if began is not None:
                record, start = began
                listening, replay = self._listening(net, lane, record.listening), Replay(start)
                try:
                    answer = self._pass(net, rows, lane, (record.leaf, record.entering), replay, listening)
                except Exception as error:
                    if out_of_memory(error) or not replay.early:
                        raise
                    turns.record = None
                else:
                    answer.whole, answer.tails = 0, rows.count
                    turns.done(lane)
                    return answer
            points, listening = self._entering(rows, lane), self._listening(net, lane, None)
            recording = turns.recording(lane, net, points[1], listening)
            answer = self._pass(net, rows, lane, points, recording, listening)
            if recording is not None:
                turns.keep(recording, rows, points, listening, self._net)
            return answer
        except (RuntimeError, MemoryError) as error:
            turns.record = None
            turns.full = turns.full or out_of_memory(error)
            raise

    def _listening(self, net: nn.Module, lane: Lane, inside: Intercept | None) -> Intercept | None:
        """Who listens to a lane with rules that ask for no layer."""
        rule: Any = lane.where.rule
        return None if rule is None or not lane.backward else Intercept(net, rule, inside=inside)

    def _pass(
        self,
        net: nn.Module,
        rows: Rows,
        lane: Lane,
        points: tuple[Tensor, Tensor],
        mode: Recording | Replay | None,
        listening: Intercept | None,
    ) -> Answer:
        leaf, entering = points
        tape = Tape(self.sites, lane, rows, leaf)
        with torch.set_grad_enabled(lane.backward):
            with listening or nullcontext(), mode or nullcontext():
                if listening is not None and self.ready.facts.entrance is not None and entering.is_floating_point():
                    listening.count_at(entering)
                out = self._forward(net, entering, tape)
            if isinstance(mode, Replay):
                mode.verify()
            if not lane.backward:
                sites = {site: t.clone() for site, t in tape.seen.items()}
                return Answer(out.clone(), rows.objective(out, tape.seen).clone(), sites=sites)
            answer = answered(rows, out, leaf, tape, lane, self.card.name, again=mode is not None)
        if listening is not None:
            self._verified(net, lane, listening, whole=not isinstance(mode, Replay))
        return answer

    def _verified(self, net: nn.Module, lane: Lane, listening: Intercept, whole: bool) -> None:
        """After the backward pass; whole: all calls were heard, so that it can be said what the rules served."""
        listening.verify("" if lane.gradient else ", ".join(site.name or "(the model)" for site in lane.slopes))
        if whole:
            self._note(net, listening)

    # -- tails -----------------------------------------------------------------------------------------------

    def whole(self, rows: Rows, lane: Lane) -> int:
        if rows.against is not None:
            many = len(self._references(rows, lane))
            return rows.count if many == 1 else rows.count + many
        if self.turns is not None and self.turns.begins(lane):
            return 0
        if rows.narrow is None or not self._tailed(lane):
            return rows.count
        return len(torch.unique(rows.b))

    def _tailed(self, lane: Lane) -> bool:
        """Whether an edited site is reached once for all edits of a row: tried once for every site."""
        if not may_tail(lane) or lane.where.edit is None or self.ready.facts.entrance is not None:
            return False
        site = lane.where.edit.site
        if site not in self.ready.tails:
            with torch.inference_mode():
                why, ran = parted(site, self._blank() + 0.1, self.sites, self._scored)
            self.verification += ran
            self.ready.tails[site] = not why
            if why:
                self._decisions.append(f"layer {site}: edits run the whole model (behind the layer alone: {why})")
        return self.ready.tails[site]

    def _behind(self, site: Site) -> int:
        """Bytes of the largest activation of one row at or behind a site."""
        facts = self.ready.facts
        order, shapes = list(facts.order), {layer.name: layer.shapes for layer in facts.layers}
        sizes = [_size(shapes[name][call]) for name, call in order[order.index((site.name, site.call or 0)) :]]
        return self.ready.budget.dtype.itemsize * max(sizes)

    def _scored(self, lane: Lane, x: Tensor, tape: Tape) -> Tensor:
        return self._forward(self._net(lane), x, tape)

    def _blank(self) -> Tensor:
        """A row to look with."""
        if self.ready.ids is not None:
            return self.ready.ids.clone()
        budget = self.ready.budget
        return torch.zeros(1, *budget.shape, dtype=budget.dtype, device=budget.device)

    def _differentiated(self, net: nn.Module, rows: Rows, lane: Lane, listening: Intercept | None) -> Answer:
        leaf, entering = self._entering(rows, lane)
        with torch.enable_grad(), nullcontext() if listening is None else listening:
            tape = Tape(self.sites, lane, rows, leaf)
            if listening is not None and self.ready.facts.entrance is not None and entering.is_floating_point():
                listening.count_at(entering)
            out = self._forward(net, entering, tape)
        with torch.enable_grad():
            ends = leaf if listening is None or listening.canvas is None else listening.canvas
            answer = answered(rows, out, ends, tape, lane, self.card.name)
        if listening is not None:
            self._verified(net, lane, listening, whole=True)
        return answer

    def _entering(self, rows: Rows, lane: Lane) -> tuple[Tensor, Tensor]:
        """The points as leaves of the graph, and what enters the model: a tensor that it may change in place.

        Rules tell what depends on the points from what is constant, wherever their signal is read.
        """
        leaf = as_asked(rows.build().detach(), lane).requires_grad_(lane.gradient or lane.where.rule is not None)
        with torch.enable_grad():
            return leaf, (leaf if lane.where.into is None else as_asked(rows.clean(), lane)) * 1

    def _note(self, net: nn.Module, seen: Intercept) -> None:
        """Say what a rule served, and which activations kept their ordinary gradient."""
        key = (net, seen.rules)
        if key not in self.ready.audits:
            audit = seen.audit
            met = Counter(f"{entry.operator} in {entry.layer or 'the model'}" for entry in audit.unruled)
            kept = f"; no rule for {', '.join(list(met)[:6])}: plain gradient there" if met else ""
            _keep(self.ready.audits, key, f"{audit.rules}: {len(audit.served)} operators follow the rule{kept}")
        self._decisions.append(self.ready.audits[key])

    def enter(self, x: Tensor) -> Tensor:
        """Rows as the numbers that are explained: token ids as their vectors, all others as they are."""
        entrance = self.ready.facts.entrance
        if x.is_floating_point():
            return x
        if entrance is None:
            raise UnsupportedModel(
                f"token ids, and no layer of {self.card.name} that turns them into vectors",
                "a model with an nn.Embedding that looks up the ids it is given",
            )
        with torch.no_grad():
            return self.ready.twin.get_submodule(entrance[0])(x)

    def _forward(self, net: nn.Module, x: Tensor, tape: Tape) -> Tensor:
        entrance = self.ready.facts.entrance
        if entrance is None or not x.is_floating_point():
            return self._through(net, x, tape)
        with entering(net, entrance, x):
            return self._through(net, tape.rows.clean(), tape)

    def _through(self, net: nn.Module, x: Tensor, tape: Tape) -> Tensor:
        if x.ndim == 4 and (net is self.ready.prepared or net is self.ready.padded):
            with torch._C.DisableTorchFunction():  # no operator of the model
                x = x.contiguous(memory_format=torch.channels_last)
        head = self.ready.facts.head
        with tape.on(net):
            if head is None:
                return raw_scores(net(x), self.select)
            with Headless(head):
                return raw_scores(net(x), self.select)

    def _net(self, lane: Lane) -> nn.Module:
        ready, where = self.ready, lane.where
        if where.variant is not None:
            return self._variant(where.variant)
        manner: Any = getattr(where.rule, "manner", None)
        if manner is not None and manner.start == "score" and ready.folded:
            # relevance depends on whether batch norms are part of the layer before them
            return (ready.prepared or ready.twin) if manner.merge else ready.twin
        painted = manner is not None and manner.canvas
        if ready.prepared is None or painted or any(s.name in ready.folded for s in touched(lane)):
            return ready.twin
        gone = {pad for pad, _ in ready.facts.pads}
        relevance = manner is not None and manner.start == "score"  # some of it goes to places that are padded
        if ready.padded is None or relevance or any(s.name in gone for s in touched(lane)):
            return ready.prepared
        return ready.padded

    def _variant(self, variant: Variant) -> nn.Module:
        variants = self.ready.variants
        if variant not in variants:
            if variant.shift and self.ready.facts.entrance is not None:
                raise UnsupportedModel(f"{self.card.name} takes token ids, to which nothing can be added", "numbers")
            self._forget(max(MOST_VARIANTS, 0 if self.turns is None else len(self.turns.lanes)) - 1)
            variants[variant] = varied(self.ready.twin, variant, self.card.name)
        return variants[variant]

    def _forget(self, most: int) -> None:
        """Forget the oldest variants beyond so many."""
        others = [one for one in self.ready.variants if one != DOUBLE]
        for old in others[: max(0, len(others) - most)]:
            self.ready.forget(old)


def _canvas(rows: Rows, planes: int) -> Tensor | None:
    """An empty canvas as large as the picture, [rows, planes, height, width], where rules want one."""
    if not planes:
        return None
    like = rows.build()
    return like.new_zeros((len(like), planes, *like.shape[-2:])).requires_grad_()


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Remember a value, and forget the oldest beyond MOST: sets of rules may be made anew for every call."""
    while len(cache) >= MOST:
        del cache[next(iter(cache))]
    cache[key] = value


def _best(outputs: Tensor, sites: Mapping[Site, Tensor]) -> Tensor:
    return outputs.amax(1)[None]


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
