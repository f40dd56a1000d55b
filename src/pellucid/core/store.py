"""Keeping explanations: safetensors for numbers, JSON for everything else, never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pellucid.core.errors import FileExists, FormatError, InputError
from pellucid.core.explanation import (
    Check,
    Chosen,
    Explanation,
    Explanations,
    Inputs,
    Kind,
    ModelCard,
    Passes,
    Prediction,
    Record,
    cat,
    listed,
)

SCHEMA = 1
SUFFIX = ".safetensors"
INDEX = "explanations.json"


def save(
    what: Explanation | Explanations | Sequence[Explanation], path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write explanations into one file; the round trip is exact.

    path: ends in .safetensors (added when there is no suffix). Raises FileExists unless overwrite, InputError for none.
    The file appears whole or not at all.
    """
    entries = listed(what)
    if not entries:
        raise InputError("no explanations to save", "at least one")
    target = Path(path)
    target = target.with_suffix(SUFFIX) if not target.suffix else target
    if target.exists() and not overwrite:
        raise FileExists(f"{target} exists", "a new file", "choose another name, or overwrite=True")
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    heads = [_head(entry, f"{i}", tensors) for i, entry in enumerate(entries)]
    text = json.dumps({"schema": SCHEMA, "entries": heads}, ensure_ascii=False, allow_nan=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.touch()
        mode = beside.stat().st_mode  # what the user's umask asks for; the library would write for the owner alone
        save_file(tensors, beside, metadata={"pellucid": text})
        beside.chmod(mode)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def load(path: str | Path) -> Explanations:
    """Read what `save` wrote, or a folder that `explain(save=...)` streamed to.

    Raises FormatError for a file that is damaged, of a later schema, or not ours.
    """
    where = Path(path)
    if where.is_dir():
        return Shelf(where, _index(where)).done()
    if not where.exists():
        raise InputError(f"no file {where}", "a file written by pellucid")
    try:
        with safe_open(where, "pt") as file:
            text = (file.metadata() or {}).get("pellucid")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{where} cannot be read: {error}", "a safetensors file written by pellucid") from error
    if text is None:
        raise FormatError(f"{where} holds tensors, but no explanations", "a file written by pellucid")
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise FormatError(f"{where} has schema {document['schema']!r}", f"schema {SCHEMA}", "update pellucid")
        return Explanations(tuple(_entry(head, tensors) for head in document["entries"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{where} is damaged: {error!r}", "a file written by pellucid") from error


def _head(e: Explanation, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Everything but the tensors, which go into `tensors` under names that begin with the prefix."""
    held = {"values": e.values, "picture": e.inputs.picture, "std_error": e.std_error, "outputs": e.outputs}
    held |= {f"extra.{name}": tensor for name, tensor in e.extras.items()}
    for name, tensor in held.items():
        if tensor is not None:
            tensors[f"{prefix}.{name}"] = tensor.detach().cpu().contiguous().clone()
    return {
        "prefix": prefix,
        "dims": e.dims,
        "kind": e.kind.value,
        "look": e.look,
        "target": asdict(e.target),
        "prediction": asdict(e.prediction),
        "inputs": {"name": e.inputs.name, "shape": e.inputs.shape, "notes": e.inputs.notes, **_words(e.inputs)},
        "record": asdict(e.record),
        "checks": [asdict(c) for c in e.checks],
    }


def _words(inputs: Inputs) -> dict[str, Any]:
    """What is there of the texts and tables behind the rows."""
    every = {"tokens": inputs.tokens, "features": inputs.features, "cells": inputs.cells}
    return {name: words for name, words in every.items() if words}


def _entry(head: dict[str, Any], tensors: dict[str, Tensor]) -> Explanation:
    prefix = head["prefix"] + "."
    mine = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    record = dict(head["record"])
    record["model"] = ModelCard(**record["model"])
    record["passes"] = Passes(**record["passes"])
    return Explanation(
        values=mine["values"],
        dims=tuple(head["dims"]),
        kind=Kind(head["kind"]),
        target=_frozen(Chosen, head["target"]),
        prediction=_frozen(Prediction, head["prediction"]),
        inputs=_frozen(Inputs, {**head["inputs"], "picture": mine.get("picture")}),
        record=_frozen(Record, record),
        checks=tuple(_frozen(Check, c) for c in head["checks"]),
        std_error=mine.get("std_error"),
        outputs=mine.get("outputs"),
        look=head["look"],
        extras={n[len("extra.") :]: t for n, t in mine.items() if n.startswith("extra.")},
    )


def _frozen(cls: type[Any], values: dict[str, Any]) -> Any:
    """A value from JSON; lists become tuples again, except inside params."""
    names = {f.name for f in fields(cls)}
    unknown = set(values) - names
    if unknown:
        raise FormatError(f"unknown fields {sorted(unknown)} in {cls.__name__}", f"fields {sorted(names)}")
    return cls(**{k: v if k == "params" else _tuples(v) for k, v in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


class Shelf:
    """A folder to which explanations are streamed, part by part; each part is one file that appears whole.

    `explanations.json` lists the parts that are complete; what is not listed does not exist.
    """

    def __init__(self, folder: Path, parts: list[list[str]], stale: Sequence[str] = ()) -> None:
        self.folder, self.parts, self.stale = folder, parts, stale
        self._places: dict[tuple[int, tuple[int, ...]], int] = {}

    @classmethod
    def new(cls, folder: Path, *, overwrite: bool = False) -> Shelf:
        """An empty folder to stream to. Raises FileExists when it holds explanations already, unless overwrite.

        What it holds is deleted when the first part comes: a call that fails before leaves it as it was.
        """
        if (folder / INDEX).exists() and not overwrite:
            raise FileExists(
                f"{folder} already holds explanations", "a new folder", "choose another, or overwrite=True"
            )
        if folder.exists() and not folder.is_dir():
            raise FileExists(f"{folder} is a file", "a folder")
        folder.mkdir(parents=True, exist_ok=True)
        stale = [name for names in _index(folder) for name in names] if (folder / INDEX).exists() else []
        return cls(folder, [], stale)

    def add(self, number: int, entry: Explanation) -> None:
        """Write one more part of the entry of this number; rows of another shape begin an entry of their own."""
        if not self.parts:
            self._write()
            for name in self.stale:
                (self.folder / name).unlink(missing_ok=True)
        key = (number, entry.inputs.shape)
        if key not in self._places:
            self._places[key] = len(self.parts)
            self.parts.append([])
        place = self._places[key]
        name = f"{number:03d}-{entry.record.method}-{place:03d}-{len(self.parts[place]):05d}{SUFFIX}"
        save(entry, self.folder / name, overwrite=True)
        self.parts[place].append(name)
        self._write()

    def done(self) -> Explanations:
        """All entries; each is read and joined from its parts when it is asked for, and not kept."""
        ordered = sorted((tuple(names) for names in self.parts if names), key=lambda names: names[0])
        return Explanations(OnDisk(self.folder, tuple(ordered)))

    def _write(self) -> None:
        beside = self.folder / f".{INDEX}.part"
        beside.write_text(json.dumps({"schema": SCHEMA, "parts": self.parts}), encoding="utf-8")
        os.replace(beside, self.folder / INDEX)


class OnDisk(Sequence[Explanation]):
    """The entries in a folder, read one at a time."""

    def __init__(self, folder: Path, parts: tuple[tuple[str, ...], ...]) -> None:
        self.folder, self.parts = folder, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return tuple(self[i] for i in range(*which.indices(len(self))))
        return cat([load(self.folder / name)[0] for name in self.parts[which]])

    def __repr__(self) -> str:
        return f"read from {self.folder} when they are used"


def _index(folder: Path) -> list[list[str]]:
    try:
        document = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        parts = document["parts"]
        if document["schema"] != SCHEMA:
            raise FormatError(f"{folder} has schema {document['schema']!r}", f"schema {SCHEMA}", "update pellucid")
        if not all(isinstance(n, str) and Path(n).name == n and n.endswith(SUFFIX) for place in parts for n in place):
            raise FormatError(f"{folder / INDEX} names files outside the folder", "plain file names")
        return parts
    except FormatError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{folder} holds no explanations: {error}", f"a folder with {INDEX}") from error
