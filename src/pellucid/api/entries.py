"""From what the engine answers for one wave to explanations."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import inf

import torch
from torch import Tensor

from pellucid.adapters import Handle, Ready
from pellucid.api.progress import Meter
from pellucid.api.sessions import known_of
from pellucid.api.waves import Wave, finite
from pellucid.core.ask import Attribution, Can
from pellucid.core.errors import NonFinite
from pellucid.core.explanation import (
    CHANNEL,
    HEIGHT,
    TOKEN,
    WIDTH,
    Check,
    Chosen,
    Explanation,
    Kind,
    Passes,
    Prediction,
    Record,
)
from pellucid.core.method import Method
from pellucid.core.method import parameters as parameters_of
from pellucid.core.site import as_site
from pellucid.core.target import Pick, Score, Unit, converted, ranked
from pellucid.engine import Outcome, Result, Task, run
from pellucid.engine.rehearsal import Rehearsal
from pellucid.ops.layers import each
from pellucid.ops.reference import References


def explained(handle: Handle, wave: Wave, tasks: Sequence[Task], meter: Meter | None) -> list[Explanation]:
    """The explanations of one wave, by task and then by target."""
    start = time.perf_counter()
    with handle.ready(wave.x) as session:
        tasks = [fitting(task, session) for task in tasks]
        counted = None if meter is None else counter(session, wave, tasks, references_of(handle), meter)
        outcome = run(session, wave.x, tasks, references_of(handle), counted, known_of(session))
        _finite(outcome.outputs, wave.inputs.name)
        seconds = time.perf_counter() - start
        return entries_of(session, wave, tasks, outcome, seconds)


def entries_of(
    session: Ready, wave: Wave, tasks: Sequence[Task], outcome: Outcome, seconds: float
) -> list[Explanation]:
    """What the engine found, by task and then by target."""
    prediction = _prediction(session, outcome.outputs)
    passes = replace(outcome.passes, verification=session.verification)
    most = max(rows for _, rows in outcome.shared)
    entries: list[Explanation] = []
    outputs = outcome.outputs.detach()
    for task, result in zip(tasks, outcome.results, strict=True):
        record = _record(session, task, result.attribution, passes, seconds, most)
        entries += [
            _entry(session, task, result, t, wave, prediction, outputs, record) for t in range(len(result.picks))
        ]
    return entries


def references_of(handle: Handle) -> Callable[[Tensor], References]:
    """Reference inputs for rows, through the model's preprocessing."""
    return lambda x: References(x, handle.preprocess)


def fitting(task: Task, session: Ready) -> Task:
    """Methods defined on probabilities explain the value itself where a model has none."""
    if task.output == "probability" and session.emits == "values" and task.method.about.output == "probability":
        return replace(task, output="logit")
    return task


def _entry(
    session: Ready,
    task: Task,
    result: Result,
    t: int,
    wave: Wave,
    prediction: Prediction,
    outputs: Tensor,
    record: Record,
) -> Explanation:
    a = result.attribution
    values, kind = a.values[t], a.kind or task.method.about.kind
    return Explanation(
        values=values,
        dims=_dims(a, wave),
        kind=kind,
        target=_named(result.picks[t].chosen(result.scores[t], session.labels), session),
        prediction=prediction,
        inputs=wave.inputs,
        record=record,
        checks=(
            *(check.of(t) for check in a.checks),
            *_checks(values, a.std_error, t, kind),
            *_saturated(task.method, result.picks[t], result.scores[t], session.emits),
        ),
        std_error=None if a.std_error is None else a.std_error[t],
        outputs=outputs,
        extras={name: extra[t] for name, extra in a.extras.items()},
    )


def _named(target: Chosen, session: Ready) -> Chosen:
    """What a score is called that is no logit of a class, where a model gives values."""
    if session.emits != "values" or target.output != "logit":
        return target
    single = session.outputs == 1 and session.labels.names is None
    name = tuple("the output" if i is not None else n for i, n in zip(target.index, target.name, strict=True))
    return replace(target, output="value", name=name if single else target.name)


def _dims(a: Attribution, wave: Wave) -> tuple[str, ...]:
    """Names of the axes; vectors of tokens are no places with height and width."""
    text = not wave.x.is_floating_point() and a.dims[1:] == (HEIGHT, WIDTH) and a.values.shape[2] == wave.x.shape[1]
    return (a.dims[0], TOKEN, CHANNEL) if text else a.dims


def degenerate(values: Tensor, kind: Kind) -> Check:
    """Whether the values of every row [batch, ...] say anything."""
    flat = values.reshape(len(values), -1)
    span = flat.amax(1) - flat.amin(1) if flat.shape[1] > 1 else flat.abs().amax(1)
    spans = span.tolist()
    return Check(
        name="degenerate",
        value=tuple(spans),
        passed=tuple(0 < s < inf or (kind is Kind.PART and s == 0) for s in spans),
        says="range of the values: at zero they say nothing, not finite they are broken",
    )


def _checks(values: Tensor, std_error: Tensor | None, t: int, kind: Kind) -> tuple[Check, ...]:
    flat = values.reshape(len(values), -1)
    checks = [degenerate(values, kind)]
    if std_error is not None:
        error = std_error[t].reshape(len(values), -1).norm(dim=1)
        noise = torch.where(error == 0, error, error / flat.norm(dim=1)).tolist()
        checks.append(
            Check(
                name="noise",
                value=tuple(noise),
                passed=tuple(n <= 1.0 for n in noise),
                limit=1.0,
                says="size of the standard errors relative to the size of the values; more samples lower it",
            )
        )
    return tuple(checks)


FLAT = 1e-4
"""Slope of a probability, p (1 − p), below which it counts as saturated: p beyond 0.9999, or below 0.0001. It is then
2,500 times flatter than at one half, and single precision holds 1 − p with less than four digits.
"""


def _saturated(method: Method, pick: Pick, scores: Tensor, emits: str) -> tuple[Check, ...]:
    """Whether a probability that is differentiated still has a slope; ∂p/∂z = p (1 − p), ∂ log p/∂z = 1 − p."""
    logarithm = pick.output == "log_probability" or (pick.output == "logit" and emits == "probabilities")
    single = pick.index is not None and pick.minus is None and not isinstance(pick.target, (Unit, Score))
    if not (single and Can.GRADIENT in method.about.needs and (logarithm or pick.output == "probability")):
        return ()
    p = scores.double().exp() if logarithm else scores.double()
    slope = ((1 - p) if logarithm else p * (1 - p)).tolist()
    return (
        Check(
            name="saturated",
            value=tuple(slope),
            passed=tuple(s >= FLAT for s in slope),
            limit=FLAT,
            says="slope of the probability: where it vanishes so does its gradient; explain the logit",
        ),
    )


def _record(session: Ready, task: Task, a: Attribution, passes: Passes, seconds: float, rows: int) -> Record:
    about = task.method.about
    return Record(
        method=about.name,
        title=about.title,
        params=parameters_of(task.method),
        cite=about.cite,
        model=session.card,
        at=None if a.at is None else ", ".join(str(session.site(site)) for site in each(a.at)),
        seed=getattr(task.method, "seed", None),
        passes=passes,
        seconds=seconds,
        rows=rows,
        versions={**_versions(), "threads": str(torch.get_num_threads())},
        decisions=(*session.decisions, *_about_site(session, task.method)),
    )


def noted(e: Explanation, note: str) -> Explanation:
    """An explanation whose record says this too."""
    return e if not note else replace(e, record=replace(e.record, decisions=(*e.record.decisions, note)))


def _about_site(session: Ready, method: Method) -> tuple[str, ...]:
    at = getattr(method, "at", None)
    return () if at is None else tuple(note for one in each(at) for note in session.about(as_site(one)))


@cache
def _versions() -> dict[str, str]:
    from pellucid import __version__

    return {"pellucid": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _prediction(session: Ready, outputs: Tensor) -> Prediction:
    has = session.emits != "values"
    scores = converted(outputs, "probability", session.emits) if has else outputs
    index = ranked(outputs, 5)
    probability = scores.gather(1, index).tolist()
    listed = index.tolist()
    return Prediction(
        index=tuple(map(tuple, listed)),
        name=tuple(tuple(session.labels.name(i) for i in row) for row in listed),
        probability=tuple(map(tuple, probability)),
        is_probability=has,
    )


def _finite(outputs: Tensor, names: Sequence[str]) -> None:
    if not finite(outputs):
        bad = ~torch.isfinite(outputs).all(1)
        who = [name for name, is_bad in zip(names, bad.tolist(), strict=True) if is_bad]
        raise NonFinite(
            f"the model gives NaN or infinity for {', '.join(who[:5])}", "finite scores", "check the input's range"
        )


def counter(
    session: Ready,
    wave: Wave,
    tasks: Sequence[Task],
    references: Callable[[Tensor], References],
    meter: Meter,
) -> Callable[[int, int], None]:
    """Progress in rows, of those that a rehearsal counts."""
    passes = run(Rehearsal(session, wave.x, False), wave.x, tasks, references).passes
    return meter.watch(passes.work - passes.backward, len(wave.x))
