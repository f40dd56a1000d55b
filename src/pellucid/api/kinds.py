"""What a model's outputs are, where looking at them does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from pellucid.adapters import Handle
from pellucid.api.models import as_model, wrap
from pellucid.core.errors import ParameterError
from pellucid.core.target import CLASSES


def as_classifier(model: Any, labels: Sequence[str] | None = None) -> Handle:
    """A handle on the same model whose outputs belong to classes: they are explained as probabilities.

    Several outputs are taken for classes anyway, logits as well as probabilities. A single one is taken for a value,
    unless it comes from a sigmoid; here it is the logit of a class, or its probability.

    model   a handle, a name, or what `wrap` takes; it stays as it is
    labels  class names in the order of the outputs; None keeps those of the handle
    Raises ParameterError for labels that are no list of names; a wrong number of them is refused when the model runs.
    """
    if labels is not None and (isinstance(labels, str) or not all(isinstance(one, str) for one in labels)):
        raise ParameterError(f"labels={str(labels)[:60]!r}", "a list of class names, one per output")
    handle = _handle(model)
    known = handle.emits not in (None, "values")
    return handle.but(emits=handle.emits if known else CLASSES, labels=labels)


def as_regressor(model: Any) -> Handle:
    """A handle on the same model whose outputs are values of their own: explained as they are, without a probability.

    model  as for `as_classifier`
    """
    return _handle(model).but(emits="values")


def _handle(model: Any) -> Handle:
    return as_model(model) if isinstance(model, (str, nn.Module, Handle)) else wrap(model)
