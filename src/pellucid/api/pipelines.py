"""Text-classification pipelines of Hugging Face as models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pellucid.adapters import FunctionModel, Handle
from pellucid.adapters.pipelines import Scored, called, emits_of, named, opened
from pellucid.adapters.processes import alone
from pellucid.core.errors import ParameterError
from pellucid.preprocess import Tokens, Words, is_tokenizer


def of_pipeline(
    pipeline: Any,
    preprocess: Any,
    labels: Sequence[str] | None,
    *,
    name: str | None,
    emits: Any,
    evaluate: Any,
    rows: Any,
    processes: int,
) -> Handle:
    """A pipeline opened, so that gradients and games of tokens can be asked for; with `Words`, by its scores alone.

    Arguments as in `pellucid.wrap`. Raises ParameterError for a preprocess that does not read texts.
    """
    from pellucid.api.models import wrap  # which opens pipelines by this

    if preprocess is not None and not isinstance(preprocess, (Tokens, Words)) and not is_tokenizer(preprocess):
        raise ParameterError(f"a {type(preprocess).__name__} before a pipeline", "Words(), a tokenizer, or nothing")
    emits, labels = emits or emits_of(pipeline), labels or called(named(pipeline))
    inside = opened(pipeline)
    if inside is not None and not isinstance(preprocess, Words):
        module, tokenizer = inside
        if processes != 1:
            raise alone(processes, "an opened pipeline")
        front = preprocess or tokenizer
        return wrap(module, front, labels, name=name, emits=emits, evaluate=evaluate, rows=rows)
    return FunctionModel(
        Scored(pipeline),
        preprocess if isinstance(preprocess, Words) else Words(),
        labels,
        name=name or type(pipeline.model).__name__,
        emits=emits,
        rows=rows,
        framework="transformers",
        source=pipeline,
        processes=processes,
    )
