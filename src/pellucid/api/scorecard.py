"""The scorecard: which method should I believe for this model?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from pellucid import api, registry
from pellucid.adapters import Handle
from pellucid.api.progress import Progress
from pellucid.api.waves import kept
from pellucid.core.ask import Can
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation, Explanations
from pellucid.core.measurements import Measurement, Measurements
from pellucid.core.method import Explains, Method
from pellucid.core.metric import Measures, Metric
from pellucid.core.sanity import TESTS, Sanity, judged
from pellucid.core.scorecard import Cell, Column, Line, Scorecard, advise
from pellucid.ops.controls import CONTROLS
from pellucid.ops.paired import interval, mean_ranks, sign_flips
from pellucid.preprocess import Table, Tokens, Words

METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gradient", {}),
    ("input_x_gradient", {}),
    ("smooth_grad", {"samples": 16}),
    ("integrated_gradients", {"steps": 16}),
    ("guided_backprop", {}),
    ("grad_cam", {}),
    ("layer_cam", {}),
    ("hi_res_cam", {}),
    ("deep_lift", {}),
    ("lrp", {}),
)
"""Ten of all families that cost little, with fewer draws and steps; those that a model cannot answer are left out."""
METRICS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("insertion_deletion", {"steps": 16}),
    ("fidelity_correlation", {"samples": 128}),
    ("avg_sensitivity", {"samples": 4}),
    ("sparseness", {}),
)
SUITE = ("randomised weights", "other class", "shifted input")
STEPS = 3
LEVEL, ALPHA = 0.95, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One method alone: its explanation, what it cost per photo."""

    method: Method
    e: Explanation
    rows: float
    seconds: float


def scorecard(
    model: Handle | nn.Module | str,
    photos: Any,
    methods: str | Explains | type[Any] | Iterable[str | Explains | type[Any]] | None = None,
    *,
    metrics: str | Measures | type[Any] | Iterable[str | Measures | type[Any]] | None = None,
    controls: bool = True,
    sanity: bool = True,
    again: int = 4,
    dear: float = 250.0,
    target: Any = None,
    progress: Progress | None = None,
) -> Scorecard:
    """Which method should I believe for this model? Ten methods, four metrics, three sanity tests, on your photos.

    model     as in `explain`
    photos    eight or more of the kind that matters, of any sizes that the model's preprocessing makes one of; fewer
              than six can show no difference. Or rows, texts, or a table
    methods   None takes ten of all families that cost little
    metrics   None takes insertion − deletion, fidelity correlation (these decide), avg-sensitivity and sparseness; of
              others those of faithfulness decide, or all that rank where none is
    controls  random numbers, the photo's edges and a hill in the middle run along as if they were methods
    sanity    whether redrawn weights, another class and a shifted input are tried
    again     on how many photos methods are asked again and again: for sanity and for robustness
    dear      model rows per photo above which a method is not asked again
    Ranks are taken photo by photo. Methods are compared with the best by sign flips of their rank differences over the
    photos, adjusted for their number; of those that cannot be told apart the cheapest is recommended.
    Raises InputError for photos of different sizes.
    """
    start = time.perf_counter()
    handle = api.as_model(model)
    photos = kept(handle, photos)
    chosen = registry.make_all(_usual(handle) if methods is None else methods)
    wanted = _usual_metrics(handle) if metrics is None else registry.make_metrics(metrics)
    api.plan(handle, photos, chosen[:1], target=target)  # looks at the model, so that no method pays for it
    runs = [_alone(handle, photos, one, target) for one in chosen]
    entries = [one.e for one in runs]
    first = [m for m in wanted if "method" not in m.about.wants]
    measured = list(api.measure(handle, entries, first, inputs=photos, controls=controls, progress=progress))
    cheap = [one for one in runs if one.rows <= dear]
    few = photos if isinstance(photos, str) else photos[:again]
    later = [m for m in wanted if "method" in m.about.wants]
    tests = [registry.make_metric(n, {"steps": STEPS} if "weights" in t else {}) for t, n in _suite(handle, sanity)]
    more: list[Measurement] = []
    if cheap and (later or tests):
        some = [replace(one.e[:again]) for one in cheap]
        known = [one.method for one in cheap]
        more = list(api.measure(handle, some, [*later, *tests], inputs=few, methods=known, progress=progress))
        place = [runs.index(one) for one in cheap]
        more = [replace(m, judged=replace(m.judged, place=place[m.judged.place])) for m in more]
    named = {m.about.name for m in tests}
    sane = _sanity([m for m in more if m.metric in named], entries) if tests else None
    columns = _columns(wanted, len(entries[0]), again)
    every = measured + [m for m in more if m.metric not in named]
    lines = _lines(runs, columns, every, sane)
    return Scorecard(
        model=every[0].model,
        photos=entries[0].inputs.name,
        columns=columns,
        lines=lines,
        advice=advise(lines, columns, len(entries[0]), ALPHA, _what(entries[0])),
        what=_what(entries[0]),
        level=LEVEL,
        seconds=time.perf_counter() - start,
        rows=sum(them[0].passes.work for them in (measured, more) if them)
        + round(sum(r.rows * len(r.e) for r in runs)),
        sanity=sane,
        measurements=Measurements(tuple(every)),
        explanations=Explanations(tuple(entries) if sane is None else tuple(sane.explanations)),
    )


def _usual(handle: Handle) -> tuple[Any, ...]:
    if isinstance(handle.preprocess, (Table, Tokens, Words)) or Can.SITES not in handle.can:
        return api.default(handle)
    return tuple(registry.make(n, params) for n, params in METHODS if registry.find(n).about.needs <= handle.can)


def _usual_metrics(handle: Handle) -> tuple[Metric, ...]:
    made = [registry.make_metric(name, params) for name, params in METRICS]
    return tuple(m for m in made if m.about.needs <= handle.can)


def _suite(handle: Handle, sanity: bool) -> list[tuple[str, str]]:
    known = [(t.name, t.metric) for t in TESTS if t.name in SUITE]
    return [(t, n) for t, n in known if sanity and registry.find_metric(n).about.needs <= handle.can | {Can.SCORE}]


def _what(e: Explanation) -> str:
    return "text" if e.inputs.tokens else "row" if e.inputs.features or e.inputs.picture is None else "photo"


def _alone(handle: Handle, photos: Any, method: Method, target: Any) -> Run:
    start = time.perf_counter()
    got = api.explain(handle, photos, method, target=target)
    if len(got) != 1:
        raise InputError(
            f"{len(got)} explanations of one method: photos of several sizes, or several targets",
            "photos that become rows of one shape, and one target",
        )
    seconds, passes = time.perf_counter() - start, got[0].record.passes
    return Run(method, got[0], passes.work / len(got[0]), seconds / len(got[0]))


def _sanity(measured: Sequence[Measurement], entries: Sequence[Explanation]) -> Sanity:
    """Verdicts on methods that were asked again; explanations of all photos carry them without numbers of their own."""
    some = judged(measured, [e[: len(measured[0])] for e in entries]) if measured else None
    if some is None:
        return Sanity(verdicts=(), measurements=Measurements(), explanations=Explanations(tuple(entries)))
    return replace(some, explanations=Explanations(tuple(entries)))


def _columns(wanted: Sequence[Metric], photos: int, again: int) -> tuple[Column, ...]:
    faithful = any(m.about.family == "faithfulness" and m.about.better != "neither" for m in wanted)
    return tuple(
        Column(
            metric=m.about.name,
            title=m.about.title,
            family=m.about.family,
            better=m.about.better,
            says=m.about.summary,
            photos=min(again, photos) if "method" in m.about.wants else photos,
            decides=m.about.better != "neither"
            and "method" not in m.about.wants
            and (m.about.family == "faithfulness" or not faithful),
        )
        for m in wanted
    )


def _lines(
    runs: Sequence[Run], columns: Sequence[Column], measured: Sequence[Measurement], sane: Sanity | None
) -> tuple[Line, ...]:
    places = sorted({m.judged.place for m in measured})
    found = {(m.judged.place, m.metric): m for m in measured}
    ranks = {c.metric: _ranks(c, [found.get((p, c.metric)) for p in places]) for c in columns}
    per_photo = [
        _means([ranks[c.metric][i] for c in columns if c.decides and ranks[c.metric][i]]) for i in range(len(places))
    ]
    made: list[Line] = []
    for i, place in enumerate(places):
        one = next(m for m in measured if m.judged.place == place).judged
        run = runs[place] if place < len(runs) else None
        failed = () if sane is None else tuple(v.test for v in sane if v.place == place and v.state == "failed")
        cells = tuple(_cell(found.get((place, c.metric)), ranks[c.metric][i]) for c in columns)
        made.append(
            Line(
                method=one.method,
                title=one.title,
                control=one.method in CONTROLS,
                cells=cells,
                score=_mean(per_photo[i]),
                ranks=tuple(per_photo[i]),
                p=math.nan,
                failed=failed,
                rows=0.0 if run is None else run.rows,
                seconds=0.0 if run is None else run.seconds,
            )
        )
    return _tested(made)


def _tested(lines: Sequence[Line]) -> tuple[Line, ...]:
    """With the p of every line against the best candidate, best lines first."""
    candidates = [one for one in lines if one.candidate and not math.isnan(one.score)]
    ordered = sorted(lines, key=lambda one: (math.isnan(one.score), one.score))
    if not candidates:
        return tuple(ordered)
    best = min(candidates, key=lambda one: one.score)
    others = [one for one in ordered if one is not best]
    ps = sign_flips([[a - b for a, b in zip(one.ranks, best.ranks, strict=False)] for one in others])
    p = {id(one): value for one, value in zip(others, ps, strict=True)}
    return tuple(replace(one, p=p.get(id(one), math.nan)) for one in ordered)


def _ranks(c: Column, column: Sequence[Measurement | None]) -> list[list[float]]:
    """Per line, the rank on every photo; empty where the metric ranks nothing."""
    count = max((len(m) for m in column if m is not None), default=0)
    if c.better == "neither":
        return [[] for _ in column]
    none = (math.nan,) * count
    photos = zip(*(m.values if m is not None else none for m in column), strict=True)
    by_photo = [mean_ranks(values, c.better == "lower") for values in photos]
    return [[one[i] for one in by_photo] for i in range(len(column))]


def _means(columns: Sequence[Sequence[float]]) -> list[float]:
    return [_mean(values) for values in zip(*columns, strict=True)] if columns else []


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return math.fsum(known) / len(known) if known else math.nan


def _cell(m: Measurement | None, ranks: Sequence[float]) -> Cell:
    nothing = Cell(mean=math.nan, low=math.nan, high=math.nan, rank=math.nan, values=())
    if m is None:
        return replace(nothing, reason="the method costs too much to be asked again")
    if not m.known:
        return replace(nothing, reason=next((why for why in m.reasons if why), "no value"))
    low, high = interval(m.known, LEVEL)
    return Cell(mean=m.mean, low=low, high=high, rank=_mean(ranks), values=m.values)
