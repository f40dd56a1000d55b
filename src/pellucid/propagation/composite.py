"""Composites: ordered lines that say which operators follow which rule; the last line that fits a call serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import torch
from torch import nn

from pellucid.core.errors import ParameterError, RuleError, nearest
from pellucid.propagation.audit import PLAIN, THROUGH, tabulated
from pellucid.propagation.intercept import Intercept
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Manner, Place, Refused, Rule, Unruled

MOVED: Final = frozenset((Kind.SHAPE, Kind.JOIN, Kind.CAST, Kind.DROPOUT, Kind.MAX_POOL, Kind.EMBEDDING, Kind.COMPARE))
"""Kinds that only move numbers, and whose signal therefore moves with them unless a line says otherwise."""

RELEVANCE: Final = Manner(start="score")
"""What comes back is relevance, which begins as the score."""


@dataclass(frozen=True, slots=True)
class On:
    """One line: these calls follow this rule.

    A call fits when its kind or its operator is named and its layer matches. A line that names neither kinds nor
    operators means the calls that its rule is made for, linear and convolution layers for the rules of layers, and
    every call for other rules. Positions count among the calls that fit so far, in execution order.

    rule       the rule; None for the plain gradient
    kinds      kinds of operators, or their words: Kind.CONVOLUTION is "convolution"
    operators  names of operators, as tables and messages show them; `*` and `?` stand for any letters
    layers     names of layers, likewise; "" is the model itself
    first      only the first so many
    last       only the last so many
    within     only those from the first to before the second position, counted from 0, negative ones from the end
    """

    rule: Rule | None
    kinds: tuple[Kind, ...] = ()
    operators: tuple[str, ...] = ()
    layers: tuple[str, ...] | str = "*"
    first: int | None = None
    last: int | None = None
    within: tuple[int | None, int | None] | None = None

    def __post_init__(self) -> None:
        for name in ("kinds", "operators", "layers"):
            given = getattr(self, name)
            object.__setattr__(self, name, tuple(given) if isinstance(given, tuple | list) else (given,))
        object.__setattr__(self, "kinds", tuple(map(_kind, self.kinds)))
        if not (self.rule is None or isinstance(self.rule, Rule)):
            raise ParameterError(f"{self.rule!r} in a line of a composite", "a rule, such as Epsilon(), or None")
        for name in ("operators", "layers"):
            if not all(isinstance(one, str) for one in getattr(self, name)):
                raise ParameterError(f"{name}={getattr(self, name)} in a line of a composite", "names")
        if self.within is not None and not (isinstance(self.within, tuple | list) and len(self.within) == 2):
            raise ParameterError(f"within={self.within!r} in a line of a composite", "two positions, such as (1, 3)")
        for name in ("first", "last"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise ParameterError(f"{name}={given} in a line of a composite", "1 or more, or None")

    @property
    def counts(self) -> bool:
        """Whether it looks at positions."""
        return not (self.first is None and self.last is None and self.within is None)

    def fits(self, place: Place) -> bool:
        """Whether a call fits, its position aside."""
        if not (self.kinds or self.operators):
            meant = () if self.rule is None else self.rule.made_for
            named = not meant or place.kind in meant
        else:
            named = place.kind in self.kinds or any(fnmatchcase(place.operator, name) for name in self.operators)
        return named and any(fnmatchcase(place.layer, name) for name in self.layers)

    def among(self, places: Sequence[Place]) -> list[Place]:
        """The calls that it serves, of all calls of a pass."""
        found = [place for place in places if self.fits(place)]
        kept = set(range(len(found))[: self.first])
        if self.last is not None:
            kept &= set(range(len(found))[-self.last :])
        if self.within is not None:
            kept &= set(range(len(found))[slice(*self.within)])
        return [place for number, place in enumerate(found) if number in kept]


@dataclass(frozen=True, slots=True)
class Composite:
    """A set of rules in lines.

    name     for messages and tables
    lines    in order; the last that fits serves
    manner   how the pass is run; whether layers must be named follows from the lines
    unknown  what becomes of calls that no line fits and that do more than move numbers: `error`, a RuleError when a
             signal comes back to one; or `gradient`, its plain gradient, which the audit shows
    """

    name: str
    lines: tuple[On, ...]
    manner: Manner = RELEVANCE
    unknown: Literal["error", "gradient"] = "error"

    def __post_init__(self) -> None:
        if self.unknown not in ("error", "gradient"):
            raise ParameterError(f"unknown={self.unknown!r} of the composite {self.name}", "'error' or 'gradient'")
        strange = [line for line in self.lines if not isinstance(line, On)]
        if strange:
            raise ParameterError(f"{strange[0]!r} among the lines of {self.name}", "lines, such as On(Epsilon())")
        named = any(line.layers != ("*",) for line in self.lines)
        object.__setattr__(self, "manner", replace(self.manner, named=named))

    def with_(self, *lines: On) -> Composite:
        """The same with more lines, which go before those that are there: the last line that fits serves."""
        return replace(self, lines=(*self.lines, *lines))

    @property
    def counts(self) -> bool:
        """Whether some line looks at positions, so that the calls of the model must be known first."""
        return any(line.counts for line in self.lines)

    def rule_for(self, place: Place) -> Rule | None:
        """The rule of a call; raises RuleError where positions are not settled yet."""
        if self.counts:
            raise RuleError(
                f"the composite {self.name} looks at positions, and the calls of the model are not known",
                "a set of rules for one model",
                "settle it with `composite.laid(inventory(model, run, composite))`",
            )
        fitting = [line for line in self.lines if line.fits(place)]
        return fitting[-1].rule if fitting else self._otherwise(place)

    def laid(self, places: Sequence[Place]) -> Laid:
        """The composite for one model, positions settled.

        places  its calls in execution order, as `inventory` finds them
        """
        return Laid(self, tuple(places))

    def chosen(self, places: Sequence[Place]) -> tuple[Rule | None, ...]:
        """The rule of every call."""
        rules: dict[Place, Rule | None] = {}
        for line in self.lines:
            rules.update(dict.fromkeys(line.among(places), line.rule))
        return tuple(rules[place] if place in rules else self._otherwise(place) for place in places)

    def table(self, places: Sequence[Place]) -> str:
        """Layer → rule, call by call, before anything runs backwards."""
        rows = [
            (str(place.order), place.layer or "(model)", place.operator, str(place.call), _word(place, rule))
            for place, rule in zip(places, self.chosen(places), strict=True)
        ]
        return tabulated(("#", "layer", "operator", "call", "rule"), rows)

    def _otherwise(self, place: Place) -> Rule | None:
        if place.kind in MOVED:
            return None
        return Unruled() if self.unknown == "gradient" else _refused(place)


@dataclass(frozen=True, slots=True)
class Laid:
    """A composite for one model: every call of its pass has its rule. Hashable, and equal where its parts are.

    composite  what it was made of
    places     the calls that were met
    """

    composite: Composite
    places: tuple[Place, ...]
    _rules: tuple[Rule | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rules", self.composite.chosen(self.places))

    @property
    def name(self) -> str:
        """That of the composite."""
        return self.composite.name

    @property
    def manner(self) -> Manner:
        """That of the composite, with the order of calls."""
        return replace(self.composite.manner, ordered=True)

    def rule_for(self, place: Place) -> Rule | None:
        """The rule of a call that was met; any other must not lie on the path of a signal."""
        if place.order < len(self.places):
            met = self.places[place.order]
            if met == place or (met[:2] == place[:2] and not self.composite.manner.named):
                return self._rules[place.order]
        return _UNMET if self.composite.counts else self.composite.rule_for(place)

    def __str__(self) -> str:
        return self.composite.table(self.places)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A set of rules that serves nothing: a pass with it finds the calls that a signal can flow through.

    apart  kinds of operators that the rules to come take apart
    """

    apart: frozenset[Kind] = frozenset()

    @property
    def name(self) -> str:
        """The word in messages."""
        return "inventory"

    @property
    def manner(self) -> Manner:
        """Named."""
        return Manner(apart=self.apart)

    def rule_for(self, place: Place) -> Rule | None:
        """None."""
        return None


def inventory(twin: nn.Module, run: Callable[[], Any], rules: Any = None) -> tuple[Place, ...]:
    """The calls of one forward pass that a signal can flow through, in execution order.

    twin   the model: it carries naming hooks meanwhile
    run    calls it with inputs that require gradients
    rules  those to come, for what they take apart
    """
    apart = frozenset[Kind]() if rules is None else rules.manner.apart
    with torch.enable_grad(), Intercept(twin, Inventory(apart)) as seen:
        run()
    return seen.places


def _kind(given: Kind | str) -> Kind:
    if isinstance(given, Kind):
        return given
    words = [kind.value for kind in Kind]
    if given not in words:
        near = nearest(str(given), words)
        raise ParameterError(
            f"kind {given!r} in a line of a composite", f"one of {', '.join(words)}", near and f"perhaps {near}"
        )
    return Kind(given)


_UNMET: Final = Refused(
    "a model that calls the same operators for every input, or a composite without positions (first, last, within)",
    "settle the composite anew, with the calls of this very input",
)


def _refused(place: Place) -> Refused:
    return Refused(
        "operators with a rule",
        f'give it one, `composite.with_(On(rule, operators=("{place.operator}",)))`, or its plain gradient, '
        "unknown='gradient'",
    )


def _word(place: Place, rule: Rule | None) -> str:
    if rule is None:
        return THROUGH if place.kind in MOVED else PLAIN
    return rule.name
