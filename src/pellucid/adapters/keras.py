"""Keras 3 models: on the torch backend torch modules with layers by their Keras names, on another one scores only."""

# Keras keeps losses and sublayers in private attributes; hooks and parameters of modules are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pellucid.adapters.function import FunctionModel
from pellucid.adapters.torch import TorchModel
from pellucid.adapters.torch.outputs import Selector, scores
from pellucid.core.errors import InputError, PellucidError, UnsupportedModel
from pellucid.preprocess import Preprocess, Table, is_table


def is_keras(what: object) -> bool:
    """Whether something is a Keras layer or model, of whatever backend; keras is not imported."""
    return any(
        each.__name__ == "Layer" and each.__module__.partition(".")[0] in ("keras", "tf_keras")
        for each in type(what).__mro__
    )


def keras_model(
    model: Any,
    preprocess: Any = None,
    labels: Sequence[str] | None = None,
    *,
    name: str | None = None,
    outputs: Selector = None,
    emits: str | None = None,
    rows: int | Literal["auto"] = "auto",
) -> KerasModel | KerasScores:
    """A handle on a Keras model: with gradients, layers and rules on the torch backend, on another one for scores.

    Raises UnsupportedModel for a model that has no weights yet, or takes several inputs.
    """
    _check(model)
    name = name or str(getattr(model, "name", type(model).__name__))
    if isinstance(model, nn.Module):
        return KerasModel(KerasModule(model), preprocess, labels, name=name, outputs=outputs, emits=emits, rows=rows)
    return KerasScores(model, preprocess, labels, name=name, outputs=outputs, emits=emits, rows=rows)


_borrowed: weakref.WeakKeyDictionary[Any, tuple[tuple[int, ...], KerasModel]] = weakref.WeakKeyDictionary()
"""Handles on bare models, kept as long as somebody keeps the model, and of which layers and variables they are."""


def bare_keras(model: Any) -> KerasModel | KerasScores:
    """The handle on a bare model: the same in every call, while its layers and variables are the same objects."""
    if not isinstance(model, nn.Module):
        return keras_model(model)
    _check(model)
    variables: Any = model.variables
    parts = tuple(id(layer) for _, layer in _named(model)) + tuple(id(v.value) for v in variables)
    known, handle = _borrowed.get(model, ((), None))
    if handle is None or known != parts:  # what the handle refers to lives on, so that no other object has its id
        handle = KerasModel(KerasModule(model, borrowed=True), None, None, name=str(model.name))
        _borrowed[model] = (parts, handle)
    return handle


def _check(model: Any) -> None:
    if not getattr(model, "built", True):
        raise UnsupportedModel(
            f"the Keras model {model.name!r}, which has not been built",
            "a trained model",
            "call it once, or model.build(input_shape)",
        )
    inputs = getattr(model, "inputs", None)
    if isinstance(inputs, list | tuple) and len(inputs) > 1:
        raise UnsupportedModel(
            f"the Keras model {model.name!r}, which takes {len(inputs)} inputs",
            "one input",
            "explain keras.Model(one_input, output), with the others held constant",
        )


# -- what a user passes, and rows -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Takes:
    """What a Keras model takes.

    shape  batch first, None for any size; None where the model does not say
    last   whether pictures go in as [batch, height, width, channel]; rows are [batch, channel, height, width]
    """

    shape: tuple[int | None, ...] | None
    last: bool

    @classmethod
    def of(cls, model: Any) -> Takes:
        """What the model says itself; where its layers do not say where channels are, Keras' own setting."""
        found = getattr(model, "input_shape", None)
        said = {getattr(layer, "data_format", None) for _, layer in _named(model)} - {None}
        last = "channels_last" in said if len(said) == 1 else _keras(model) == "channels_last"
        return cls(tuple(found) if isinstance(found, tuple) else None, last)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether the model takes an array of this shape."""
        if self.shape is None:
            return len(shape) > 1
        sides = zip(self.shape[1:], shape[1:], strict=False)
        return len(shape) == len(self.shape) and all(side in (None, n) for side, n in sides)

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of the pictures, where they are fixed."""
        if self.shape is None or len(self.shape) != 4:
            return None
        height, width = self.shape[1:3] if self.last else self.shape[2:]
        return None if height is None or width is None else (height, width)

    def rows(self, inputs: Any, dtype: torch.dtype, bare: bool) -> Any:
        """Arrays and tensors as the model takes them become rows; all else stays as it is.

        bare  whether no way from photos was given, so that arrays of numbers are rows too
        Raises InputError for tensors of a shape that the model does not take.
        """
        if isinstance(inputs, np.ndarray) and bare and self.fits(inputs.shape):
            inputs = torch.from_numpy(np.ascontiguousarray(inputs)).to(dtype)
        if not isinstance(inputs, Tensor) or (inputs.dtype is torch.uint8 and not bare):
            return inputs
        if not self.fits(tuple(inputs.shape)):
            raise InputError(
                f"rows of shape {tuple(inputs.shape)}",
                f"rows as the Keras model takes them, {self.shape}",
                "Keras takes pictures as [batch, height, width, channel]" if self.last else "",
            )
        rows = inputs.to(dtype) if inputs.dtype is torch.uint8 else inputs
        return rows.movedim(-1, 1) if self.last and rows.ndim == 4 else rows

    def back(self, rows: Tensor) -> Tensor:
        """Rows as the model takes them."""
        return torch.permute(rows, (0, 2, 3, 1)) if self.last and rows.ndim == 4 else rows


def _keras(model: Any) -> str:
    package: Any = next(sys.modules[n] for n in ("keras", "tf_keras") if n in sys.modules)
    return str(package.config.image_data_format() if hasattr(package, "config") else "channels_last")


def _front(preprocess: Any, takes: Takes) -> Preprocess | Table:
    if preprocess is None:
        return Preprocess.identity()
    if isinstance(preprocess, Preprocess | Table):
        return preprocess
    if is_table(preprocess):
        return Table.of(preprocess)
    if not callable(preprocess):
        raise InputError(f"preprocess={str(preprocess)[:60]!r}", "a Preprocess, a function from a photo, or a table")
    own = str(getattr(preprocess, "__module__", "")).partition(".")[0] in ("keras", "tf_keras")
    return Preprocess.from_callable(_first(preprocess, takes.sides if own else None))


def _first(function: Callable[..., Any], sides: tuple[int, int] | None) -> Callable[[Image.Image], Tensor]:
    """A function that answers [height, width, channel] as one that answers [channel, height, width].

    sides  of the picture that Keras' own `preprocess_input` is given, as it does not resize
    """

    def to_row(picture: Image.Image) -> Tensor:
        if sides is not None:
            picture = picture.resize((sides[1], sides[0]), Image.Resampling.BILINEAR)
        row = torch.as_tensor(np.array(function(np.array(picture)), np.float32))
        row = row[0] if row.ndim == 4 and len(row) == 1 else row
        return row.movedim(-1, 0) if row.ndim == 3 and row.shape[-1] in (1, 3) else row

    return to_row


# -- handles ---------------------------------------------------------------------------------------------------


class KerasModel(TorchModel):
    """A handle on a Keras model of the torch backend; arguments as those of `TorchModel`.

    Rows are given as the Keras model takes them, [batch, height, width, channel], and explained as
    [batch, channel, height, width].
    """

    framework = "keras"

    def __init__(
        self, module: KerasModule, preprocess: Any, labels: Sequence[str] | None, *, name: str, **more: Any
    ) -> None:
        self.takes, self.bare = module.takes, preprocess is None
        super().__init__(module, _front(preprocess, module.takes), labels, name=name, **more)

    def given(self, inputs: Any) -> Any:
        """Arrays as Keras takes them, as rows. Raises InputError for those of another shape."""
        return self.takes.rows(inputs, self.dtype, self.bare)


class KerasScores(FunctionModel):
    """A handle on a Keras model of another backend: `model(x, training=False)` gives scores, and nothing else."""

    def __init__(
        self,
        model: Any,
        preprocess: Any,
        labels: Sequence[str] | None,
        *,
        name: str,
        outputs: Selector,
        emits: str | None,
        rows: int | Literal["auto"],
    ) -> None:
        self.takes, self.bare, self.model = Takes.of(model), preprocess is None, model

        def answer(rows: Tensor) -> Tensor:
            raw = model(self.takes.back(rows).numpy(), training=False)
            return scores(_arrays(raw), outputs)

        front = _front(preprocess, self.takes)
        super().__init__(
            answer, front, labels, name=name, emits=emits, rows=rows, framework="keras", source=_Weights(model)
        )

    def given(self, inputs: Any) -> Any:
        """Arrays as Keras takes them, as rows. Raises InputError for those of another shape."""
        return self.takes.rows(inputs, self.dtype, self.bare)


@dataclass(frozen=True, slots=True)
class _Weights:
    """Stands for a model when it is hashed: a Keras archive holds the time at which it was written."""

    model: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ([(v.path, np.asarray(v.value).tobytes()) for v in self.model.variables],))


def _arrays(raw: Any) -> Any:
    """What a model of another framework answers, as torch tensors."""
    if isinstance(raw, dict):
        return {key: _arrays(value) for key, value in raw.items()}
    if isinstance(raw, list | tuple):
        return type(raw)(_arrays(value) for value in raw)
    return raw.detach() if isinstance(raw, Tensor) else torch.as_tensor(np.array(raw))


# -- the model as a torch module -------------------------------------------------------------------------------


class KerasModule(nn.Module):
    """A Keras model, run for inference, as a module of rows [batch, channel, height, width].

    Its named modules are the Keras layers: `conv2d`, and `inner/conv2d` for those of a model inside the model. The
    Keras model cannot be copied without its weights, so it is used in place and put back as it was. Meanwhile its
    batch norms are one call, as rules know them, where Keras computes (x − μ) · γ/√(σ² + ε) + β in pieces.
    """

    def __init__(self, model: Any, borrowed: bool = False) -> None:
        """borrowed: do not keep the model alive."""
        super().__init__()
        self.held = (weakref.ref(model) if borrowed else lambda: model,)
        self.takes = Takes.of(model)
        *below, (self.own, _) = _named(model)
        self.below = dict(below)
        self.drew: frozenset[str] = frozenset()
        """`keras`, where inference draws from one of Keras' own generators."""
        for variable in model.variables:
            name, value = variable.path.replace(".", "·"), variable.value
            name = name if name not in (*self._parameters, *self._buffers) else f"{name} {len(self._parameters)}"
            if isinstance(value, nn.Parameter) and value.is_floating_point():
                self._parameters[name] = value
            else:
                self._buffers[name] = value

    @property
    def inside(self) -> Any:
        """The Keras model. Raises InputError where it was borrowed and is gone."""
        model = self.held[0]()
        if model is None:
            raise InputError("a Keras model that is gone", "a model that is still referred to")
        return model

    @property
    def borrows(self) -> Any:
        """The Keras model where it was borrowed: its attributes hold it, and must not be held elsewhere."""
        return self.inside if isinstance(self.held[0], weakref.ref) else None

    @property
    def layers(self) -> dict[str, Any]:
        """Every layer by its Keras name, the model itself the last."""
        return {**self.below, self.own: self.inside}

    @property
    def channels_last(self) -> frozenset[str]:
        """Layers whose answer is [batch, height, width, channel]; a torch module inside answers as torch does."""
        return frozenset(name for name, layer in self.layers.items() if self.takes.last and is_keras(layer))

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Generator[tuple[str, Any]]:
        """The model itself as "", and every layer by its Keras name."""
        dot = f"{prefix}." if prefix else ""
        yield prefix, self
        yield from ((dot + name, layer) for name, layer in self.layers.items())

    def get_submodule(self, target: str) -> nn.Module:
        """A layer by its name. Raises AttributeError where there is none."""
        if target and target not in self.layers:
            raise AttributeError(f"no layer {target!r}")
        return self.layers[target] if target else self

    def forward(self, x: Tensor) -> Any:
        """The model's answer with training=False."""
        with self._as_it_was():
            try:
                return self.inside(self.takes.back(x), training=False)
            except Exception as error:
                own = _own(error)
                if own is None or own is error:
                    raise
                raise own from None

    def __deepcopy__(self, memo: dict[int, Any]) -> KerasModule:
        raise TypeError("Keras copies the weights of a model with it")

    @contextmanager
    def _as_it_was(self) -> Generator[None]:
        """What a call adds or moves is put back: losses of regularisers, the states of Keras' own generators."""
        norms = [layer for layer in self.layers.values() if _is_norm(layer)]
        losses = [(each, len(each)) for layer in self.layers.values() if (each := _losses(layer)) is not None]
        states = [(t, t.detach().clone(), t._version) for t in self._buffers.values() if t is not None]
        try:
            for norm in norms:
                norm.__dict__["call"] = _whole(norm)
            yield
        finally:
            for norm in norms:
                norm.__dict__.pop("call", None)
            for each, count in losses:
                del each[count:]
            moved = [(t, then) for t, then, version in states if t._version != version]
            self.drew = self.drew | ({"keras"} if moved else frozenset())
            with torch.no_grad():
                for tensor, then in moved:
                    tensor.copy_(then)


def _losses(layer: nn.Module) -> list[Any] | None:
    found = layer.__dict__.get("_losses")
    return found if isinstance(found, list) else None


def _is_norm(layer: nn.Module) -> bool:
    """Whether it is Keras' own batch norm, called in Keras' own way."""
    own = type(layer).__name__ == "BatchNormalization" and type(layer).__module__.startswith("keras.")
    return own and "call" not in layer.__dict__


def _whole(norm: Any) -> Callable[..., Tensor]:
    """A batch norm outside training as one call of torch."""

    def call(inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        x = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        axis = int(norm.axis) % x.ndim
        order = (0, axis, *(i for i in range(1, x.ndim) if i != axis))
        back = tuple(order.index(i) for i in range(x.ndim))
        held = (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
        mean, var, scale, shift = (None if v is None else v.value.to(x.dtype) for v in held)
        x = x if axis == 1 else torch.permute(x, order)
        y = nn.functional.batch_norm(x, mean, var, scale, shift, False, 0.0, float(norm.epsilon))
        y = y if axis == 1 else torch.permute(y, back)
        return y.to(getattr(torch, norm.compute_dtype))

    return call


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    """Every layer once, by the names of the layers around it and its own; the model's own name comes last."""
    seen, taken = {id(model)}, set[str]()

    def walk(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for child in _children(layer):
            if id(child) in seen:
                continue
            seen.add(id(child))
            name = prefix + str(child.name)
            name = name if name not in taken else f"{name} {len(taken)}"
            taken.add(name)
            yield name, child
            yield from walk(child, f"{name}/")
            inner = getattr(child, "module", None) if type(child).__name__ == "TorchModuleWrapper" else None
            if isinstance(inner, nn.Module):
                yield from ((f"{name}/{path}" if path else f"{name}/module", m) for path, m in inner.named_modules())

    yield from walk(model, "")
    yield (str(model.name) if model.name not in taken else f"{model.name} itself"), model


def _children(layer: Any) -> list[Any]:
    """The layers directly inside; what only marks an input does not run."""
    listed = layer.layers if hasattr(layer, "layers") else getattr(layer, "_layers", ())
    return [each for each in listed if is_keras(each) and type(each).__name__ != "InputLayer"]


def _own(error: BaseException) -> PellucidError | None:
    """Our own error, where Keras has raised another one from it that describes its call."""
    found: BaseException | None = error
    own: PellucidError | None = None
    while found is not None:
        own = found if isinstance(found, PellucidError) else own
        found = found.__context__
    return own
