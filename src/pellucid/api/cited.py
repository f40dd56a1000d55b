"""The papers behind what was explained or measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pellucid import registry
from pellucid.core.cite import bibtex
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation
from pellucid.core.measurements import Measurement
from pellucid.core.method import About, is_method
from pellucid.core.metric import AboutMetric


def cite(what: Any) -> str:
    """BibTeX of the papers behind explanations or methods, each once.

    what  an explanation, several, a measurement, a method's or metric's name (or group), class or instance, or a list
          of any of these; a method that wraps another is cited with the one inside
    Raises InputError for anything else, ParameterError for an unknown name.
    """
    return bibtex(key for keys in _cited(what) for key in keys)


def _cited(what: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(what, Explanation):
        inner = what.record.params.get("method")
        yield what.record.cite
        yield from _cited(inner["method"]) if isinstance(inner, dict) else ()
    elif isinstance(what, Measurement):
        yield registry.find_metric(what.metric).about.cite
    elif isinstance(what, str):
        for word in registry.GROUPS.get(what.strip().lower(), what.split(",")):
            yield registry.find_any(word).about.cite
    elif is_method(what) or isinstance(getattr(what, "about", None), About | AboutMetric):
        yield what.about.cite
        yield from _cited(inner) if is_method(inner := getattr(what, "method", None)) else ()
    elif isinstance(what, Iterable):
        for one in what:
            yield from _cited(one)
    else:
        raise InputError(f"a {type(what).__name__} to cite", "explanations, or methods by name, class or instance")
