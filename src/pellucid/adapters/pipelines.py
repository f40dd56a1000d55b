"""Pipelines of `transformers` that classify texts: the model and the tokenizer inside, or scores of strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from pellucid.preprocess import is_tokenizer

EMITS = {"multi_label_classification": "sigmoid_logits", "regression": "values"}
"""What the outputs are, by the kinds of problem that configurations of Hugging Face name."""


def is_pipeline(it: object) -> bool:
    """Whether something is a text-classification pipeline; nothing is imported to find out."""
    names = ((cls.__module__.partition(".")[0], cls.__name__) for cls in type(it).__mro__)
    return ("transformers", "TextClassificationPipeline") in names


def opened(pipeline: Any) -> tuple[nn.Module, Any] | None:
    """The torch model and the tokenizer inside; None where it holds something else."""
    module, tokenizer = getattr(pipeline, "model", None), getattr(pipeline, "tokenizer", None)
    return (module, tokenizer) if isinstance(module, nn.Module) and is_tokenizer(tokenizer) else None


@dataclass(frozen=True, slots=True)
class Scored:
    """Texts to the scores of all classes before any softmax, [texts, classes], in the order of the configuration."""

    pipeline: Any

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        each = self.pipeline(list(texts), top_k=None, function_to_apply="none")
        found = [{str(one["label"]): float(one["score"]) for one in row} for row in each]
        return [[row[label] for label in named(self.pipeline)] for row in found]


def named(pipeline: Any) -> tuple[str, ...]:
    """The classes as the pipeline calls them, in the order of the outputs."""
    return label_names(pipeline.model.config)


def label_names(config: Any) -> tuple[str, ...]:
    """The names of the outputs, as a configuration of Hugging Face lists them."""
    return tuple(str(config.id2label[index]) for index in sorted(config.id2label))


def emits_of(pipeline: Any) -> str | None:
    """What the scores are; a single one that is not said to be a value goes through a sigmoid, as in the pipeline."""
    config = pipeline.model.config
    kind = getattr(config, "problem_type", None)
    return EMITS.get(str(kind), "sigmoid_logits" if kind is None and len(config.id2label) == 1 else None)


def called(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Names that say something; None for LABEL_0, LABEL_1 …"""
    names = tuple(labels)
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names
