"""Readers of files against broken ones: whatever stands in them, only our own errors come out."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools import fuzz

from pellucid.core.errors import FormatError, PellucidError
from pellucid.core.measurements import Measurements
from pellucid.core.store import INDEX, load

DATA = Path(__file__).parents[2] / "data"
KEPT = sorted((DATA / "crashes").rglob("*")) + sorted((DATA / "seeds").rglob("*"))


@pytest.mark.parametrize("file", [f for f in KEPT if f.is_file()], ids=lambda f: f"{f.parent.name}/{f.name}")
def test_what_broke_once_is_refused(file: Path) -> None:
    """Files that broke a reader once, and whole ones."""
    fuzz.tried(file.parent.name, file.read_bytes())


def edited(whole: bytes, edits: list[tuple[int, bytes]], cut: int) -> bytes:
    out = bytearray(whole)
    for at, new in edits:
        out[at % len(out) : at % len(out) + len(new)] = new
    return bytes(out[: cut or None])


EDITS = st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=4)), max_size=4)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["schema", "kind", "entries", "parts", "values"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def paths(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The addresses of everything in a document."""
    found = [at]
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        found += paths(value, (*at, key))
    return found


def put(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[at[0]] = put(copy[at[0]], at[1:], value)
    return copy


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_only_our_errors_escape_from_measurements(data: st.DataObject, tmp_path_factory: Any) -> None:
    whole = json.loads((DATA / "seeds/measurements/one.json").read_text(encoding="utf-8"))
    document = put(whole, data.draw(st.sampled_from(paths(whole))), data.draw(JSON))
    file = tmp_path_factory.getbasetemp() / "measurements.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with suppress(PellucidError):
        str(Measurements.read(file))


@pytest.mark.parametrize("instead", [{}, [], None, "a", 0.5, {"number": "nan"}])
def test_a_value_of_another_kind_anywhere_in_measurements(instead: Any, tmp_path: Path) -> None:
    whole = json.loads((DATA / "seeds/measurements/one.json").read_text(encoding="utf-8"))
    for at in paths(whole):
        (tmp_path / "one.json").write_text(json.dumps(put(whole, at, instead)), encoding="utf-8")
        with suppress(PellucidError):
            str(Measurements.read(tmp_path / "one.json"))


@settings(max_examples=100, deadline=None)
@given(edits=EDITS, cut=st.integers(0, 3000))
def test_only_our_errors_escape_from_edited_measurements(
    edits: list[tuple[int, bytes]], cut: int, tmp_path_factory: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "edited.json"
    file.write_bytes(edited((DATA / "seeds/measurements/one.json").read_bytes(), edits, cut))
    with suppress(FormatError):
        Measurements.read(file)


@settings(max_examples=150, deadline=None)
@given(document=JSON | st.fixed_dictionaries({"schema": st.just(1), "parts": JSON}))
def test_only_our_errors_escape_from_an_index(document: Any, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "index"
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_text(json.dumps(document), encoding="utf-8")
    with suppress(PellucidError):
        list(load(folder))
