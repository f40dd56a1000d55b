"""What a metric is: frozen parameters and one coroutine, which judges an explanation by asking the model.

    @metric(family="faithfulness", better="lower", range=(0.0, 1.0), cite="petsiuk2018rise")
    class Deletion:
        steps: int = at_least(1, default=32)

        async def measure(self, q: Query, e: Map) -> Reading: ...

A metric sees the same questions as a method (`pellucid.core.ask`), so that metrics and explanations share their passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, TypeVar, dataclass_transform

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import InputError, ParameterError, PellucidError, UnsupportedModel
from pellucid.core.explanation import Explanation, Kind
from pellucid.core.method import About, Method, at_least, check_fields, one_of, param, snake
from pellucid.core.target import Output
from pellucid.core.words import WORDS

Better = Literal["higher", "lower", "neither"]
"""Which values speak for an explanation; `neither` for those that only describe it."""
Wants = Literal["mask", "method", "others"]
"""What a metric needs beside the model and the map: where the object is, the method itself, the other maps."""
EVERY = frozenset(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutMetric:
    """What a metric declares of itself."""

    name: str
    """Registry name, snake case: `fidelity_correlation`."""
    title: str
    family: str
    """faithfulness, robustness, localisation, complexity, randomisation, axiomatic or agreement."""
    better: Better
    range: tuple[float, float]
    """Smallest and largest possible value; infinite where there is no bound."""
    cite: tuple[str, ...]
    needs: frozenset[Can]
    """What the model must answer; nothing for metrics that look at the map alone."""
    wants: frozenset[Wants]
    kinds: frozenset[Kind]
    """Kinds of maps that it has a meaning for."""
    output: Output | Literal["explained"]
    """The number of the model that is looked at; `explained` for the one that the explanation explains."""
    sampled: bool
    """Whether it draws at random: then it has a seed, and gives standard errors."""
    flat: bool
    """Whether it says something about a map without any difference between places."""
    summary: str


class Measures(Protocol):
    """What a checker sees of a metric: `measure`, which awaits questions. The decorator adds the rest."""

    async def measure(self, q: Query, e: Map) -> Reading:
        """Raises InputError for inputs, and UnsupportedModel for models, that it has no meaning for: the reason of all
        rows then. Raises ParameterError for parameters that it cannot use, which stops the call.
        """
        ...


class Metric(Protocol):
    """Parameters, and `measure`, which awaits questions."""

    about: ClassVar[AboutMetric]

    async def measure(self, q: Query, e: Map) -> Reading: ...


def is_metric(it: object) -> TypeGuard[Metric]:
    """Whether an object is a metric's instance (not its class)."""
    return not isinstance(it, type) and isinstance(getattr(it, "about", None), AboutMetric)


METRICS: dict[str, type[Any]] = {}
"""Every metric class by registry name, in the order of definition."""

M = TypeVar("M", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(at_least, one_of, param, field))
def metric(
    *,
    family: str,
    better: Better,
    range: tuple[float, float],
    title: str | None = None,
    cite: str | Iterable[str] = (),
    needs: Iterable[Can] = (Can.SCORE,),
    wants: Iterable[Wants] = (),
    kinds: Iterable[Kind] = EVERY,
    output: Output | Literal["explained"] = "probability",
    flat: bool = False,
) -> Callable[[M], M]:
    """Make a class a metric: a frozen dataclass with checked parameters, known to the registry.

    Every parameter needs a default and an entry in the glossary (`core.words`) or a `says` of its own. A metric with a
    parameter `samples` draws at random; it must have a `seed` too.
    """

    def decorate(cls: M) -> M:
        cls.__post_init__ = check_fields
        made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        name = snake(cls.__name__)
        known = {f.name for f in fields(made)}
        made.about = AboutMetric(
            name=name,
            title=title or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).capitalize(),
            family=family,
            better=better,
            range=range,
            cite=(cite,) if isinstance(cite, str) else tuple(cite),
            needs=frozenset(needs),
            wants=frozenset(wants),
            kinds=frozenset(kinds),
            output=output,
            sampled="samples" in known,
            flat=flat,
            summary=(cls.__doc__ or "").strip().partition("\n")[0],
        )
        for f in fields(made):
            if f.name not in WORDS and not f.metadata.get("says"):
                raise ParameterError(f"{name}.{f.name} is not in the glossary", "core.words, or param(says=...)")
        if "samples" in known and "seed" not in known:
            raise ParameterError(f"{name} draws samples without a seed", "seed: int = param(default=0)")
        METRICS[name] = made
        return made

    return decorate


# -- what a metric sees ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Map:
    """The rows of one explanation that are being measured, on the CPU and in float64.

    values   as in the explanation, [batch, ...]; rows that are not finite are zero here and have a reason in `broken`
    dims     names of the axes of values, the first being the batch
    broken   per row, why nothing can be said of its map; an empty text where something can
    mask     bool [batch, height, width], where the object is, for metrics that want it
    method   the method that made the map, for metrics that want it
    others   the maps of the same outputs and inputs by others, for metrics that want them
    whence   the explanation, for what else a metric needs to know: kind, record, target
    """

    values: Tensor
    dims: tuple[str, ...]
    whence: Explanation
    broken: tuple[str, ...]
    mask: Tensor | None = None
    method: Method | None = None
    others: tuple[Map, ...] = ()

    @property
    def kind(self) -> Kind:
        return self.whence.kind

    @staticmethod
    def of(e: Explanation, *, mask: Tensor | None = None, method: Method | None = None, flat: bool = False) -> Map:
        """Rows as a metric sees them.  flat: maps without any difference between places are fine."""
        values = e.values.detach().to("cpu", torch.float64)
        rows = values.flatten(1)
        finite = rows.isfinite().all(1)
        broken = ["" if ok else "the map is not finite" for ok in finite.tolist()]
        values = torch.where(finite.view(-1, *(1,) * (values.ndim - 1)), values, torch.zeros(()).double())
        if not flat and rows.shape[1] > 1:
            low, high = values.flatten(1).aminmax(dim=1)
            for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
                broken[i] = broken[i] or ("" if a != b else "the map is zero" if a == 0 else "the map is constant")
        return Map(values=values, dims=e.dims, whence=e, broken=tuple(broken), mask=mask, method=method)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Curve:
    """Scores on the way: y over x, [batch, points] each."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reading:
    """What a metric says: one number per row, float64 [batch], NaN where there is none, with the reason.

    std_error  of sampled metrics, [batch];  extras  further numbers by name, [batch] each
    """

    values: Tensor
    reasons: tuple[str, ...]
    std_error: Tensor | None = None
    curve: Curve | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)


def reading(
    values: Tensor,
    *,
    std_error: Tensor | None = None,
    curve: tuple[Tensor, Tensor] | None = None,
    extras: Mapping[str, Tensor] | None = None,
    without: Mapping[str, Tensor] | None = None,
) -> Reading:
    """What a metric returns.

    values: [batch]; std_error: as values; curve: (x, y), [batch or 1, points] each; extras: [batch] each; without: for
    every reason why a row has no value, bool [batch], the first one counting. Values that are not finite have none.
    """
    values = values.detach().to("cpu", torch.float64).clone()
    reasons = [""] * len(values)
    for why, where in {**(without or {}), "the number is not finite": ~values.isfinite()}.items():
        for i in where.nonzero()[:, 0].tolist():
            reasons[i] = reasons[i] or why
    return _silent(
        Reading(
            values=values,
            reasons=tuple(reasons),
            std_error=None if std_error is None else std_error.detach().to("cpu", torch.float64).clone(),
            curve=None if curve is None else Curve(x=_wide(curve[0], values), y=_wide(curve[1], values)),
            extras={name: one.detach().to("cpu", torch.float64).clone() for name, one in (extras or {}).items()},
        )
    )


def unread(rows: int, why: str) -> Reading:
    """No value for any row, and why."""
    nothing = torch.full((rows,), torch.nan, dtype=torch.float64)
    return reading(nothing, without={why: nothing.isnan()})


def _wide(curve: Tensor, values: Tensor) -> Tensor:
    return curve.detach().to("cpu", torch.float64).expand(len(values), -1).clone()


def _silent(r: Reading) -> Reading:
    """NaN in every number of the rows that have a reason."""
    gone = torch.tensor([bool(why) for why in r.reasons], dtype=torch.bool)
    for one in (r.values, r.std_error, *r.extras.values()):
        if one is not None:
            one[gone] = torch.nan
    return r


# -- a metric as the engine runs it ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Read(Attribution):
    """The reading of a metric, in the shape of a method's answer."""

    reading: Reading


@dataclass(frozen=True, slots=True, eq=False)
class Measuring:
    """A metric at work on a map, in the shape of a method: what the engine runs."""

    metric: Metric
    map: Map
    about: ClassVar[About] = About(
        name="measuring",
        title="a metric",
        kind=Kind.CONTRIBUTION,
        cite=(),
        needs=frozenset({Can.SCORE}),
        keeps=frozenset(),
        output="probability",
        family="metric",
        summary="",
    )

    async def explain(self, q: Query) -> Attribution:
        got: object = await self._measured(q)
        if not isinstance(got, Reading) or got.values.shape != (len(q.x),):
            what = tuple(got.values.shape) if isinstance(got, Reading) else type(got).__name__
            raise PellucidError(
                f"{type(self.metric).__name__}.measure returned {what}", f"reading(values) of shape ({len(q.x)},)"
            )
        reasons = tuple(map(lambda a, b: a or b, self.map.broken, got.reasons))
        said = _silent(
            Reading(values=got.values, reasons=reasons, std_error=got.std_error, curve=got.curve, extras=got.extras)
        )
        return Read(values=said.values[None], dims=("batch",), reading=said)

    async def _measured(self, q: Query) -> Reading:
        """Inputs and models that a metric has no meaning for are a reason; unusable parameters are an error."""
        try:
            return await self.metric.measure(q, self.map)
        except ParameterError:
            raise
        except InputError as error:
            return unread(len(q.x), f"not defined for {error.got}")
        except UnsupportedModel as error:
            return unread(len(q.x), error.got)
