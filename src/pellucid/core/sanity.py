"""Verdicts on methods: does an explanation depend on what it should, and on nothing else?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pellucid.core.explanation import Check, Explanation, Explanations
from pellucid.core.measurements import Measurement, Measurements

State = Literal["passed", "failed", "unclear", "told", "none"]
"""`unclear` within a standard error of the limit; `told` for numbers without a limit; `none` without a number."""
SIGNS = {"passed": "✓", "failed": "✗", "unclear": "?", "told": "·", "none": "–"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test: which metric it looks at, and up to where it is passed."""

    name: str
    metric: str
    limit: float
    says: str
    """What the number is."""
    fails: str
    """What it means to be above the limit."""


TESTS: tuple[Test, ...] = (
    Test(
        name="randomised weights",
        metric="parameter_randomisation",
        limit=0.5,
        says="largest mean |rank correlation| with the map of a redrawn model, over the steps of the cascade",
        fails="the map hardly depends on what those layers have learnt",
    ),
    Test(
        name="other class",
        metric="random_logit",
        limit=0.9,
        says="mean |rank correlation| with the map of another class",
        fails="the map is the same whatever class is asked for",
    ),
    Test(
        name="shifted input",
        metric="input_invariance",
        limit=0.1,
        says="mean relative change of the map when the same function takes its input in other units",
        fails="the map depends on the units of the input",
    ),
    Test(
        name="other seed",
        metric="seed_stability",
        limit=0.5,
        says="mean relative change of the map with another seed",
        fails="much of the map is luck: more samples are needed",
    ),
    Test(
        name="other methods",
        metric="rank_agreement",
        limit=math.inf,
        says="mean rank correlation with the maps of the other methods, which may all be wrong alike",
        fails="",
    ),
)
"""The suite, in the order in which it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One test of one method."""

    test: str
    method: str
    """Registry name."""
    title: str
    place: int
    """The method's place among those tested."""
    state: State
    value: float
    error: float
    """Standard error over the inputs; NaN for one input."""
    limit: float
    says: str

    def __repr__(self) -> str:
        return f"Verdict({self.title}, {self.test}: {self.state}; {self.says})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sanity:
    """The verdicts of a suite. `print` shows a table, and a sentence on everything that failed."""

    verdicts: tuple[Verdict, ...]
    measurements: Measurements = field(repr=False)
    explanations: Explanations = field(repr=False)
    """What was tested, each with the verdicts among its checks."""

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def of(self, method: str) -> tuple[Verdict, ...]:
        """The verdicts on a method, by registry name or title."""
        return tuple(v for v in self.verdicts if method in (v.method, v.title))

    @property
    def flagged(self) -> tuple[str, ...]:
        """Titles of the methods that failed a test."""
        return tuple(dict.fromkeys(v.title for v in self.verdicts if v.state == "failed"))

    def document(self) -> list[dict[str, Any]]:
        """The verdicts for programs."""
        keys = ("test", "method", "title", "place", "state", "value", "error", "limit", "says")
        return [{key: getattr(v, key) for key in keys} for v in self.verdicts]

    def __str__(self) -> str:
        tests = list(dict.fromkeys(v.test for v in self.verdicts))
        rows = [["", *tests]]
        for place in dict.fromkeys(v.place for v in self.verdicts):
            mine = {v.test: v for v in self.verdicts if v.place == place}
            rows.append([next(iter(mine.values())).title, *(_cell(mine.get(test)) for test in tests)])
        wide = [max(len(row[i]) for row in rows) for i in range(len(tests) + 1)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)).rstrip() for row in rows]
        told = [f"✗ {v.title}, {v.test}: {v.says}" for v in self.verdicts if v.state == "failed"]
        return "\n".join([*lines, *([""] if told else []), *told])


def _cell(v: Verdict | None) -> str:
    return "" if v is None else SIGNS[v.state] + ("" if math.isnan(v.value) else f" {v.value:.2f}")


def judged(measurements: Sequence[Measurement], explanations: Sequence[Explanation]) -> Sanity:
    """The verdicts that measurements of these explanations allow."""
    found = tuple(verdict(t, m) for t in TESTS for m in measurements if m.metric == t.metric)
    places = range(len(explanations))
    ordered = tuple(v for place in places for v in found if v.place == place)
    kept = [_attached(e, [v for v in ordered if v.place == i], measurements, i) for i, e in enumerate(explanations)]
    return Sanity(
        verdicts=ordered, measurements=Measurements(tuple(measurements)), explanations=Explanations(tuple(kept))
    )


def verdict(test: Test, m: Measurement) -> Verdict:
    """One test of one method, from the measurement over all inputs."""
    value, error, extra = m.mean, m.error, ""
    if m.curve is not None and m.known:
        value, error, extra = worst_step(m, test.limit)
    state: State = "told" if test.limit == math.inf else _state(value, error, test.limit)
    says = f"{test.says} {value:.2f}, limit {test.limit:g}{extra}"
    if math.isnan(value):
        state, says = "none", next((why for why in m.reasons if why), "no value")
    elif state == "told":
        says = f"{test.says}: {value:.2f}"
    elif state == "failed":
        says += f": {test.fails}"
    j = m.judged
    return Verdict(
        test=test.name,
        method=j.method,
        title=j.title,
        place=j.place,
        state=state,
        value=value,
        error=error,
        limit=test.limit,
        says=says,
    )


def _state(value: float, error: float, limit: float) -> State:
    doubt = 0.0 if math.isnan(error) else error
    return "passed" if value + doubt <= limit else "failed" if value - doubt > limit else "unclear"


def worst_step(m: Measurement, limit: float) -> tuple[float, float, str]:
    """Of a cascade: the largest mean magnitude over its steps, the error there, and where the map is lost, in words."""
    x, each = _steps(m)
    means = [math.fsum(one) / len(one) for one in each]
    k = max(range(len(x)), key=lambda i: means[i])
    n = len(each[k])
    error = math.sqrt(math.fsum((v - means[k]) ** 2 for v in each[k]) / (n - 1) / n) if n > 1 else math.nan
    at = f" ({means[0]:.2f} with the last layer alone redrawn, {means[-1]:.2f} with all)" if len(x) > 1 else ""
    last = max((i for i in range(len(x)) if means[i] > limit), default=None)
    if last is not None and last + 1 < len(x):
        at += f"; it is lost between {100 * x[last]:.0f} % and {100 * x[last + 1]:.0f} % of the layers"
    return means[k], error, at


def _steps(m: Measurement) -> tuple[Sequence[float], list[list[float]]]:
    """How much was redrawn at every step, and the magnitudes there, of the inputs that have a value."""
    curves = [c for c, v in zip(m.curve or (), m.values, strict=True) if not math.isnan(v)]
    x = curves[0][0]
    return x, [[abs(c[1][k]) for c in curves] for k in range(len(x))]


def _judged(m: Measurement) -> tuple[float, ...]:
    """Per input, the number that the verdict looks at: of a cascade, at its worst step."""
    if m.curve is None or not m.known:
        return m.values
    each = _steps(m)[1]
    worst = iter(max(each, key=math.fsum))
    return tuple(math.nan if math.isnan(v) else next(worst) for v in m.values)


def _attached(e: Explanation, mine: Sequence[Verdict], ms: Sequence[Measurement], place: int) -> Explanation:
    """An explanation with the verdicts on its method among its checks: the numbers of its own rows, one verdict."""
    metric = {t.name: t.metric for t in TESTS}
    values = {m.metric: _judged(m) for m in ms if m.judged.place == place}
    checks = tuple(
        Check(
            name=f"sanity: {v.test}",
            value=tuple(values[metric[v.test]]),
            passed=(v.state != "failed",) * len(e),
            limit=None if v.limit == math.inf else v.limit,
            says=f"of the method, over {len(e)} input(s): {v.says}",
            judged=v.state in ("passed", "failed"),
        )
        for v in mine
        if v.state != "none"
    )
    return replace(e, checks=(*e.checks, *checks))
