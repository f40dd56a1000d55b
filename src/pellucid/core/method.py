"""What a method is: frozen parameters and one coroutine. The decorator declares what the toolkit must know of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar, cast, dataclass_transform

import numpy as np
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query
from pellucid.core.errors import ParameterError, nearest
from pellucid.core.explanation import Kind
from pellucid.core.site import Site
from pellucid.core.target import Output
from pellucid.core.words import WORDS

LONGEST = 200
"""Letters that a record keeps of a parameter that cannot be written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a method declares of itself."""

    name: str
    """Registry name, snake case: `integrated_gradients`."""
    title: str
    """As in the literature: `Integrated Gradients`."""
    kind: Kind
    cite: tuple[str, ...]
    needs: frozenset[Can]
    keeps: frozenset[str]
    """Axioms that hold and are tested: linear, completeness, dummy, symmetry, implementation_invariance."""
    output: Output
    """The number explained when the user does not say."""
    family: str
    summary: str


class Explains(Protocol):
    """What a checker sees of a method: `explain`, which awaits questions. The decorator adds the rest."""

    async def explain(self, q: Query) -> Attribution: ...


class Method(Protocol):
    """Parameters, and `explain`, which awaits questions."""

    about: ClassVar[About]

    async def explain(self, q: Query) -> Attribution: ...


def is_method(it: object) -> TypeGuard[Method]:
    """Whether an object is a method's instance (not its class)."""
    return not isinstance(it, type) and isinstance(getattr(it, "about", None), About)


CATALOGUE: dict[str, type[Any]] = {}
"""Every method class by registry name, in the order of definition."""

M = TypeVar("M", bound=type)


def snake(name: str) -> str:
    """SmoothGrad -> smooth_grad, GradCAMPlusPlus -> grad_cam_plus_plus, InputXGradient -> input_x_gradient."""
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


def at_least(low: float, default: float | None, *, above: bool = False, most: float | None = None) -> Any:
    """A number that is at least `low` (greater than it when `above`), and at most `most`."""
    return field(default=default, metadata={"low": low, "above": above, "most": most})


def one_of(*choices: str, default: str) -> Any:
    """A word out of a few."""
    return field(default=default, metadata={"choices": choices})


def param(default: Any = MISSING, *, says: str = "", kw_only: bool = True) -> Any:
    """Any other parameter; `says` documents it when its name is not in the glossary.

    kw_only  False lets it be given by its place: Smooth(GradCAM())
    """
    return field(default=default, metadata={"says": says}, kw_only=kw_only)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(at_least, one_of, param, field))
def method(
    *,
    kind: Kind,
    title: str | None = None,
    cite: str | Iterable[str] = (),
    needs: Iterable[Can] = (Can.GRADIENT,),
    keeps: Iterable[str] = (),
    output: Output = "logit",
    family: str = "other",
) -> Callable[[M], M]:
    """Make a class a method: a frozen dataclass with checked parameters, known to the registry.

    Every parameter needs a default and an entry in the glossary (`core.words`) or a `says` of its own.
    """

    def decorate(cls: M) -> M:
        cls.__post_init__ = check_fields
        made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        name = snake(cls.__name__)
        made.about = About(
            name=name,
            title=title or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__),
            kind=kind,
            cite=(cite,) if isinstance(cite, str) else tuple(cite),
            needs=frozenset(needs) | {Can.SCORE},
            keeps=frozenset(keeps),
            output=output,
            family=family,
            summary=(cls.__doc__ or "").strip().partition("\n")[0],
        )
        for f in fields(made):
            if f.name not in WORDS and not f.metadata.get("says"):
                raise ParameterError(f"{name}.{f.name} is not in the glossary", "core.words, or param(says=...)")
        CATALOGUE[name] = made
        return made

    return decorate


def check_fields(self: Any) -> None:
    """Raises ParameterError for a value that a field does not take."""
    for f in fields(self):
        problem = _problem(getattr(self, f.name), f)
        if problem:
            raise ParameterError(f"{type(self).about.name}.{f.name} = {getattr(self, f.name)!r}", problem)


def _problem(value: Any, f: Field[Any]) -> str:
    """What is wrong with a parameter, or an empty string."""
    meta = f.metadata
    if "choices" in meta and value not in meta["choices"]:
        near = nearest(str(value), meta["choices"])
        return f"one of {', '.join(map(repr, meta['choices']))}" + (f" (perhaps {near})" if near else "")
    if f.name == "seed" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        return "a whole number, 0 or more"
    if isinstance(f.default, bool) and not isinstance(value, bool):
        return "True or False"
    if "low" not in meta or (value is None and "None" in str(f.type)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "a number"
    low, most = meta["low"], meta["most"]
    if isinstance(low if f.default is None else f.default, int) and not isinstance(value, int):
        return "a whole number"
    enough = value > low if meta["above"] else value >= low
    if not enough or (most is not None and value > most) or value != value or value in (float("inf"),):
        return f"{'more than' if meta['above'] else 'at least'} {low}" + ("" if most is None else f", at most {most}")
    return ""


def parameters(of: Any) -> dict[str, Any]:
    """All parameters of a method or a nested one, as JSON-able values."""
    return {f.name: jsonable(getattr(of, f.name)) for f in fields(of)}


def jsonable(value: Any) -> Any:
    """A parameter's value in a form that can be written down, and compared."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Site):
        return str(value)
    if isinstance(value, (Tensor, np.ndarray)):
        return {"tensor": list(value.shape), "sum": float(value.sum())}
    if isinstance(value, (tuple, list)):
        return [jsonable(v) for v in value]
    if is_method(value):
        return {"method": value.about.name, **parameters(value)}
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in cast("Mapping[object, object]", value).items()}
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, PurePath):
        return str(value)
    return {"object": type(value).__name__, "says": str(value)[:LONGEST]}


def whole(value: Any) -> bool:
    """Whether a value that was written down is all of it, rather than what stands for a tensor or an object."""
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        return set(held) not in ({"tensor", "sum"}, {"object", "says"}) and all(map(whole, held.values()))
    return all(map(whole, cast("list[object]", value))) if isinstance(value, list) else True
