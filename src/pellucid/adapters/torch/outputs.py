"""From whatever a model returns to a matrix of scores [rows, outputs]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pellucid.core.errors import UnsupportedModel

KEYS = ("logits", "out", "output", "prediction", "predictions", "scores")
"""Keys and attributes under which models keep their scores."""

Selector = str | int | Callable[[Any], Tensor] | None


def scores(raw: Any, select: Selector = None) -> Tensor:
    """The scores [rows, outputs] in a model's answer.

    select: None takes a tensor, the first tensor of a tuple, `.logits` and the like of a mapping or a Hugging Face
    ModelOutput; a key, an index or a function says which. Raises UnsupportedModel with a list of what was found.
    """
    found = _selected(raw, select)
    if not isinstance(found, Tensor):
        raise UnsupportedModel(
            f"the model returned {_listing(raw)}",
            "a tensor of scores [rows, outputs]",
            "say which: wrap(model, outputs='logits'), outputs=0, or outputs=lambda raw: ...",
        )
    if found.ndim == 1:
        return found[:, None]
    if found.ndim > 2 and found[0].numel() == found.shape[1]:
        return found.flatten(1)
    if found.ndim != 2:
        raise UnsupportedModel(
            f"scores of shape {tuple(found.shape)}",
            "one vector of scores per row",
            "reduce it: wrap(model, outputs=lambda raw: raw[:, :, 10, 20]) explains one place of a dense output",
        )
    return found


def _selected(raw: Any, select: Selector) -> Any:
    if callable(select):
        return select(raw)
    if isinstance(select, str):
        return raw.get(select) if isinstance(raw, Mapping) else getattr(raw, select, None)
    if isinstance(select, int):
        return raw[select] if isinstance(raw, (tuple, list)) and len(raw) > select else None
    if isinstance(raw, Tensor):
        return raw
    if isinstance(raw, Mapping):
        named = [raw[k] for k in KEYS if k in raw]
        tensors = [v for v in raw.values() if isinstance(v, Tensor)]
        return named[0] if named else tensors[0] if len(tensors) == 1 else None
    named = [getattr(raw, k) for k in KEYS if isinstance(getattr(raw, k, None), Tensor)]
    if named:
        return named[0]
    if isinstance(raw, (tuple, list)) and raw:
        return raw[0]
    return None


def _listing(raw: Any) -> str:
    if isinstance(raw, Tensor):
        return f"a tensor {tuple(raw.shape)}"
    if isinstance(raw, Mapping):
        return "a mapping with " + ", ".join(f"{k!r}: {_listing(v)}" for k, v in list(raw.items())[:8])
    if isinstance(raw, (tuple, list)):
        return f"a {type(raw).__name__} of " + ", ".join(_listing(v) for v in raw[:8])
    return type(raw).__name__
