"""What would be done, found out by rehearsals: the engine runs as always, and nothing answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from pellucid.adapters import Handle, Ready
from pellucid.api.asking import sliced
from pellucid.api.entries import entries_of, fitting, references_of
from pellucid.api.measuring import Subject, inputs_of, jobs_of, subjects_of
from pellucid.api.waves import Wave, waves_of
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Explanation, Passes
from pellucid.core.method import Method
from pellucid.core.metric import Metric
from pellucid.core.plan import Plan
from pellucid.core.points import generator
from pellucid.core.target import Output
from pellucid.engine import Outcome, Task, run
from pellucid.engine.rehearsal import Rehearsal
from pellucid.ops.controls import control_maps
from pellucid.preprocess import Table, reads_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """What will be measured of what is explained.

    outputs  per metric, the number of the model that is looked at; None for the metric's own
    """

    metrics: tuple[Metric, ...]
    outputs: tuple[Output | None, ...]
    controls: bool = False


@dataclass(slots=True)
class Ledger:
    """Adds up what rehearsals take: at least, at most, and one task after the other."""

    low: Passes = field(default_factory=Passes)
    high: Passes = field(default_factory=Passes)
    apart: Passes = field(default_factory=Passes)
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    peak: int = 0
    images: int = 0
    verification: int = 0
    lines: dict[str, None] = field(default_factory=dict)
    evaluator: str = ""
    decisions: tuple[str, ...] = ()

    def rehearse(self, handle: Handle, session: Ready, wave: Wave, tasks: Sequence[Task], first: bool) -> Outcome:
        """Count what tasks take; first: of the call, so that their lines are told."""
        references, found = references_of(handle), []
        for i, noise in enumerate((False, True)):
            stand_in = Rehearsal(session, wave.x, noise)
            found.append(run(stand_in, wave.x, tasks, references))
            self.seconds[i] += stand_in.time
            self.peak = max(self.peak, stand_in.peak)
        self.low, self.high = self.low + found[0].passes, self.high + found[1].passes
        self.lines |= dict.fromkeys(found[0].lines() if first else ())
        for task in tasks:
            self.apart += run(Rehearsal(session, wave.x, False), wave.x, [task], references).passes
        return found[1]

    def looked(self, session: Ready, wave: Wave) -> None:
        """What a wave tells of the model."""
        self.images += len(wave.x)
        self.verification += session.verification
        self.evaluator, self.decisions = session.card.evaluator, session.decisions

    def plan(self, handle: Handle, methods: Sequence[str], judges: Judges | None, said: Sequence[str] = ()) -> Plan:
        """The sum."""
        return Plan(
            images=self.images,
            methods=tuple(methods),
            metrics=() if judges is None else tuple(m.about.title for m in judges.metrics),
            least=self.low,
            most=self.high,
            unshared=self.apart,
            groups=tuple(self.lines),
            peak_bytes=self.peak,
            seconds=(self.seconds[0], self.seconds[1]),
            verification=self.verification,
            evaluator=self.evaluator,
            decisions=(*self.decisions, *said),
            what=_what(handle),
        )


def _what(handle: Handle) -> str:
    return "text" if reads_texts(handle.preprocess) else "row" if isinstance(handle.preprocess, Table) else "image"


def explaining(
    handle: Handle, inputs: Any, tasks: Sequence[Task], methods: Sequence[Method], judges: Judges | None
) -> Ledger:
    """What `explain` would do, and `measure` with what it gave."""
    ledger = Ledger()
    for wave in waves_of(handle, inputs, tasks):
        one = [sliced(t, ledger.images, ledger.images + len(wave.x), wave.last) for t in tasks]
        with handle.ready(wave.x) as session:
            one, first = [fitting(task, session) for task in one], ledger.images == 0
            session.measure()
            outcome = ledger.rehearse(handle, session, wave, one, first)
            if judges is not None:
                maps = _drawn(entries_of(session, wave, one, outcome, 0.0))
                subjects = _subjects(handle, maps, methods, judges)
                _measuring(ledger, handle, session, wave, subjects, judges, first)
            ledger.looked(session, wave)
    return ledger


def measuring(handle: Handle, explanations: Sequence[Explanation], methods: Sequence[Method], judges: Judges) -> Ledger:
    """What `measure` would do with explanations that are there."""
    ledger, subjects = Ledger(), _subjects(handle, explanations, methods, judges)
    for wave in inputs_of(handle, None, subjects, judges.metrics):
        with handle.ready(wave.x) as session:
            session.measure()
            _measuring(ledger, handle, session, wave, subjects, judges, ledger.images == 0)
            ledger.looked(session, wave)
    return ledger


def _measuring(
    ledger: Ledger,
    handle: Handle,
    session: Ready,
    wave: Wave,
    subjects: Sequence[Subject],
    judges: Judges,
    first: bool,
) -> None:
    jobs = jobs_of(wave, judges.metrics, subjects, judges.outputs, session, handle.can)
    ledger.rehearse(handle, session, wave, [job.task() for job in jobs if not job.unfit], first)


def _subjects(handle: Handle, maps: Sequence[Explanation], methods: Sequence[Method], judges: Judges) -> list[Subject]:
    """Raises ParameterError for metrics of localisation, which ask the model for nothing but want masks."""
    if wanting := [m.about.title for m in judges.metrics if "mask" in m.about.wants]:
        raise ParameterError(
            f"a plan of {', '.join(wanting)}", "metrics that ask the model", "leave them out: they cost nothing"
        )
    every = [*maps, *(control_maps(maps) if judges.controls else ())]
    return subjects_of(handle, every, judges.metrics, methods=methods, masks=None, target=None)


def _drawn(maps: Sequence[Explanation]) -> list[Explanation]:
    """Maps of which no two are alike, as those will be that are measured: what removes in one order is asked once."""
    values = (torch.rand(e.values.shape, generator=generator(0, "rehearsed map", k)) for k, e in enumerate(maps))
    return [replace(e, values=one.to(e.values)) for e, one in zip(maps, values, strict=True)]
