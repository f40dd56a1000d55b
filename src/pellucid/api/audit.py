"""The audit of a method that replaces the backward pass: which operator followed which rule, and what got lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pellucid import registry
from pellucid.api.asking import targets_of, tasks_of
from pellucid.api.entries import references_of
from pellucid.api.models import as_model
from pellucid.api.waves import waves_of
from pellucid.core.ask import Ask, Attribution, Query, together
from pellucid.core.errors import InputError
from pellucid.core.method import About, Explains, Method
from pellucid.core.target import Asked, Output
from pellucid.engine import run
from pellucid.propagation import Audit, Booked

if TYPE_CHECKING:
    from torch import nn

    from pellucid.adapters import Handle


def audit(
    model: Handle | nn.Module | str,
    inputs: Any,
    method: str | Explains | type[Any] = "lrp",
    *,
    target: Asked = None,
    versus: Asked = None,
    output: Output | None = None,
) -> Audit:
    """What a method did at every operator of the model: its rule, and for relevance what came in and went out.

    model   as in `explain`
    inputs  one photo, row or text, as in `explain`
    method  one that replaces the backward pass: LRP, DeepLIFT, guided backpropagation and their relatives
    target  one target; None is the top class
    versus  explain the difference to this class
    output  which number of the class; None is the method's own
    Returns an Audit: `print` it; `audit.worst` has the calls that leak most first. Relevance is counted for methods
    that distribute the score. Raises InputError for several inputs or targets, and for a method without rules.
    """
    handle, (chosen,) = as_model(model), _one(registry.make_all(method), "method")
    (aim,) = _one(targets_of(target, versus, None), "target")
    listening = Listening(chosen, [])
    tasks = tasks_of(handle, [cast(Method, listening)], (aim,), output)
    waves = list(waves_of(handle, inputs, tasks))
    (wave,) = _one(waves, "photo")
    _one(range(len(wave.x)), "photo")
    with handle.ready(wave.x) as session:
        run(session, wave.x, tasks, references_of(handle))
    if not listening.told:
        raise InputError(
            f"{chosen.about.title} leaves the backward pass as it is, so there are no rules to audit",
            "a method with rules, such as lrp, deep_lift or guided_backprop",
        )
    return listening.told[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """A method whose every backward pass with rules has its books kept.

    method  the method
    told    the audits so far
    """

    method: Method
    told: list[Audit]

    @property
    def about(self) -> About:
        """That of the method."""
        return self.method.about

    async def explain(self, q: Query) -> Attribution:
        """What the method says, its questions asked with books."""
        inner = self.method.explain(q)
        answers: tuple[Any, ...] | None = None
        while True:
            try:
                asks: tuple[Ask[Any], ...] = inner.send(answers)
            except StopIteration as end:
                return end.value
            answers = await together(*map(self._booked, asks))

    def _booked(self, ask: Ask[Any]) -> Ask[Any]:
        rules: Any = ask.where.rule
        return ask if rules is None else replace(ask, where=replace(ask.where, rule=Booked(rules, self.told)))


def _one(given: Sequence[Any], what: str) -> Sequence[Any]:
    if len(given) != 1:
        raise InputError(f"{len(given)} {what}s for an audit", f"one {what}")
    return given
