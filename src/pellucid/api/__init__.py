"""The verbs: explain, compare, measure, plan. They put the parts together and hold no logic of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pellucid import images, registry, views
from pellucid.adapters import FunctionModel, Handle
from pellucid.api.asking import sliced, targets_of, tasks_of
from pellucid.api.audit import audit
from pellucid.api.budget import seconds_of, tolerating, within
from pellucid.api.cited import cite
from pellucid.api.entries import explained, fitting, noted, references_of
from pellucid.api.kinds import as_classifier, as_regressor
from pellucid.api.measuring import inputs_of, measured, subjects_of
from pellucid.api.models import as_model, load, wrap
from pellucid.api.planning import Judges, explaining, measuring
from pellucid.api.progress import Meter, Progress
from pellucid.api.waves import Reads, example_of, how_many, read, still, waves_of
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation, Explanations, cat, show_with
from pellucid.core.measurements import Measurement, Measurements, join
from pellucid.core.method import Explains, Method
from pellucid.core.metric import Measures
from pellucid.core.plan import Plan
from pellucid.core.scorecard import Scorecard
from pellucid.core.site import AUTO
from pellucid.core.store import Shelf
from pellucid.core.target import OUTPUTS, Asked, Output, Target, width
from pellucid.engine import run
from pellucid.engine.rehearsal import Rehearsal
from pellucid.ops.controls import control_maps
from pellucid.preprocess import Table, Tokens

DEFAULT = ("integrated_gradients", "grad_cam")
FOR_TEXTS = ("integrated_gradients", "input_x_gradient")
"""Instead of the default, where there are no places to map."""

FOR_SCORES = ("lime", "kernel_shap")
"""Instead of the default, where a model can only be asked for scores."""
FOR_TABLES = ("tabular_lime", "kernel_shap")
"""The same for rows of a table."""

show_with(views.mime_bundle)  # explanations draw themselves in notebooks


# -- explain ---------------------------------------------------------------------------------------------------


def explain(
    model: Handle | nn.Module | str,
    inputs: Any,
    methods: str | Explains | type[Any] | Iterable[str | Explains | type[Any]] = DEFAULT,
    *,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
    tolerance: float | None = None,
    budget: str | float | None = None,
    save: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Explanations:
    """Why did the model say that? All methods, images and targets in one call that shares its passes.

    model    a handle from `wrap` or `load`, a bare module (for tensors), or a name
    inputs   photos: paths, folders, bytes, PIL images, numpy arrays [height, width, 3], or a list of them, of any
             sizes; or rows: a float tensor [batch, ...] as the model takes it, or token ids, int64 [batch, tokens];
             for a model with a tokenizer: a text or a list of texts
    methods  names, groups (`sauron`, `cams`), classes or instances: "grad_cam", IntegratedGradients(steps=64)
    target   what is explained: None for the top class, a class number or name, a Target, or a list of several
    versus   explain the difference to this class: why target rather than versus
    top_k    the k best classes of every image, instead of target
    output   logit, probability, log_probability or margin; None takes what each method is defined on
    tolerance  how large the remaining error may be, for all methods that can take more samples or steps until it is
             not larger: `tolerance` of these methods
    budget   how long it may take: 90, "90s", "2m". Samples and steps are lowered where the plan takes longer, and
             records say how; adaptive methods are limited
    save     a folder to stream to; then the result reads its numbers from there, and memory does not grow with
             the number of photos
    progress called with (rows done, rows expected), first with none done; methods that go on as they need may raise
             what is expected
    Returns Explanations, ordered by method, then target; each entry holds all images.
    Raises subclasses of PellucidError; arguments are checked before anything is computed.
    """
    handle = as_model(model)
    targets, inputs = targets_of(target, versus, top_k), read(handle, inputs, budget is not None)
    chosen, said = _chosen(handle, inputs, methods, targets, output, tolerance, budget)
    tasks = tasks_of(handle, chosen, targets, output)
    shelf = None if save is None else Shelf.new(Path(save), overwrite=overwrite)
    parts: dict[tuple[int, tuple[int, ...]], list[Explanation]] = {}
    done = 0
    meter = None if progress is None else Meter(progress, how_many(handle, inputs))
    with still(handle):
        for wave in waves_of(handle, inputs, tasks):
            one = tasks if done == 0 and wave.last else [sliced(t, done, done + len(wave.x), wave.last) for t in tasks]
            entries = explained(handle, wave, one, meter)
            done += len(wave.x)
            notes = (note for note, task in zip(said, one, strict=True) for _ in range(sum(map(width, task.targets))))
            entries = [noted(entry, note) for entry, note in zip(entries, notes, strict=True)]
            for place, entry in enumerate(entries):
                if shelf is None:
                    parts.setdefault((place, entry.inputs.shape), []).append(entry)
                else:
                    shelf.add(place, entry)
    if shelf is not None:
        return shelf.done()
    ordered = sorted(parts, key=lambda key: key[0])
    return Explanations(tuple(cat(parts[key]) for key in ordered))


def _chosen(
    handle: Handle,
    inputs: Any,
    methods: Any,
    targets: tuple[Target, ...],
    output: Output | None,
    tolerance: float | None,
    budget: str | float | None,
) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The methods with what tolerance and budget make of them, and what the budget decided for each."""
    made = tolerating(registry.make_all(default(handle) if methods is DEFAULT else methods), tolerance)
    if budget is None:
        return made, ("",) * len(made)
    return within(seconds_of(budget), made, partial(_time, handle, inputs, targets, output))


def _time(handle: Handle, inputs: Any, targets: Any, output: Output | None, methods: Sequence[Method]) -> float:
    """How long methods take at most, in seconds: a rehearsal in which adaptive ones go on to their limit."""
    tasks, total, count = tasks_of(handle, methods, targets, output), 0.0, 0
    for wave in waves_of(handle, inputs, tasks):
        one = [sliced(t, count, count + len(wave.x), wave.last) for t in tasks]
        count += len(wave.x)
        with handle.ready(wave.x) as session:
            session.measure()
            stand_in = Rehearsal(session, wave.x, True)
            run(stand_in, wave.x, [fitting(task, session) for task in one], references_of(handle))
            total += stand_in.time
    return total


def default(handle: Handle) -> tuple[str, ...]:
    """The methods of nobody's choice: they suit the model and what it reads."""
    if isinstance(handle, FunctionModel):
        return FOR_TABLES if isinstance(handle.preprocess, Table) else FOR_SCORES
    return FOR_TEXTS if isinstance(handle.preprocess, Tokens) else DEFAULT


def compare(
    models: Sequence[Handle | nn.Module | str],
    inputs: Any,
    methods: Any = DEFAULT,
    *,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
    tolerance: float | None = None,
    budget: str | float | None = None,
    progress: Progress | None = None,
) -> Explanations:
    """The same photos through several models, in one result; arguments as in `explain`.

    Models of the same name are numbered, so that they can be told apart. A budget is shared out to them evenly.
    """
    handles = [as_model(m) for m in models]
    if not handles:
        raise InputError("no models to compare", "at least one model")
    raw = any(isinstance(h.given(inputs), Tensor) or isinstance(h.preprocess, Reads | Tokens) for h in handles)
    photos = inputs if raw else images.read_many(inputs)
    names: list[str] = []
    for handle in handles:
        numbered = (f"{handle.name} ({n})" for n in count(2))
        names.append(next(name for name in chain([handle.name], numbered) if name not in names))
    every: list[Explanation] = []
    each = None if budget is None else seconds_of(budget) / len(handles)
    for handle, name in zip(handles, names, strict=True):
        got = explain(
            handle, photos, methods, target=target, versus=versus, top_k=top_k, output=output, tolerance=tolerance,
            budget=each, progress=progress,
        )  # fmt: skip
        every += [replace(e, record=replace(e.record, model=replace(e.record.model, name=name))) for e in got]
    return Explanations(tuple(every))


METRICS = ("deletion", "insertion")


def measure(
    model: Handle | nn.Module | str,
    explanations: Explanation | Explanations | Sequence[Explanation],
    metrics: str | Measures | type[Any] | Iterable[str | Measures | type[Any]] = METRICS,
    *,
    inputs: Any = None,
    masks: Any = None,
    methods: Any = (),
    target: Asked = None,
    output: Output | None = None,
    controls: bool = False,
    compat: str | None = None,
    progress: Progress | None = None,
) -> Measurements:
    """How far can these explanations be trusted? All metrics of all explanations in one call that shares its passes.

    model         the model that was explained
    explanations  what `explain` gave; a subset will do, of the same inputs
    metrics       names, families (`faithfulness`, `localisation` ...), classes or instances: Deletion(steps=64)
    inputs        what was explained, again; None takes the pictures that explanations keep, which are exact for photos
                  of eight bits. The model must say of them what it said before
    masks         where the object is, for metrics of localisation: one bool [height, width] per input
    methods       the instances that were given to `explain`, for metrics that explain again, where a record does not
                  hold all parameters (tensors, functions)
    target        what is measured, for targets that are no classes; None takes that of each explanation
    output        logit, probability, log_probability or margin, for all metrics that are not about the output explained
    controls      measure maps beside them that know nothing of the model: random numbers, the photo's edges and a hill
                  in the middle. A method that does not beat them has explained nothing
    compat        captum, xplique, rise or quantus: metrics given by name take the parameters and the output that they
                  have there; `pellucid.metrics.compat` lists them, and why some are refused
    Returns Measurements, by explanation and then by metric; each entry holds all images. What a metric cannot be asked
    of this model is NaN with the reason, and the others go on.
    Raises InputError where model or inputs are not those that were explained.
    """
    handle = as_model(model)
    pairs = (
        [(m, None) for m in registry.make_metrics(metrics)] if compat is None else registry.compatible(metrics, compat)
    )
    chosen = tuple(m for m, _ in pairs)
    if output is not None and output not in OUTPUTS:
        raise ParameterError(f"output={output!r}", f"one of {', '.join(OUTPUTS)}")
    outputs: tuple[Output | None, ...] = tuple(output or theirs for _, theirs in pairs)
    known = registry.make_all(methods) if methods else ()
    entries = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    entries += control_maps(entries) if controls else []
    with still(handle):
        subjects = subjects_of(handle, entries, chosen, methods=known, masks=masks, target=target)
        meter = None if progress is None else Meter(progress, len(entries[0]))
        parts: dict[tuple[int, int], list[Measurement]] = {}
        for wave in inputs_of(handle, inputs, subjects, chosen):
            for place, one in measured(handle, wave, chosen, subjects, outputs, meter):
                parts.setdefault(place, []).append(one)
    left = [s for s in subjects if s.done < len(s.e)]
    if left:
        raise InputError(f"inputs for {left[0].done} of the {len(left[0].e)} rows of {left[0].e!r}", "all inputs")
    return Measurements(tuple(join(parts[place]) for place in sorted(parts)))


def plan(
    model: Handle | nn.Module | str,
    inputs: Any,
    methods: Any = DEFAULT,
    *,
    metrics: str | Measures | type[Any] | Iterable[str | Measures | type[Any]] | None = None,
    controls: bool = False,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
    tolerance: float | None = None,
    budget: str | float | None = None,
) -> Plan:
    """What `explain` with these arguments would do: rounds, shared groups, rows, passes, memory and time.

    The model is run on one row only, to look at it and to time it. For methods that do not adapt, the passes are
    exactly those that `explain` will count.

    metrics   what `measure` would do with them as well; curves that happen to be equal are not foreseen. Where inputs
              are explanations (and methods the instances that made them), it is what `measure` would do alone
    controls  as in `measure`
    """
    handle = as_model(model)
    judges = None
    if metrics is not None:
        made = registry.make_metrics(metrics)
        judges = Judges(metrics=made, outputs=(None,) * len(made), controls=controls)
    if there := _explanations(inputs):
        if judges is None:
            raise ParameterError("a plan for explanations", "metrics to measure them with", "plan(..., metrics=...)")
        known = () if methods is DEFAULT else registry.make_all(methods)
        return measuring(handle, there, known, judges).plan(handle, [*dict.fromkeys(map(_titled, there))], judges)
    targets, inputs = targets_of(target, versus, top_k), read(handle, inputs, budget is not None)
    chosen, said = _chosen(handle, inputs, methods, targets, output, tolerance, budget)
    tasks = tasks_of(handle, chosen, targets, output)
    notes = [f"{m.about.title}: {note}" for m, note in zip(chosen, said, strict=True) if note]
    ledger = explaining(handle, inputs, tasks, chosen, judges)
    return ledger.plan(handle, [m.about.title for m in chosen], judges, notes)


def _titled(e: Explanation) -> str:
    return e.record.title


def _explanations(inputs: Any) -> list[Explanation]:
    """Those that are given instead of inputs; none where inputs are."""
    if isinstance(inputs, Explanation):
        return [inputs]
    listed = isinstance(inputs, (Explanations, list, tuple)) and len(inputs) > 0
    return list(inputs) if listed and all(isinstance(one, Explanation) for one in inputs) else []


def report(
    explanations: Explanation | Explanations | Sequence[Explanation] | Scorecard,
    path: str | Path,
    *,
    title: str | None = None,
    overwrite: bool = False,
    figures: Mapping[str, views.Figure] | None = None,
) -> Path:
    """One self-contained HTML page: opens from disk, needs no network, works without JavaScript.

    explanations  what `explain` gave, or a scorecard
    title      heading of the page; made from the photos' names by default
    figures    drawings beside the explanations by their headings: {"A global surrogate": views.surrogate(...)}
    overwrite  replace a file in the way; otherwise it is refused with FileExists
    """
    if isinstance(explanations, Scorecard):
        from pellucid.views.report.scorecard import write_scorecard

        return write_scorecard(explanations, path, title=title, overwrite=overwrite)
    from pellucid.views.report import write_report  # templates are read only when a report is wanted

    return write_report(explanations, path, title=title, overwrite=overwrite, figures=figures)


def layers(model: Handle | nn.Module | str, inputs: Any = None) -> list[tuple[str, str, tuple[int, ...], bool]]:
    """Layers that have height and width: (name, type, shape of the map, whether `auto` chooses it), in running order.

    inputs  a photo or rows to look with; None takes a grey picture of the model's own size
    """
    handle = as_model(model)
    if isinstance(handle, FunctionModel):
        return []
    x = example_of(handle) if inputs is None else next(waves_of(handle, inputs, [])).x[:1]
    with handle.ready(x) as session:
        kinds = {layer.name: layer.type for layer in session.ready.facts.layers}
        found = session.sites.candidates()
        best = session.site(AUTO) if found else None
        return [(str(site), kinds[site.name], shape, site == best) for site, shape in found]


__all__ = [
    "as_classifier",
    "as_model",
    "as_regressor",
    "audit",
    "cite",
    "compare",
    "explain",
    "layers",
    "load",
    "measure",
    "plan",
    "report",
    "wrap",
]
