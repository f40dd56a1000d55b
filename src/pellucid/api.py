"""The verbs: wrap, load, explain, compare, plan. They put the parts together and hold no logic of their own."""

from __future__ import annotations

import platform
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, count
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid import images, registry, views, zoo
from pellucid.adapters.torch import TorchModel
from pellucid.adapters.torch.session import TorchSession
from pellucid.core.ask import Attribution, Can
from pellucid.core.cite import bibtex
from pellucid.core.errors import InputError, NonFinite, ParameterError, TargetError, UnsupportedModel
from pellucid.core.explanation import (
    Check,
    Explanation,
    Explanations,
    Inputs,
    Passes,
    Prediction,
    Record,
    cat,
    show_with,
)
from pellucid.core.method import About, Explains, Method, is_method
from pellucid.core.method import parameters as parameters_of
from pellucid.core.plan import Plan
from pellucid.core.site import AUTO, as_site
from pellucid.core.store import Shelf
from pellucid.core.target import (
    OUTPUTS,
    Asked,
    Contrast,
    Each,
    Output,
    Target,
    Top,
    as_targets,
    converted,
    part,
    ranked,
    width,
)
from pellucid.engine import Task, run
from pellucid.engine.rehearsal import Rehearsal
from pellucid.ops.reference import References
from pellucid.preprocess import Preprocess

Progress = Callable[[int, int], None]
"""Called with (rows done, rows expected)."""
DEFAULT = ("integrated_gradients", "grad_cam")
WAVE = 256 * 2**20
"""Bytes of running results at once; inputs beyond it go in waves."""

show_with(views.mime_bundle)  # explanations draw themselves in notebooks


# -- models ----------------------------------------------------------------------------------------------------


def wrap(
    module: nn.Module,
    preprocess: Preprocess | Callable[..., Any] | None = None,
    labels: Sequence[str] | None = None,
    *,
    name: str | None = None,
    outputs: str | int | Callable[[Any], Tensor] | None = None,
    emits: Literal["logits", "sigmoid_logits", "probabilities", "values"] | None = None,
    evaluate: Literal["auto", "plain", "prepared"] = "auto",
    rows: int | Literal["auto"] = "auto",
) -> TorchModel:
    """A handle on your own model. The module is never changed: work happens on a private twin that shares its weights.

    module      a trained torch.nn.Module
    preprocess  how a photo becomes a row: a `Preprocess`, or your own transform (torchvision, timm, a Hugging Face
                processor, a function); None when you pass tensors
    labels      class names in the order of the outputs; then targets can be given by name
    name        what to call the model in figures and records; its class by default
    outputs     which part of the answer holds the scores, for models that return mappings or tuples
    emits       what the scores are; None finds out: rows that sum to one are probabilities, and so on
    evaluate    `auto` folds batch-norms and lays memory out channels-last where that was verified to agree
    rows        model rows at once; `auto` fits a memory budget
    Raises InputError or ParameterError for arguments that cannot be used.
    """
    if labels is not None and (isinstance(labels, str) or not all(isinstance(one, str) for one in labels)):
        raise ParameterError(f"labels={str(labels)[:60]!r}", "a list of class names, one per output")
    if preprocess is None:
        made = Preprocess.identity()
    else:
        made = preprocess if isinstance(preprocess, Preprocess) else Preprocess.from_callable(preprocess)
    return TorchModel(module, made, labels, name=name, outputs=outputs, emits=emits, evaluate=evaluate, rows=rows)


def load(name: str, *, pretrained: bool = True) -> TorchModel:
    """A model that can be named: `efficientnet_lite0` (bundled), `timm:…`, `torchvision:…`, `hf:…`.

    pretrained  False takes random weights, where that makes sense
    Raises InputError for an unknown name, a missing package, or weights that are out of reach.
    """
    got = zoo.named(name, pretrained=pretrained)
    return TorchModel(got.module, got.preprocess, got.labels, name=name)


_borrowed: weakref.WeakKeyDictionary[nn.Module, TorchModel] = weakref.WeakKeyDictionary()
"""Handles on bare modules, kept as long as somebody keeps the module."""


def as_model(model: TorchModel | nn.Module | str) -> TorchModel:
    """What users may pass as a model: a handle, a name, or a bare module (which then takes tensors)."""
    if isinstance(model, TorchModel):
        return model
    if isinstance(model, str):
        return load(model)
    if isinstance(model, nn.Module):
        if model not in _borrowed:
            _borrowed[model] = TorchModel(model, Preprocess.identity(), borrowed=True)
        return _borrowed[model]
    raise InputError(
        f"a {type(model).__name__} as a model",
        "a torch.nn.Module, a handle from pellucid.wrap, or a name",
        "wrap it: pellucid.wrap(module, preprocess=..., labels=...)",
    )


# -- explain ---------------------------------------------------------------------------------------------------


def explain(
    model: TorchModel | nn.Module | str,
    inputs: Any,
    methods: str | Explains | type[Any] | Iterable[str | Explains | type[Any]] = DEFAULT,
    *,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
    save: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Explanations:
    """Why did the model say that? All methods, images and targets in one call that shares its passes.

    model    a handle from `wrap` or `load`, a bare module (for tensors), or a name
    inputs   photos: paths, folders, bytes, PIL images, numpy arrays [height, width, 3], or a list of them, of any
             sizes; or rows: a float tensor [batch, ...] as the model takes it
    methods  names, groups (`sauron`, `cams`), classes or instances: "grad_cam", IntegratedGradients(steps=64)
    target   what is explained: None for the top class, a class number or name, a Target, or a list of several
    versus   explain the difference to this class: why target rather than versus
    top_k    the k best classes of every image, instead of target
    output   logit, probability, log_probability or margin; None takes what each method is defined on
    save     a folder to stream to; then the result reads its numbers from there, and memory does not grow with
             the number of photos
    Returns Explanations, ordered by method, then target; each entry holds all images.
    Raises subclasses of PellucidError; arguments are checked before anything is computed.
    """
    handle, chosen = as_model(model), registry.make_all(methods)
    tasks = _tasks(handle, chosen, _targets(target, versus, top_k), output)
    shelf = None if save is None else Shelf.new(Path(save), overwrite=overwrite)
    parts: dict[tuple[int, tuple[int, ...]], list[Explanation]] = {}
    done = 0
    meter = None if progress is None else _Meter(progress, _count(inputs))
    for wave in _waves(handle, inputs, tasks):
        one = tasks if done == 0 and wave.last else [_sliced(t, done, done + len(wave.x), wave.last) for t in tasks]
        entries = _explained(handle, wave, one, meter)
        done += len(wave.x)
        for place, entry in enumerate(entries):
            if shelf is None:
                parts.setdefault((place, entry.inputs.shape), []).append(entry)
            else:
                shelf.add(place, entry)
    if shelf is not None:
        return shelf.done()
    ordered = sorted(parts, key=lambda key: key[0])
    return Explanations(tuple(cat(parts[key]) for key in ordered))


def compare(
    models: Sequence[TorchModel | nn.Module | str],
    inputs: Any,
    methods: Any = DEFAULT,
    *,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
    progress: Progress | None = None,
) -> Explanations:
    """The same photos through several models, in one result; arguments as in `explain`.

    Models of the same name are numbered, so that they can be told apart.
    """
    handles = [as_model(m) for m in models]
    if not handles:
        raise InputError("no models to compare", "at least one model")
    photos = inputs if isinstance(inputs, Tensor) else images.read_many(inputs)
    names: list[str] = []
    for handle in handles:
        numbered = (f"{handle.name} ({n})" for n in count(2))
        names.append(next(name for name in chain([handle.name], numbered) if name not in names))
    every: list[Explanation] = []
    for handle, name in zip(handles, names, strict=True):
        got = explain(
            handle, photos, methods, target=target, versus=versus, top_k=top_k, output=output, progress=progress
        )
        every += [replace(e, record=replace(e.record, model=replace(e.record.model, name=name))) for e in got]
    return Explanations(tuple(every))


def plan(
    model: TorchModel | nn.Module | str,
    inputs: Any,
    methods: Any = DEFAULT,
    *,
    target: Asked = None,
    versus: Asked = None,
    top_k: int | None = None,
    output: Output | None = None,
) -> Plan:
    """What `explain` with these arguments would do: rounds, shared groups, rows, passes, memory and time.

    The model is run on one row only, to look at it and to time it. For methods that do not adapt, the passes are
    exactly those that `explain` will count.
    """
    handle, chosen = as_model(model), registry.make_all(methods)
    tasks = _tasks(handle, chosen, _targets(target, versus, top_k), output)
    low = high = apart = Passes()
    lines: list[str] = []
    seconds, peak, verification, count = [0.0, 0.0], 0, 0, 0
    evaluator, decisions = "", ()
    for wave in _waves(handle, inputs, tasks):
        one = [_sliced(t, count, count + len(wave.x), wave.last) for t in tasks]
        count += len(wave.x)
        with handle.ready(wave.x) as session:
            handle.measure(session)
            references = _references(handle)
            for i, noise in enumerate((False, True)):
                stand_in = Rehearsal(session, wave.x, noise)
                outcome = run(stand_in, wave.x, one, references)
                seconds[i] += stand_in.time
                peak = max(peak, stand_in.peak)
                low, high = (low + outcome.passes, high) if i == 0 else (low, high + outcome.passes)
                if not lines:
                    lines = outcome.lines()
            for task in one:
                apart += run(Rehearsal(session, wave.x, False), wave.x, [task], references).passes
            verification += session.verification
            evaluator, decisions = session.card.evaluator, session.decisions
    return Plan(
        images=count,
        methods=tuple(m.about.title for m in chosen),
        least=low,
        most=high,
        unshared=apart,
        groups=tuple(lines),
        peak_bytes=peak,
        seconds=(seconds[0], seconds[1]),
        verification=verification,
        evaluator=evaluator,
        decisions=decisions,
    )


def report(
    explanations: Explanations | Sequence[Explanation],
    path: str | Path,
    *,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """One self-contained HTML page: opens from disk, needs no network, works without JavaScript.

    title      heading of the page; made from the photos' names by default
    overwrite  replace a file in the way; otherwise it is refused with FileExists
    """
    from pellucid.views.report import write_report  # templates are read only when a report is wanted

    return write_report(explanations, path, title=title, overwrite=overwrite)


def layers(model: TorchModel | nn.Module | str, inputs: Any = None) -> list[tuple[str, str, tuple[int, ...], bool]]:
    """Layers that have height and width: (name, type, shape of the map, whether `auto` chooses it), in running order.

    inputs  a photo or rows to look with; None takes a grey picture of the model's own size
    """
    handle = as_model(model)
    x = _example(handle) if inputs is None else next(_waves(handle, inputs, [])).x[:1]
    with handle.ready(x) as session:
        kinds = {layer.name: layer.type for layer in session.ready.facts.layers}
        found = session.sites.candidates()
        best = session.site(AUTO) if found else None
        return [(str(site), kinds[site.name], shape, site == best) for site, shape in found]


def cite(what: Any) -> str:
    """BibTeX of the papers behind explanations or methods, each once.

    what  an explanation, several, a method's name (or group), class or instance, or a list of any of these; a method
          that wraps another is cited with the one inside
    Raises InputError for anything else, ParameterError for an unknown name.
    """
    return bibtex(key for keys in _cited(what) for key in keys)


# -- the parts -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Wave:
    """Inputs that go together."""

    x: Tensor
    inputs: Inputs
    last: bool


def _cited(what: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(what, Explanation):
        inner = what.record.params.get("method")
        yield what.record.cite
        yield from _cited(inner["method"]) if isinstance(inner, dict) else ()
    elif isinstance(what, str):
        for word in registry.GROUPS.get(what.strip().lower(), what.split(",")):
            yield registry.find(word).about.cite
    elif is_method(what) or isinstance(getattr(what, "about", None), About):
        yield what.about.cite
        yield from _cited(inner) if is_method(inner := getattr(what, "method", None)) else ()
    elif isinstance(what, Iterable):
        for one in what:
            yield from _cited(one)
    else:
        raise InputError(f"a {type(what).__name__} to cite", "explanations, or methods by name, class or instance")


def _targets(target: Asked, versus: Asked, top_k: int | None) -> tuple[Target, ...]:
    if top_k is not None:
        if target is not None:
            raise ParameterError(f"target={target!r} and top_k={top_k}", "one of the two")
        target = Top(top_k)
    targets = as_targets(target)
    if versus is None:
        return targets
    if top_k is not None and top_k > 1:
        raise ParameterError(f"top_k={top_k} with versus={versus!r}", "one class against another", "give target=")
    return tuple(Contrast(one, versus) for one in targets)


def _tasks(
    handle: TorchModel, chosen: Sequence[Method], targets: tuple[Target, ...], output: Output | None
) -> list[Task]:
    if output is not None and output not in OUTPUTS:
        raise ParameterError(f"output={output!r}", f"one of {', '.join(OUTPUTS)}")
    for one in chosen:
        missing = _needs(one) - handle.can
        if missing:
            raise UnsupportedModel(
                f"{one.about.title} needs {', '.join(sorted(c.value for c in missing))} of {handle.name}, "
                f"which can only be asked for {', '.join(sorted(c.value for c in handle.can))}",
                "a model that is plain torch code",
                "use Occlusion, which only needs scores" if Can.GRADIENT not in handle.can else "use a gradient method",
            )
    return [Task(one, targets, output or one.about.output) for one in chosen]


def _needs(method: Method) -> frozenset[Can]:
    """What a method asks of a model, and the one that it wraps."""
    inner = getattr(method, "method", None)
    return method.about.needs | (_needs(inner) if is_method(inner) else frozenset())


def _sliced(task: Task, start: int, stop: int, last: bool) -> Task:
    """A task for one wave of the inputs; targets given one per image are cut."""
    sides = (side for t in task.targets for side in ((t.this, t.that) if isinstance(t, Contrast) else (t,)))
    for target in sides:
        if last and isinstance(target, Each) and len(target.which) != stop:
            raise TargetError(f"Each of {len(target.which)} classes for {stop} images", "one class per image")
    return replace(task, targets=tuple(part(t, start, stop) for t in task.targets))


def _waves(handle: TorchModel, inputs: Any, tasks: Sequence[Task]) -> Iterator[_Wave]:
    """Inputs in batches that bound the memory of the running results."""
    copies = 3 * sum(sum(map(width, task.targets)) for task in tasks) + 1
    if isinstance(inputs, Tensor) and inputs.dtype != torch.uint8:
        yield from _row_waves(handle, inputs, copies)
        return
    waiting: list[_Seen] = []
    for seen in (_seen(handle, photo) for photo in images.read_each(inputs)):
        first = waiting[0].row if waiting else seen.row
        if waiting and (seen.row.shape != first.shape or len(waiting) >= _many(first, copies)):
            yield _photo_wave(handle, waiting, False)
            waiting = []
        waiting.append(seen)
    if not waiting:
        raise InputError("no photos", "at least one photo")
    yield _photo_wave(handle, waiting, True)


def _many(row: Tensor, copies: int) -> int:
    return max(1, min(1024, WAVE // (row.numel() * row.element_size() * copies)))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A photo as the model sees it; the photo itself, which may be large, is forgotten."""

    row: Tensor
    view: Tensor | None
    name: str
    notes: tuple[str, ...]


def _seen(handle: TorchModel, photo: images.Photo) -> _Seen:
    view = None if handle.preprocess.affine is None else torch.from_numpy(handle.preprocess.view(photo))
    return _Seen(handle.preprocess.rows([photo], handle.dtype)[0], view, photo.name, photo.notes)


def _photo_wave(handle: TorchModel, photos: Sequence[_Seen], last: bool) -> _Wave:
    x = _ordinary(torch.stack([p.row for p in photos]).to(handle.device))
    views = [p.view for p in photos if p.view is not None]
    about = Inputs(
        name=tuple(p.name for p in photos),
        picture=torch.stack(views) if views else None,
        shape=tuple(x.shape[1:]),
        notes=tuple(p.notes for p in photos),
    )
    return _Wave(x, about, last)


def _row_waves(handle: TorchModel, rows: Tensor, copies: int) -> Iterator[_Wave]:
    if not rows.is_floating_point():
        raise InputError(f"rows of dtype {rows.dtype}", "floating point rows", "rows.float(), or pass photos as uint8")
    if rows.ndim < 2:
        raise InputError(f"rows of shape {tuple(rows.shape)}", "[batch, ...], a batch of rows", "rows[None]")
    if len(rows) == 0:
        raise InputError("an empty batch", "at least one row")
    if not finite(rows):
        raise NonFinite("rows with NaN or infinity", "finite numbers")
    rows = _ordinary(rows.detach().as_subclass(Tensor).to(handle.device, handle.dtype))
    step = _many(rows[0], copies)
    for start in range(0, len(rows), step):
        x = rows if step >= len(rows) else rows[start : start + step]
        yield _Wave(x, _row_inputs(handle, x, start), start + step >= len(rows))


def _ordinary(rows: Tensor) -> Tensor:
    """Rows that autograd may use, also when they were made under `inference_mode`."""
    with torch.inference_mode(False):
        return rows.clone() if rows.is_inference() else rows


def _row_inputs(handle: TorchModel, x: Tensor, start: int) -> Inputs:
    names = tuple(f"row {start + i + 1}" for i in range(len(x)))
    picture = None
    if x.ndim == 4 and x.shape[1] in (1, 3) and handle.preprocess.linked:
        picture = torch.from_numpy(handle.preprocess.shown(x))
    return Inputs(name=names, picture=picture, shape=tuple(x.shape[1:]), notes=((),) * len(x))


def _example(handle: TorchModel) -> Tensor:
    size = handle.preprocess.size
    if size is None:
        raise InputError(f"{handle.name} takes pictures of any size", "a photo to look with", "layers(model, photo)")
    grey = torch.full((*size, 3), 127, dtype=torch.uint8).numpy()
    return handle.preprocess.rows([images.read(grey)], handle.dtype).to(handle.device)


def _references(handle: TorchModel) -> Callable[[Tensor], References]:
    return lambda x: References(x, handle.preprocess)


def _explained(handle: TorchModel, wave: _Wave, tasks: Sequence[Task], meter: _Meter | None) -> list[Explanation]:
    start = time.perf_counter()
    with handle.ready(wave.x) as session:
        tasks = [_fitting(task, session) for task in tasks]
        counted = None if meter is None else _counter(session, wave, tasks, _references(handle), meter)
        outcome = run(session, wave.x, tasks, _references(handle), counted)
        _finite(outcome.outputs, wave.inputs.name)
        seconds = time.perf_counter() - start
        prediction = _prediction(session, outcome.outputs)
        passes = replace(outcome.passes, verification=session.verification)
        entries: list[Explanation] = []
        for task, result in zip(tasks, outcome.results, strict=True):
            record = _record(session, task, result.attribution, passes, seconds)
            for t, pick in enumerate(result.picks):
                entries.append(
                    _entry(session, task, result.attribution, t, wave, prediction, record, pick, result.scores[t])
                )
    return entries


def _fitting(task: Task, session: TorchSession) -> Task:
    """Methods defined on probabilities explain the value itself where a model has none."""
    if task.output == "probability" and session.emits == "values" and task.method.about.output == "probability":
        return replace(task, output="logit")
    return task


def _entry(
    session: TorchSession,
    task: Task,
    a: Attribution,
    t: int,
    wave: _Wave,
    prediction: Prediction,
    record: Record,
    pick: Any,
    scores: Tensor,
) -> Explanation:
    values = a.values[t]
    return Explanation(
        values=values,
        dims=a.dims,
        kind=a.kind or task.method.about.kind,
        target=pick.chosen(scores, session.labels),
        prediction=prediction,
        inputs=wave.inputs,
        record=record,
        checks=(*(check.of(t) for check in a.checks), *_checks(values, a.std_error, t)),
        std_error=None if a.std_error is None else a.std_error[t],
        extras={name: extra[t] for name, extra in a.extras.items()},
    )


def _checks(values: Tensor, std_error: Tensor | None, t: int) -> tuple[Check, ...]:
    flat = values.reshape(len(values), -1)
    span = flat.amax(1) - flat.amin(1) if flat.shape[1] > 1 else flat.abs().amax(1)
    spans = span.tolist()
    checks = [
        Check(
            name="degenerate",
            value=tuple(spans),
            passed=tuple(0 < s < float("inf") for s in spans),
            says="range of the values: zero is an empty map, not finite a broken one",
        )
    ]
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


def _record(session: TorchSession, task: Task, a: Attribution, passes: Passes, seconds: float) -> Record:
    about = task.method.about
    return Record(
        method=about.name,
        title=about.title,
        params=parameters_of(task.method),
        cite=about.cite,
        model=session.card,
        at=None if a.at is None else str(session.site(a.at)),
        seed=getattr(task.method, "seed", None),
        passes=passes,
        seconds=seconds,
        rows=0 if session.most_rows is None else session.most_rows,
        versions=_versions(),
        decisions=(*session.decisions, *_about_site(session, task.method)),
    )


def _about_site(session: TorchSession, method: Method) -> tuple[str, ...]:
    at = getattr(method, "at", None)
    return () if at is None else session.about(as_site(at))


@cache
def _versions() -> dict[str, str]:
    from pellucid import __version__

    return {"pellucid": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _prediction(session: TorchSession, outputs: Tensor) -> Prediction:
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


def finite(tensor: Tensor) -> bool:
    """Whether all is finite; one sum tells, unless it overflows."""
    return isfinite(float(tensor.detach().sum())) or bool(torch.isfinite(tensor).all())


def _finite(outputs: Tensor, names: Sequence[str]) -> None:
    if not finite(outputs):
        bad = ~torch.isfinite(outputs).all(1)
        who = [name for name, is_bad in zip(names, bad.tolist(), strict=True) if is_bad]
        raise NonFinite(
            f"the model gives NaN or infinity for {', '.join(who[:5])}", "finite scores", "check the input's range"
        )


def _counter(
    session: TorchSession,
    wave: _Wave,
    tasks: Sequence[Task],
    references: Callable[[Tensor], References],
    meter: _Meter,
) -> Callable[[int], None]:
    """Progress in rows, of those that a rehearsal counts."""
    return meter.watch(run(Rehearsal(session, wave.x, False), wave.x, tasks, references).passes.forward, len(wave.x))


@dataclass(slots=True, eq=False)
class _Meter:
    """Progress in rows over all waves; the images that are still to come are taken to be like those at hand."""

    progress: Progress
    images: int | None
    """How many there are; None where nobody can know."""
    seen: int = 0
    rows: int = 0

    def watch(self, total: int, images: int) -> Callable[[int], None]:
        """For one wave, which will take `total` rows."""
        self.seen += images
        later = 0 if self.images is None else max(0, self.images - self.seen)
        expected = self.rows + total

        def counted(rows: int) -> None:
            self.rows += rows
            self.progress(self.rows, max(expected, self.rows) + round(total / images * later))

        return counted


def _count(inputs: Any) -> int | None:
    """How many images there are, without a look at them."""
    rows = isinstance(inputs, Tensor) and inputs.dtype != torch.uint8
    return len(inputs) if rows and inputs.ndim else images.count(inputs)


__all__ = ["as_model", "cite", "compare", "explain", "layers", "load", "plan", "report", "wrap"]
