"""What exists, and its fields: feeds the command line, the docs and the tests."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import Any

from pellucid import methods as _methods
from pellucid import metrics as _metrics
from pellucid.core.errors import ParameterError, nearest
from pellucid.core.method import CATALOGUE, About, Explains, Method, is_method, whole
from pellucid.core.method import parameters as _parameters_of
from pellucid.core.metric import METRICS, AboutMetric, Measures, Metric, is_metric
from pellucid.core.site import Site
from pellucid.core.target import Output
from pellucid.core.words import WORDS
from pellucid.metrics.compat import preset

for _home in (_methods, _metrics):
    for _module in pkgutil.iter_modules(_home.__path__):
        import_module(f"{_home.__name__}.{_module.name}")

GROUPS: dict[str, tuple[str, ...]] = {
    "sauron": ("v", "gi", "sg", "sgi", "ig", "gb"),
    "cams": ("grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam"),
    "transformers": ("attention_rollout", "generic_attention", "transformer_attribution", "le_grad"),
    "cams_all": (
        *("grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam", "eigen_cam"),
        *("eigen_grad_cam", "shapley_cam", "finer_cam", "smooth_grad_cam_plus_plus", "ablation_cam", "score_cam"),
        "full_grad",
    ),
}
"""Names that stand for several methods."""

SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "v": ("gradient", {}),
    "gi": ("input_x_gradient", {}),
    "sg": ("smooth_grad", {}),
    "sgi": ("smooth_grad", {"times_input": True}),
    "ig": ("integrated_gradients", {}),
    "gb": ("guided_backprop", {}),
    "occ": ("occlusion", {}),
    "ggc": ("guided_grad_cam", {}),
    "saliency": ("gradient", {}),
    "vanilla": ("gradient", {}),
    "gradient_shap": ("expected_gradients", {}),
    "gradcam": ("grad_cam", {}),
}
"""Other names under which methods are known (sauron's codes among them)."""


WORDY = ("at",)
"""Parameters whose text is meant as text: layers may be called `1`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method, for help texts and forms."""

    name: str
    default: Any
    choices: tuple[str, ...]
    meaning: str
    unit: str


def names() -> tuple[str, ...]:
    """Registry names of all methods, the built-in ones and those defined since."""
    return tuple(CATALOGUE)


def find(name: str) -> type[Any]:
    """The class of a method by registry name, short name or title. Raises ParameterError with the nearest names."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    plain = SHORT.get(plain, (plain, {}))[0]
    squeezed = {known.replace("_", ""): known for known in CATALOGUE}
    titled = {cls.about.title.lower(): known for known, cls in CATALOGUE.items()}
    known = plain if plain in CATALOGUE else squeezed.get(plain.replace("_", "")) or titled.get(name.strip().lower())
    if known is None:
        near = nearest(plain, [*CATALOGUE, *SHORT, *GROUPS])
        raise ParameterError(
            f"no method {name!r}",
            "a method's name; `pellucid methods` lists them",
            f"perhaps {near}" if near else f"one of {', '.join(CATALOGUE)}",
        )
    return CATALOGUE[known]


def make(what: str | type[Any] | Explains, params: Mapping[str, Any] | None = None) -> Method:
    """A method from a name, a class or an instance; params given as text are read by the type of the default.

    Raises ParameterError for an unknown method or parameter, and for values out of range.
    """
    if isinstance(what, str):
        preset = SHORT.get(what.strip().lower(), ("", {}))[1]
        return _built(find(what), {**preset, **(params or {})})
    if isinstance(what, type) and isinstance(getattr(what, "about", None), About):
        return _built(what, params or {})
    if not is_method(what):
        raise ParameterError(
            f"{what!r} of type {type(what).__name__} as a method", "a name, a method, or a list of them"
        )
    if params:
        cls: type[Any] = type(what)
        return _built(cls, {**{f.name: getattr(what, f.name) for f in fields(cls)}, **params})
    return what


def make_all(what: Any) -> tuple[Method, ...]:
    """Several methods from names, groups, classes, instances, or a list of them, in order.

    A name whose method is there already is left out (groups overlap); instances and classes all keep their places.
    """
    if isinstance(what, str):
        listed = tuple(part for part in what.split(",") if part.strip())
    elif isinstance(what, Iterable) and not isinstance(what, type):
        listed = tuple(what)
    else:
        listed = (what,)
    names_out = (name for one in listed for name in (_group(one) if isinstance(one, str) else (one,)))
    made: list[Method] = []
    for one in names_out:
        method = make(one)
        if not (isinstance(one, str) and any(_alike(method, other) for other in made)):
            made.append(method)
    if not made:
        raise ParameterError("an empty list of methods", "at least one method", f"for example {', '.join(names()[:3])}")
    return tuple(made)


def remade(name: str, params: Mapping[str, Any]) -> Method | None:
    """A method from what a record keeps of it; None where that is not all of it (a tensor, a function)."""
    if not whole(params):
        return None
    given = {key: _inner(value) for key, value in params.items()}
    try:
        made = make(name, {key: value for key, value in given.items() if not isinstance(value, str)})
        made = type(made)(**{f.name: given.get(f.name, getattr(made, f.name)) for f in fields(made)})  # pyright: ignore
    except ParameterError:
        return None
    return made if _parameters_of(made) == dict(params) else None


def _inner(value: Any) -> Any:
    """A parameter that is a method itself."""
    if isinstance(value, dict) and "method" in value:
        return remade(value["method"], {k: v for k, v in value.items() if k != "method"})
    return value


# -- metrics ---------------------------------------------------------------------------------------------------


def metrics() -> tuple[str, ...]:
    """Registry names of all metrics, the built-in ones and those defined since."""
    return tuple(METRICS)


def find_metric(name: str) -> type[Any]:
    """The class of a metric by registry name or title. Raises ParameterError with the nearest names."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    squeezed = {known.replace("_", ""): known for known in METRICS}
    titled = {cls.about.title.lower(): known for known, cls in METRICS.items()}
    known = plain if plain in METRICS else squeezed.get(plain.replace("_", "")) or titled.get(name.strip().lower())
    if known is None:
        near = nearest(plain, [*METRICS, *_families()])
        raise ParameterError(
            f"no metric {name!r}",
            f"one of {', '.join(METRICS)}; or a family: {', '.join(_families())}",
            f"perhaps {near}" if near else "",
        )
    return METRICS[known]


def find_any(name: str) -> type[Any]:
    """The class of a method, or of a metric, by name. Raises ParameterError as `find` does."""
    try:
        return find_metric(name)
    except ParameterError:
        return find(name)


def make_metric(what: str | type[Any] | Measures, params: Mapping[str, Any] | None = None) -> Metric:
    """A metric from a name, a class or an instance; params given as text are read by the type of the default."""
    if isinstance(what, str):
        return _built(find_metric(what), params or {})
    if isinstance(what, type) and isinstance(getattr(what, "about", None), AboutMetric):
        return _built(what, params or {})
    if not is_metric(what):
        raise ParameterError(
            f"{what!r} of type {type(what).__name__} as a metric", "a name, a metric, or a list of them"
        )
    if params:
        cls: type[Any] = type(what)
        return _built(cls, {**{f.name: getattr(what, f.name) for f in fields(cls)}, **params})
    return what


def make_metrics(what: Any) -> tuple[Metric, ...]:
    """Several metrics from names, families, classes, instances, or a list of them, in order; names count once."""
    if isinstance(what, str):
        listed: tuple[Any, ...] = tuple(part for part in what.split(",") if part.strip())
    elif isinstance(what, Iterable) and not isinstance(what, type):
        listed = tuple(what)
    else:
        listed = (what,)
    families = _families()
    words = (families.get(one.strip().lower(), (one,)) if isinstance(one, str) else (one,) for one in listed)
    flat = [one for many in words for one in many]
    made = [make_metric(one) for i, one in enumerate(flat) if not (isinstance(one, str) and one in flat[:i])]
    if not made:
        raise ParameterError("an empty list of metrics", "at least one metric", f"for example {metrics()[0]}")
    return tuple(made)


def compatible(what: Any, peer: str) -> tuple[tuple[Metric, Output | None], ...]:
    """Metrics as another library defines them, each with the number of the model that is looked at there.

    what  as for `make_metrics`; instances keep their parameters
    Raises ParameterError, with the reason, for metrics that the peer lacks or that are not sound there.
    """
    listed = [what] if isinstance(what, str) or is_metric(what) or isinstance(what, type) else list(what)
    made: list[tuple[Metric, Output | None]] = []
    for one in listed:
        for m in make_metrics(one):
            found = preset(peer, m.about.name)
            made.append((m if is_metric(one) else make_metric(m, found.params), found.output))
    return tuple(made)


def _families() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, cls in METRICS.items():
        found.setdefault(cls.about.family, []).append(name)
    return {family: tuple(names) for family, names in found.items()}


def _group(name: str) -> tuple[str, ...]:
    return GROUPS.get(name.strip().lower(), (name,))


def _alike(one: Any, other: Any) -> bool:
    """Whether two methods, or two of their parameters, are the same; what is no plain value is so by identity."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if is_method(one):
        return all(_alike(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))  # pyright: ignore
    return isinstance(one, (str, int, float, Site)) and one == other


def parameters(what: str | type[Any]) -> tuple[Parameter, ...]:
    """The parameters of a method with their meanings."""
    cls = find(what) if isinstance(what, str) else what
    listed: list[Parameter] = []
    for f in fields(cls):
        word = WORDS.get(f.name)
        listed.append(
            Parameter(
                f.name,
                None if f.default is MISSING else f.default,
                f.metadata.get("choices", ()),
                f.metadata.get("says") or (word.meaning if word else ""),
                word.unit if word else "",
            )
        )
    return tuple(listed)


def _built(cls: type[Any], params: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in fields(cls)}
    given: dict[str, Any] = {}
    for name, value in params.items():
        if name not in known:
            near = nearest(name, known)
            raise ParameterError(
                f"{cls.about.name} has no parameter {name!r}",
                f"one of {', '.join(known) or 'none: it has no parameters'}",
                f"perhaps {near}" if near else "",
            )
        given[name] = _read(value, name in WORDY) if isinstance(value, str) else value
        if name == "method" and isinstance(given[name], str):
            given[name] = make(given[name])
    missing = [n for n, f in known.items() if f.default is MISSING and n not in given]
    if missing:
        raise ParameterError(
            f"{cls.about.name} without {', '.join(missing)}",
            "a value",
            f"{cls.__name__}({missing[0]}=...), on the command line --param {cls.about.name}.{missing[0]}=...",
        )
    return cls(**given)


def _read(text: str, wordy: bool) -> Any:
    """A parameter given as text: a Python literal where it is one, else the text itself."""
    if wordy:
        return None if text.strip().lower() == "none" else text
    lowered = text.strip().lower()
    if lowered in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[lowered]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
