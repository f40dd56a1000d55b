"""The conformance checks: what every method promises, as named checks that anybody can run on their own method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal

from pellucid import registry
from pellucid.core.ask import Can
from pellucid.core.errors import InputError, ParameterError, UnsupportedModel
from pellucid.core.method import Method, is_method
from pellucid.methods.gradient import Gradient
from pellucid.testing import answers, axioms, promises, tiny
from pellucid.testing.ensure import NotApplicable
from pellucid.testing.tiny import Tiny

MODELS = ("linear_rows", "linear_pictures", "smooth", "convnet", "convnet_inplace", "vit", "convnet_uncopyable")
"""The models that are used unless others are named: one of each kind."""

Body = Callable[[Method, Tiny], None]
AXIOMS: dict[str, Callable[[Method], None]] = {
    "completeness": axioms.completeness,
    "dummy": axioms.dummy,
    "linear": axioms.linear,
    "symmetry": axioms.symmetry,
    "implementation_invariance": axioms.implementation_invariance,
}
"""What a method may declare in `keeps`, and how it is tested."""
ON_MODELS: dict[str, Body] = {
    "rows_do_not_see_each_other": answers.rows_do_not_see_each_other,
    "chunks_do_not_matter": answers.chunks_do_not_matter,
    "fusing_does_not_matter": answers.fusing_does_not_matter,
    "targets_do_not_see_each_other": answers.targets_do_not_see_each_other,
    "same_seed_same_bits": answers.same_seed_same_bits,
    "modes_do_not_matter": answers.modes_do_not_matter,
    "layouts_do_not_matter": answers.layouts_do_not_matter,
    "leaves_nothing_behind": promises.leaves_nothing_behind,
    "failures_leave_nothing_behind": promises.failures_leave_nothing_behind,
    "passes_are_planned": promises.passes_are_planned,
    "memory_may_end": promises.memory_may_end,
    "can_be_kept": promises.can_be_kept,
}
"""The checks that run on one model at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One promise of one method, on one model: call it, and it raises NotConforming or returns how it ended."""

    name: str
    """`chunks_do_not_matter[convnet]`."""
    run: Callable[[], None]

    def __call__(self) -> Result:
        try:
            self.run()
        except NotApplicable as why:
            return Result(name=self.name, status="skipped", why=str(why))
        return Result(name=self.name, status="passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a check ended."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    why: str = ""


def checks(method: str | Method | type[Any], models: Iterable[str] | None = None) -> Iterator[Check]:
    """All checks of one method, named and not yet run; for `pytest.mark.parametrize` and the like.

    method   an instance, a class whose parameters all have defaults, or a registry name; a combinator given by name
             gets `Gradient()` inside
    models   names of `pellucid.testing.tiny`; by default one of each kind
    Raises InputError or ParameterError for an unknown method or model.
    """
    made = example(method)
    chosen = MODELS if models is None else tuple(models)
    for name in chosen:
        if name not in tiny.ZOO:
            tiny.make(name)  # raises, with the nearest names
    unknown = made.about.keeps - set(AXIOMS)
    if unknown:
        raise ParameterError(
            f"{made.about.name} keeps {', '.join(sorted(unknown))}", f"axioms with a test: {', '.join(AXIOMS)}"
        )
    return _checks(made, chosen)


def check_method(
    method: str | Method | type[Any], models: Iterable[str] | None = None, *, raises: bool = True
) -> tuple[Result, ...]:
    """Run all checks of one method; needs no test framework.

    method, models   as in `checks`
    raises           stop at the first failure with NotConforming; otherwise failures are listed among the results
    Returns one Result per check. A check is skipped, with the reason, where the method says clearly that it cannot
    explain the model (`InputError`, `UnsupportedModel`).
    """
    results: list[Result] = []
    for check in checks(method, models):
        try:
            results.append(check())
        except Exception as error:
            if raises:
                raise
            results.append(Result(name=check.name, status="failed", why=f"{type(error).__name__}: {error}"))
    return tuple(results)


def example(method: str | Method | type[Any]) -> Method:
    """An instance of a method; what is required and has no default is an inner method, for which Gradient stands."""
    cls = registry.find(method) if isinstance(method, str) else method
    if isinstance(cls, type):
        needed = {p.name for p in registry.parameters(cls) if p.name == "method"}
        return registry.make(cls, {name: Gradient() for name in needed})
    return registry.make(cls)


def lighter(method: Method, samples: int = 4, steps: int = 4) -> Method:
    """The same method with few samples, steps, windows and regions, for checks that do not judge accuracy."""
    most = {"samples": samples, "steps": steps}
    given: dict[str, Any] = {}
    for f in fields(method):  # pyright: ignore[reportArgumentType]
        value = getattr(method, f.name)
        if f.name in most and isinstance(value, int):
            given[f.name] = min(value, max(most[f.name], f.metadata.get("low", 0)))
        elif f.name in ("window", "stride") and value is None:
            given[f.name] = tiny.PICTURE[-1] // 2
        elif f.name == "regions":
            given[f.name] = "cells(2, 2)"
        elif is_method(value):
            given[f.name] = lighter(value, samples, steps)
    return replace(method, **given)  # pyright: ignore[reportArgumentType]


def _checks(method: Method, models: tuple[str, ...]) -> Iterator[Check]:
    for axiom in AXIOMS:
        if axiom in method.about.keeps:
            yield Check(name=f"keeps_{axiom}", run=_bound(AXIOMS[axiom], method))
    light = lighter(method)
    for model in models:
        why = cache(lambda light=light, model=model: refusal(light, tiny.make(model)))
        for name, body in ON_MODELS.items():
            yield Check(name=f"{name}[{model}]", run=_on(body, light, model, why))


def _bound(body: Callable[[Method], None], method: Method) -> Callable[[], None]:
    return lambda: body(method)


def _on(body: Body, method: Method, model: str, why: Callable[[], str]) -> Callable[[], None]:
    def run() -> None:
        if why():
            raise NotApplicable(why())
        body(method, tiny.make(model))

    return run


def refusal(method: Method, model: Tiny) -> str:
    """Why a method says that it cannot explain a model; empty when it can."""
    if Can.SITES in method.about.needs and model.site is None:
        return "the model has no layer with height and width"
    try:
        answers.explained(method, model)
    except (InputError, UnsupportedModel) as error:
        return f"{type(error).__name__}: {error.got}"
    return ""
