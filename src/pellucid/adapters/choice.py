"""Which way leads to a model's scores: by what it can do, not by what it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pellucid.adapters.boosters import boosted, is_booster
from pellucid.adapters.function import Decodes, FunctionModel
from pellucid.core.errors import InputError


def adapted(
    model: Any,
    front: Decodes,
    labels: Sequence[str] | None = None,
    *,
    name: str | None = None,
    outputs: Any = None,
    emits: str | None = None,
    rows: int | Literal["auto"] = "auto",
    processes: int = 1,
) -> FunctionModel:
    """A handle on what can only be asked for scores.

    model  an object with `predict_proba`, `decision_function` or `predict`, or a function from inputs to scores
    Raises InputError for anything else.
    """
    score, known, framework = scorer(model)
    pick = outputs if callable(outputs) else None
    fn = score if pick is None else lambda rows: pick(score(rows))
    return FunctionModel(
        fn, front, labels or known, name=name, emits=emits, rows=rows, framework=framework, source=model,
        processes=processes,
    )  # fmt: skip


def scorer(model: Any) -> tuple[Callable[[Any], Any], tuple[str, ...] | None, str]:
    """The function that scores, the names of its outputs where the model knows them, and whose model it is."""
    framework = type(model).__module__.partition(".")[0]
    if is_booster(model):
        return (*boosted(model), framework)
    classes = getattr(model, "classes_", None)
    labels = (
        None if classes is None or (hasattr(classes[0], "__len__") and not isinstance(classes[0], str)) else classes
    )
    names = None if labels is None else tuple(str(one) for one in labels)
    if callable(getattr(model, "predict_proba", None)):
        return model.predict_proba, names, framework
    if callable(getattr(model, "decision_function", None)):
        return model.decision_function, names if names is None or len(names) > 2 else names[1:], framework
    if callable(getattr(model, "predict", None)) and classes is None:
        return model.predict, None, framework
    if callable(model):
        return model, None, "function"
    raise InputError(
        f"a {type(model).__name__} as a model",
        "a torch.nn.Module, something with predict_proba or predict, or a function from inputs to scores",
        "pellucid.wrap(lambda frame: ..., table)",
    )
