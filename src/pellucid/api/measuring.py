"""Measure explanations: metrics ride on the same engine as methods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid import registry
from pellucid.adapters import Handle, Ready
from pellucid.api.entries import counter, references_of
from pellucid.api.insample import in_sample
from pellucid.api.progress import Meter
from pellucid.api.sessions import known_of
from pellucid.api.waves import Wave, waves_of
from pellucid.core.ask import Can
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation, Passes
from pellucid.core.measurements import Judged, Measurement
from pellucid.core.method import Method
from pellucid.core.method import parameters as parameters_of
from pellucid.core.metric import Map, Measuring, Metric, Read, Reading, unread
from pellucid.core.target import OUTPUTS, Class, Contrast, Each, Output, Target, Top, as_targets
from pellucid.core.target import part as part_of
from pellucid.engine import Task, run
from pellucid.ops.controls import CONTROLS
from pellucid.preprocess import Preprocess

EXACT = 2e-5
"""By how much outputs of equal rows differ between ways of evaluating them, relative to their size."""


@dataclass(slots=True, eq=False)
class Subject:
    """One explanation that is measured, and how far its rows have been."""

    e: Explanation
    place: int
    target: Target
    method: Method | None
    mask: Tensor | None
    done: int = 0

    def rows(self, wave: Wave) -> slice | None:
        """Its rows that belong to this wave; None where the wave's rows have another shape.

        Raises InputError where names or pictures differ.
        """
        e, start = self.e, self.done
        if tuple(e.inputs.shape) != tuple(wave.inputs.shape) or start >= len(e):
            return None
        here = slice(start, start + len(wave.x))
        names, wanted = e.inputs.name[here], wave.inputs.name
        counted = all(name.startswith("row ") for name in (*names, *wanted))  # by their place in another call
        if len(names) != len(wanted) or (names != wanted and not counted):
            bad = next((f"{b} instead of {a}" for a, b in zip(names, wanted, strict=False) if a != b), "others")
            raise InputError(f"inputs that are not those of {e!r}: {bad}", "the same inputs, in the same order")
        mine, seen = e.inputs.picture, wave.inputs.picture
        if mine is not None and seen is not None and not torch.equal(mine[here], seen):
            raise InputError(f"other pictures than those of {e!r} under the same names", "the inputs explained")
        self.done = here.stop
        return here


def subjects_of(
    handle: Handle,
    explanations: Sequence[Explanation],
    metrics: Sequence[Metric],
    *,
    methods: Sequence[Method],
    masks: Any,
    target: Any,
) -> list[Subject]:
    """What is measured. Raises InputError before anything is computed."""
    if not explanations or not all(isinstance(e, Explanation) for e in explanations):
        raise InputError("nothing to measure", "explanations, as `explain` gives them")
    wants = frozenset(want for m in metrics for want in m.about.wants)
    if "mask" in wants and masks is None:
        raise InputError("metrics of localisation without masks", "where the object is", "measure(..., masks=[...])")
    asked = None if target is None else as_targets(target)
    found: list[Subject] = []
    for place, e in enumerate(explanations):
        theirs = e.record.model.fingerprint
        if theirs != handle.fingerprint():
            raise InputError(
                f"{e!r} explains a model with other weights (fingerprint {theirs})",
                f"an explanation of {handle.name} ({handle.fingerprint()})",
            )
        known = "method" in wants and e.record.method not in CONTROLS
        method = _method(e, methods) if known else None
        mask = None if masks is None else _mask(masks, e)
        found.append(Subject(e, place, _target(e, asked), method, mask))
    return found


def _method(e: Explanation, given: Sequence[Method]) -> Method:
    wanted = dict(e.record.params)
    known = (one for one in given if one.about.name == e.record.method and parameters_of(one) == wanted)
    made = next(known, None) or registry.remade(e.record.method, wanted)
    if made is None:
        raise ParameterError(
            f"{e.title} with parameters that its record does not hold whole",
            "the method itself, for metrics that explain again",
            "measure(..., methods=[the instances that were given to explain])",
        )
    return made


def _mask(masks: Any, e: Explanation) -> Tensor:
    """bool [batch, height, width] for all rows of an explanation."""
    size = tuple(e.inputs.shape[-2:])
    each = [torch.as_tensor(one) for one in masks]
    if len(each) != len(e) or any(tuple(one.shape) != size for one in each):
        shapes = sorted({tuple(one.shape) for one in each})
        raise InputError(
            f"{len(each)} masks of {shapes} for {len(e)} inputs of {size}", "one mask [height, width] per input"
        )
    return torch.stack([one.to(torch.bool).cpu() for one in each])


def _target(e: Explanation, asked: tuple[Target, ...] | None) -> Target:
    if asked is not None:
        if len(asked) != 1 or (isinstance(asked[0], Top) and asked[0].k > 1):
            raise ParameterError(f"target={asked!r}", "a single target", "measure the explanations of each by itself")
        return asked[0]
    t = e.target
    if t.pair:
        return Contrast(Each([a for a, _ in t.pair]), Each([b for _, b in t.pair]))
    if any(i is None for i in t.index):
        raise InputError(f"{e!r} explains {t.name[0]}, which is no class", "its target", "measure(..., target=...)")
    index = [i for i in t.index if i is not None]
    return Class(index[0]) if len(set(index)) == 1 else Each(index)


# -- waves -----------------------------------------------------------------------------------------------------


def pictured(handle: Handle, explanations: Sequence[Explanation]) -> Iterator[Wave]:
    """The inputs again, from the pictures that explanations keep; exact for photos of eight bits."""
    preprocess = handle.preprocess
    shapes = {tuple(e.inputs.shape): e.inputs for e in explanations}
    exact = isinstance(preprocess, Preprocess) and preprocess.linked and preprocess.channels == 3
    if not exact or any(inputs.picture is None for inputs in shapes.values()):
        raise InputError("explanations that do not keep their inputs", "the inputs", "measure(..., inputs=...)")
    for k, inputs in enumerate(shapes.values()):
        picture = inputs.picture
        if picture is None:
            continue
        for start in range(0, len(picture), 64):
            here = slice(start, start + 64)
            pixels = picture[here].movedim(-1, 1).contiguous().to(handle.dtype) / 255
            rows = preprocess.to_rows(pixels).to(handle.device)
            last = k + 1 == len(shapes) and start + 64 >= len(picture)
            yield Wave(rows, inputs[here], last, kept=True)


def inputs_of(handle: Handle, inputs: Any, subjects: Sequence[Subject], metrics: Sequence[Metric]) -> Iterator[Wave]:
    """The rows that were explained, in waves."""
    if inputs is None:
        return pictured(handle, [s.e for s in subjects])
    some = [Task(Measuring(m, Map.of(subjects[0].e[:0])), (Top(1),), "logit") for m in metrics for _ in subjects]
    return waves_of(handle, inputs, some)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One metric of one subject, on the rows of one wave."""

    metric: Metric
    number: int
    """Of the metric among those of the call."""
    subject: Subject
    map: Map
    here: slice
    output: Output
    can: frozenset[Can]
    """What the model can be asked."""

    @property
    def unfit(self) -> str:
        """Why the metric cannot be asked at all; empty where it can."""
        if self.map.kind not in self.metric.about.kinds:
            return f"not defined for a {self.map.kind.value}"
        lacks = ", ".join(sorted(c.value for c in self.metric.about.needs - self.can))
        return f"the model cannot be asked for {lacks}" if lacks else ""

    def task(self) -> Task:
        return Task(
            Measuring(self.metric, self.map),
            (part_of(self.subject.target, self.here.start, self.here.stop),),
            self.output,
        )


def measured(
    handle: Handle,
    wave: Wave,
    metrics: Sequence[Metric],
    subjects: Sequence[Subject],
    outputs: Sequence[Output | None],
    meter: Meter | None,
) -> list[tuple[tuple[int, int], Measurement]]:
    """The measurements of one wave, each with its place (subject, metric).

    outputs: per metric, the number of the model that is looked at; None for the metric's own
    """
    start = time.perf_counter()
    with handle.ready(wave.x) as session:
        jobs = jobs_of(wave, metrics, subjects, outputs, session, handle.can)
        asked = [job for job in jobs if not job.unfit]
        tasks = [job.task() for job in asked]
        counted = None if meter is None else counter(session, wave, tasks, references_of(handle), meter)
        outcome = run(session, wave.x, tasks, references_of(handle), counted, known_of(session))
        for job in jobs:
            _agrees(job, outcome.outputs, wave)
        passes = replace(outcome.passes, verification=session.verification)
        clean = references_of(handle)(wave.x)
        said = {id(job): _reading(result.attribution) for job, result in zip(asked, outcome.results, strict=True)}
        seconds = time.perf_counter() - start
        return [
            (
                (job.subject.place, job.number),
                replace(
                    _measurement(job, said.get(id(job)) or unread(len(wave.x), job.unfit), session, passes, seconds),
                    in_sample=in_sample(job.map.whence, job.metric, wave.x, clean),
                ),
            )
            for job in jobs
        ]


def jobs_of(
    wave: Wave,
    metrics: Sequence[Metric],
    subjects: Sequence[Subject],
    outputs: Sequence[Output | None],
    session: Ready,
    can: frozenset[Can],
) -> list[Job]:
    """Every metric of every subject, on the rows of one wave. Raises InputError where those are others."""
    others = subjects if any("others" in m.about.wants for m in metrics) else ()
    here = [(s, s.rows(wave)) for s in subjects]
    return [job for s, rows in here for job in _jobs(s, rows, metrics, outputs, session, others, can)]


def _jobs(
    s: Subject,
    here: slice | None,
    metrics: Sequence[Metric],
    outputs: Sequence[Output | None],
    session: Ready,
    others: Sequence[Subject],
    can: frozenset[Can],
) -> Iterator[Job]:
    if here is None:
        return
    rows, mask = s.e[here], None if s.mask is None else s.mask[here]
    explained = rows.target.output if rows.target.output in OUTPUTS else "logit"
    among = tuple(Map.of(o.e[here]) for o in others if alike(o, s, here))
    for number, (m, output) in enumerate(zip(metrics, outputs, strict=True)):
        wanted: Any = explained if m.about.output == "explained" else output or m.about.output
        if session.emits == "values" and wanted in ("probability", "log_probability") and output is None:
            wanted = "logit"
        seen = Map.of(rows, mask=mask, method=s.method, flat=m.about.flat)
        yield Job(m, number, s, replace(seen, others=among) if "others" in m.about.wants else seen, here, wanted, can)


def alike(one: Subject, other: Subject, here: slice) -> bool:
    """Whether two explanations are of the same outputs of the same inputs, by different methods."""
    a, b = one.e, other.e
    same = a.inputs.name[here] == b.inputs.name[here] and a.inputs.shape == b.inputs.shape
    return a is not b and same and a.target.name[here] == b.target.name[here]


def _agrees(job: Job, outputs: Tensor, wave: Wave) -> None:
    """The model says of these inputs what it said when they were explained.

    Rows that were no photos may have had more digits than the pictures of them that were kept: of such that are near
    enough to pass for the inputs, but are not, curves and sensitivities would be a little wrong, and nobody would know.
    """
    before = job.subject.e.outputs
    if before is None:
        return
    before, now = before[job.here].double().cpu(), outputs.detach().double().cpu()
    half = outputs.dtype in (torch.float16, torch.bfloat16)
    gap, size = float((before - now).abs().max()), float(before.abs().max())
    rounded = wave.kept and wave.inputs.name[0].startswith("row ")
    if not gap <= (3e-2 if half else EXACT if rounded else 1e-3) * max(size, 1e-6):
        raise InputError(
            f"inputs of which {job.subject.e.record.model.name} says something else than when they were explained "
            f"(outputs differ by {gap:.2g})",
            "the inputs explained",
            "pass them: measure(..., inputs=...)",
        )


def _reading(answer: object) -> Reading:
    if not isinstance(answer, Read):  # pragma: no cover - Measuring gives nothing else
        raise InputError(f"a {type(answer).__name__} as a reading", "what a metric returns")
    return answer.reading


def _measurement(job: Job, r: Reading, session: Ready, passes: Passes, seconds: float) -> Measurement:
    about, e = job.metric.about, job.map.whence

    def listed(one: Tensor) -> tuple[Any, ...]:
        return tuple(one.tolist())

    curve = None
    if r.curve is not None:
        curve = tuple((tuple(x), tuple(y)) for x, y in zip(r.curve.x.tolist(), r.curve.y.tolist(), strict=True))
    return Measurement(
        metric=about.name,
        title=about.title,
        better=about.better,
        range=about.range,
        params=parameters_of(job.metric),
        output=job.output,
        judged=Judged(
            method=e.record.method,
            title=e.record.title,
            params=e.record.params,
            place=job.subject.place,
            target=e.target.name,
            output=e.target.output,
        ),
        images=e.inputs.name,
        values=listed(r.values),
        reasons=r.reasons,
        std_error=None if r.std_error is None else listed(r.std_error),
        curve=curve,
        extras={name: listed(one) for name, one in r.extras.items()},
        model=session.card,
        passes=passes,
        seconds=seconds,
    )
