"""Inputs in batches that bound the memory of the running results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from textwrap import shorten
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from pellucid import images
from pellucid.adapters import FunctionModel, Handle, TorchModel
from pellucid.core.errors import InputError, NonFinite
from pellucid.core.explanation import Inputs
from pellucid.core.target import width
from pellucid.engine import Task
from pellucid.preprocess import Preprocess, Tokens, reads_texts
from pellucid.preprocess.tokens import Text

WAVE = 256 * 2**20
"""Bytes of running results at once; inputs beyond it go in waves."""


@dataclass(frozen=True, slots=True, eq=False)
class Wave:
    """Inputs that go together."""

    x: Tensor
    inputs: Inputs
    last: bool
    kept: bool = False
    """Made of the pictures in eight bits that explanations keep."""


def still(handle: Handle) -> AbstractContextManager[None]:
    """For the length of a call: a model that can only be hashed, to know whether it is the same, is hashed once."""
    return handle.still() if isinstance(handle, FunctionModel) else nullcontext()


@runtime_checkable
class Reads(Protocol):
    """A front that reads whatever its users have: frames, arrays, texts."""

    def rows_of(self, inputs: Any) -> tuple[Tensor, Inputs]:
        """Rows [count, ...], and what they are. Raises InputError for what cannot be read."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Inputs that a front has read, as it gave them."""

    rows: Tensor
    inputs: Inputs


def read(handle: Handle, inputs: Any, again: bool) -> Any:
    """Inputs to go through: what a front reads as a whole is read once for all, frames and texts.

    again: they are gone through more than once, so that iterators become lists
    """
    if isinstance(handle.preprocess, Reads):
        return Read(*handle.preprocess.rows_of(handle.given(inputs)))
    return listed(inputs) if again else inputs


def waves_of(handle: Handle, inputs: Any, tasks: Sequence[Task]) -> Iterator[Wave]:
    """Inputs in batches that bound the memory of the running results; as users pass them, or `read`."""
    copies = 3 * sum(sum(map(width, task.targets)) for task in tasks) + 1
    if isinstance(inputs, Read):
        yield from _read_waves(handle, inputs.rows, inputs.inputs, copies)
        return
    inputs = handle.given(inputs)
    if isinstance(handle.preprocess, Reads):
        yield from _read_waves(handle, *handle.preprocess.rows_of(inputs), copies)
        return
    if isinstance(inputs, Tensor) and inputs.dtype != torch.uint8:
        yield from _row_waves(handle, inputs, copies)
        return
    if isinstance(handle.preprocess, Tokens):
        texts = handle.preprocess.read(inputs)  # refuses what is no text
        ids = handle.preprocess.rows(texts).to(handle.device)
        yield from _id_waves(handle, ids, copies, texts)
        return
    preprocess = handle.preprocess
    if not isinstance(preprocess, Preprocess):
        raise InputError(f"a {type(inputs).__name__} for {handle.name}", "rows, as a tensor")
    _no_table(handle, inputs)
    waiting: list[_Seen] = []
    for seen in (_seen(handle, preprocess, photo) for photo in images.read_each(inputs)):
        first = waiting[0].row if waiting else seen.row
        if waiting and (seen.row.shape != first.shape or len(waiting) >= _many(first, copies)):
            yield _photo_wave(handle, waiting, False)
            waiting = []
        waiting.append(seen)
    if not waiting:
        raise InputError("no photos", "at least one photo")
    yield _photo_wave(handle, waiting, True)


def listed(inputs: Any) -> Any:
    """Inputs that can be gone through more than once."""
    return list(inputs) if isinstance(inputs, Iterator) else inputs


def kept(handle: Handle, inputs: Any) -> Any:
    """Inputs that can be looked at more than once, and cut: photos are read, whatever gives one at a time is listed."""
    inputs = handle.given(inputs)
    rows = isinstance(inputs, Tensor) and inputs.dtype != torch.uint8
    if not rows and isinstance(handle.preprocess, Preprocess) and not isinstance(handle.preprocess, Reads):
        _no_table(handle, inputs)
        return images.read_many(inputs)
    return listed(inputs)


def _no_table(handle: Handle, inputs: Any) -> None:
    """Raise InputError for a table where photos are expected."""
    frame = hasattr(inputs, "columns") or hasattr(inputs, "column_names")
    array = isinstance(handle, FunctionModel) and isinstance(inputs, np.ndarray) and inputs.ndim == 2
    if frame or (array and inputs.dtype.kind == "f" and bool(((inputs < 0) | (inputs > 1)).any())):
        raise InputError(
            f"a table for {handle.name}, which was wrapped without one",
            "photos",
            "of a model of tables: pellucid.wrap(model, table), with the one that it was trained on",
        )


def _read_waves(handle: Handle, rows: Tensor, inputs: Inputs, copies: int) -> Iterator[Wave]:
    rows = rows.to(handle.device, handle.dtype)
    step = _many(rows[0], copies)
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        yield Wave(rows[here], inputs[here], start + step >= len(rows))


def _many(row: Tensor, copies: int) -> int:
    return max(1, min(1024, WAVE // (row.numel() * row.element_size() * copies)))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A photo as the model sees it; the photo itself, which may be large, is forgotten."""

    row: Tensor
    view: Tensor | None
    name: str
    notes: tuple[str, ...]


def _seen(handle: Handle, preprocess: Preprocess, photo: images.Photo) -> _Seen:
    view = None if preprocess.affine is None else torch.from_numpy(preprocess.view(photo))
    return _Seen(preprocess.rows([photo], handle.dtype)[0], view, photo.name, photo.notes)


def _photo_wave(handle: Handle, photos: Sequence[_Seen], last: bool) -> Wave:
    x = _ordinary(torch.stack([p.row for p in photos]).to(handle.device))
    views = [p.view for p in photos if p.view is not None]
    about = Inputs(
        name=tuple(p.name for p in photos),
        picture=torch.stack(views) if views else None,
        shape=tuple(x.shape[1:]),
        notes=tuple(p.notes for p in photos),
    )
    return Wave(x, about, last)


def _row_waves(handle: Handle, rows: Tensor, copies: int) -> Iterator[Wave]:
    if rows.dtype in (torch.int64, torch.int32) and rows.ndim == 2 and _vectors(handle) and len(rows):
        yield from _id_waves(handle, rows.detach().to(handle.device, torch.int64), copies, ())
        return
    if not rows.is_floating_point():
        raise InputError(
            f"rows of dtype {rows.dtype}",
            "floating point rows, or token ids [batch, tokens] for a model with an nn.Embedding",
            "rows.float(), or pass photos as uint8",
        )
    if rows.ndim < 2:
        raise InputError(f"rows of shape {tuple(rows.shape)}", "[batch, ...], a batch of rows", "rows[None]")
    if len(rows) == 0:
        raise InputError("an empty batch", "at least one row")
    if not finite(rows):
        raise NonFinite("rows with NaN or infinity", "finite numbers")
    dtype = handle.dtype if isinstance(handle, TorchModel) else rows.dtype
    rows = _ordinary(rows.detach().as_subclass(Tensor).to(handle.device, dtype))
    step = _many(rows[0], copies)
    for start in range(0, len(rows), step):
        x = rows if step >= len(rows) else rows[start : start + step]
        yield Wave(x, _row_inputs(handle, x, start), start + step >= len(rows))


def _id_waves(handle: Handle, ids: Tensor, copies: int, texts: Sequence[Text]) -> Iterator[Wave]:
    """Rows of token ids; what is explained of them are their vectors, which are larger."""
    ids = _ordinary(ids)
    step = max(1, _many(ids[0], copies * _vectors(handle)))
    names = numbered([shorten(one.text, 80, placeholder=" …") for one in texts])
    for start in range(0, len(ids), step):
        x = ids if step >= len(ids) else ids[start : start + step]
        here = slice(start, start + step)
        yield Wave(x, _text_inputs(handle, x, texts[here], names[here], start), start + step >= len(ids))


def numbered(names: Sequence[str]) -> list[str]:
    """Names of which no two are the same: those that come again get a number."""
    seen: dict[str, int] = {}
    out: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def _vectors(handle: Handle) -> int:
    """Width of the widest token vectors of a model; 0 where it has none."""
    if not isinstance(handle, TorchModel):
        return 0
    return max((m.embedding_dim for m in handle.module.modules() if isinstance(m, nn.Embedding)), default=0)


def _text_inputs(handle: Handle, ids: Tensor, texts: Sequence[Text], names: Sequence[str], start: int) -> Inputs:
    shape, preprocess = tuple(ids.shape[1:]), handle.preprocess
    if texts:
        return Inputs(
            name=tuple(names),
            picture=None,
            shape=shape,
            notes=tuple(one.notes for one in texts),
            tokens=tuple(one.pieces for one in texts),
        )
    rows = tuple(f"row {start + i + 1}" for i in range(len(ids)))
    pieces: tuple[tuple[str, ...], ...] = ()
    if isinstance(preprocess, Tokens):
        pieces = tuple(preprocess.pieces(preprocess.unpadded(row)) for row in ids)
    return Inputs(name=rows, picture=None, shape=shape, notes=((),) * len(ids), tokens=pieces)


def _ordinary(rows: Tensor) -> Tensor:
    """Rows that autograd may use, also when they were made under `inference_mode`."""
    with torch.inference_mode(False):
        return rows.clone() if rows.is_inference() else rows


def _row_inputs(handle: Handle, x: Tensor, start: int) -> Inputs:
    names = tuple(f"row {start + i + 1}" for i in range(len(x)))
    picture = None
    preprocess = handle.preprocess
    if x.ndim == 4 and x.shape[1] in (1, 3) and isinstance(preprocess, Preprocess) and preprocess.linked:
        picture = torch.from_numpy(preprocess.shown(x))
    return Inputs(name=names, picture=picture, shape=tuple(x.shape[1:]), notes=((),) * len(x))


def example_of(handle: Handle) -> Tensor:
    """A grey row of the model's own size, to look with."""
    preprocess = handle.preprocess
    if not isinstance(preprocess, Preprocess):
        takes = "texts" if reads_texts(preprocess) else "no pictures"
        raise InputError(f"{handle.name} takes {takes}", "an input to look with", "layers(model, input)")
    size = preprocess.size
    if size is None:
        raise InputError(f"{handle.name} takes pictures of any size", "a photo to look with", "layers(model, photo)")
    grey = torch.full((*size, 3), 127, dtype=torch.uint8).numpy()
    return preprocess.rows([images.read(grey)], handle.dtype).to(handle.device)


def how_many(handle: Handle, inputs: Any) -> int | None:
    """How many images or texts there are, without a look at them; as users pass them, or `read`."""
    if isinstance(inputs, Read):
        return len(inputs.rows)
    inputs = handle.given(inputs)
    if isinstance(inputs, str) and isinstance(handle.preprocess, Tokens):
        return 1
    if isinstance(inputs, Tensor) and inputs.dtype != torch.uint8 and inputs.ndim:
        return len(inputs)
    return len(inputs) if isinstance(handle.preprocess, Tokens) else images.count(inputs)


def finite(tensor: Tensor) -> bool:
    """Whether all is finite; one sum tells, unless it overflows."""
    return isfinite(float(tensor.detach().sum())) or bool(torch.isfinite(tensor).all())
