"""Models as users have them, and what they become: a module, a name, a pipeline, a function or a table's estimator."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from pellucid import zoo
from pellucid.adapters import Handle, TorchModel
from pellucid.adapters.choice import adapted
from pellucid.adapters.keras import bare_keras, is_keras, keras_model
from pellucid.adapters.pipelines import is_pipeline
from pellucid.adapters.processes import alone
from pellucid.adapters.torch.tokens import Fed
from pellucid.api.pipelines import of_pipeline
from pellucid.core.errors import InputError, ParameterError
from pellucid.preprocess import Preprocess, Table, Tokens, Words, is_table, is_tokenizer


def wrap(
    module: Any,
    preprocess: Preprocess | Tokens | Table | Callable[..., Any] | Any = None,
    labels: Sequence[str] | None = None,
    *,
    name: str | None = None,
    outputs: str | int | Callable[[Any], Tensor] | None = None,
    emits: Literal["logits", "sigmoid_logits", "probabilities", "values"] | None = None,
    evaluate: Literal["auto", "plain", "prepared"] = "auto",
    rows: int | Literal["auto"] = "auto",
    processes: int = 1,
) -> Handle:
    """A handle on your own model. The module is never changed: work happens on a private twin that shares its weights.

    module      a trained torch.nn.Module, a text-classification pipeline of Hugging Face, or anything that only scores
                can be asked of: an object with `predict_proba` or `predict` (scikit-learn and those like it), or a
                function
    preprocess  how a photo becomes a row: a `Preprocess`, or your own transform (torchvision, timm, a Hugging Face
                processor, a function); for texts the model's tokenizer, which also says what is padding, so that it
                can be masked; `Words()` for whatever scores strings, and for a pipeline whose tokens do not matter;
                for tables a frame or array like the one it was trained on, or a `Table`; None when you
                pass tensors
    labels      class names in the order of the outputs; then targets can be given by name
    name        what to call the model in figures and records; its class by default
    outputs     which part of the answer holds the scores, for models that return mappings or tuples
    emits       what the scores are; None finds out: rows that sum to one are probabilities, and so on
    evaluate    `auto` folds batch-norms and lays memory out channels-last where that was verified to agree
    rows        model rows at once; `auto` fits a memory budget
    processes   in which a function, or what has `predict_proba`, runs at once: for those that hold Python's lock. It
                must be one that can be pickled. They end with the handle's `close()`, or with the handle
    Raises InputError or ParameterError for arguments that cannot be used.
    """
    if labels is not None and (isinstance(labels, str) or not all(isinstance(one, str) for one in labels)):
        raise ParameterError(f"labels={str(labels)[:60]!r}", "a list of class names, one per output")
    if is_keras(module):
        if processes != 1:
            raise alone(processes, "a Keras model")
        return keras_model(module, preprocess, labels, name=name, outputs=outputs, emits=emits, rows=rows)
    if is_pipeline(module):
        return of_pipeline(
            module, preprocess, labels, name=name, emits=emits, evaluate=evaluate, rows=rows, processes=processes
        )
    if isinstance(preprocess, Tokens) or is_tokenizer(preprocess):
        is_module = isinstance(module, nn.Module)  # what is none is refused below
        most = zoo.places(module) if is_module else None
        made = preprocess if isinstance(preprocess, Tokens) else Tokens.of(preprocess, most)
        name = name or type(module).__name__
        module = Fed(module, made.pad) if is_module else module
    else:
        made = _front(preprocess)
        if not isinstance(module, nn.Module):
            return adapted(
                module, made, labels, name=name, outputs=outputs, emits=emits, rows=rows, processes=processes
            )
    if processes != 1:
        raise alone(processes, type(module).__name__)
    inner: Any = module  # what is none is refused there
    if isinstance(made, Words):
        raise ParameterError(f"Words for {type(module).__name__}", "a tokenizer", "a torch model takes token ids")
    return TorchModel(inner, made, labels, name=name, outputs=outputs, emits=emits, evaluate=evaluate, rows=rows)


def _front(given: Any) -> Preprocess | Table | Words:
    """How inputs become rows, from what users have: a transform, a table, nothing."""
    if given is None:
        return Preprocess.identity()
    if isinstance(given, (Preprocess, Table, Words)):
        return given
    return Table.of(given) if is_table(given) else Preprocess.from_callable(given)


def load(name: str, *, pretrained: bool = True) -> Handle:
    """A model that can be named: `efficientnet_lite0` (bundled), `timm:…`, `torchvision:…`, `hf:…`, `keras:FILE.keras`.

    Those of Hugging Face classify images, or texts with their tokenizer; their configuration decides.

    pretrained  False takes random weights, where that makes sense
    Raises InputError for an unknown name, a missing package, or weights that are out of reach.
    """
    got = zoo.named(name, pretrained=pretrained)
    if is_keras(got.module):
        return keras_model(got.module, got.preprocess, got.labels, name=name)
    module = Fed(got.module, got.preprocess.pad) if isinstance(got.preprocess, Tokens) else got.module
    return TorchModel(module, got.preprocess, got.labels, name=name, emits=got.emits)


_borrowed: weakref.WeakKeyDictionary[nn.Module, TorchModel] = weakref.WeakKeyDictionary()
"""Handles on bare modules, kept as long as somebody keeps the module."""


def as_model(model: Handle | nn.Module | str) -> Handle:
    """What users may pass as a model: a handle, a name, or a bare module (which then takes tensors)."""
    if isinstance(model, Handle):
        return model
    if isinstance(model, str):
        return load(model)
    if is_keras(model):
        return bare_keras(model)
    if is_pipeline(model):
        return wrap(model)
    if isinstance(model, nn.Module):
        if model not in _borrowed:
            _borrowed[model] = TorchModel(model, Preprocess.identity(), borrowed=True)
        return _borrowed[model]
    raise InputError(
        f"a {type(model).__name__} as a model",
        "a torch.nn.Module, a handle from pellucid.wrap, or a name",
        "wrap it: pellucid.wrap(model, preprocess, labels); of tables pellucid.wrap(model, table)",
    )
