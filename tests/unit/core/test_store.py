"""Files: the round trip is exact, and whatever is damaged is refused, never guessed at."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.unit.core.values import made, same, tensors, words

from pellucid.core.errors import FileExists, FormatError, InputError
from pellucid.core.explanation import Check, Explanations
from pellucid.core.store import INDEX, SCHEMA, Shelf, load, save

FILES = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.safetensors"


# -- the round trip ----------------------------------------------------------------------------------------------

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(
    batch=st.integers(1, 3),
    shape=st.sampled_from([(), (4,), (2, 3), (3, 2, 2), (1, 1, 1)]),
    dtype=st.sampled_from(DTYPES),
    picture=st.booleans(),
    error=st.booleans(),
    count=st.integers(1, 3),
)
@FILES
def test_what_is_loaded_is_what_was_saved(
    tmp_path: Path, batch: int, shape: tuple[int, ...], dtype: torch.dtype, picture: bool, error: bool, count: int
) -> None:
    std_error = torch.rand(batch, *shape).to(dtype) if error else None
    kept = [made(batch, shape, dtype=dtype, picture=picture, first=i, std_error=std_error) for i in range(count)]
    where = save(kept, tmp_path / "many.safetensors", overwrite=True)
    got = load(where)
    assert len(got) == count
    assert all(same(a, b) for a, b in zip(got, kept, strict=True))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(name=NAMES, extra=NAMES, said=NAMES)
@FILES
def test_any_name_is_kept(tmp_path: Path, name: str, extra: str, said: str) -> None:
    entry = made(1, extras={extra: torch.ones(1), "a/b.c": torch.zeros(1)})
    entry = replace(entry, inputs=replace(entry.inputs, name=(name,)), record=replace(entry.record, decisions=(said,)))
    assert same(load(save(entry, tmp_path / "named.safetensors", overwrite=True))[0], entry)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_kept(path: Path, value: float) -> None:
    check = Check(name="gap", value=(value, 1.0), passed=(False, True), limit=value)
    entry = made(checks=(check,), values=torch.full((2, 3, 4, 5), value))
    assert same(load(save(entry, path))[0], entry)


def test_a_slice_that_shares_its_memory_is_kept_alone(path: Path) -> None:
    entry = made(50)[7]
    assert same(load(save(entry, path))[0], entry)
    assert path.stat().st_size < 10_000


def test_tensors_of_any_layout_and_of_a_graph_are_kept(path: Path) -> None:
    values = torch.rand(2, 3, 4, 5, requires_grad=True).to(memory_format=torch.channels_last)
    entry = made(values=values)
    assert torch.equal(load(save(entry, path))[0].values, values.detach())


def test_many_entries_are_told_apart_by_their_whole_number(path: Path) -> None:
    entries = [made(1, first=i) for i in range(12)]
    got = load(save(entries, path))
    assert [e.inputs.name for e in got] == [(f"photo {i}",) for i in range(12)]


# -- where it goes -----------------------------------------------------------------------------------------------


def test_the_suffix_is_added_where_there_is_none(tmp_path: Path) -> None:
    assert save(made(), tmp_path / "a").name == "a.safetensors"
    assert save(made(), str(tmp_path / "b.safetensors")).name == "b.safetensors"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    assert save(made(), tmp_path / "a" / "b" / "c.safetensors").exists()


def test_a_file_is_not_overwritten_unless_asked(path: Path) -> None:
    save(made(1), path)
    before = path.read_bytes()
    with pytest.raises(FileExists, match="overwrite=True"):
        save(made(2), path)
    assert path.read_bytes() == before
    save(made(2), path, overwrite=True)
    assert len(load(path)[0]) == 2


def test_nothing_else_is_left_behind(path: Path) -> None:
    save(made(), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(made(1), path)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pellucid.core.store.os.replace", full)
    with pytest.raises(OSError, match="no space"):
        save(made(2), path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("nothing", [[], Explanations(), ()])
def test_nothing_is_not_saved(path: Path, nothing: Any) -> None:
    with pytest.raises(InputError, match="no explanations"):
        save(nothing, path)


# -- files that are not right --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save(
        [made(2), made(1, std_error=torch.ones(1, 3, 4, 5))], tmp_path_factory.mktemp("whole") / "a"
    ).read_bytes()


@given(data=st.data())
@settings(FILES, max_examples=60)
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    (tmp_path / "cut").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(FormatError):
        load(tmp_path / "cut")


@given(data=st.data())
@settings(FILES, max_examples=150)
def test_a_file_with_flipped_bits_is_refused_or_still_explanations(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    """Half of the flips hit the words, which have structure, and half hit anywhere."""
    head = 8 + int.from_bytes(whole[:8], "little")
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, (head if data.draw(st.booleans()) else len(whole)) - 1))
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "flipped").write_bytes(damaged)
    try:
        got = load(tmp_path / "flipped")
    except (FormatError, InputError):
        return
    for entry in got:
        assert repr(entry)
        assert [row.inputs.name for row in entry]


def rewritten(whole: bytes, change: Any) -> bytes:
    """The file with its own document changed."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    document = json.loads(header["__metadata__"]["pellucid"])
    header["__metadata__"]["pellucid"] = json.dumps(change(document) or document)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


CHANGES: dict[str, Any] = {
    "of a later schema": lambda d: d.update(schema=SCHEMA + 1),
    "without a schema": lambda d: d.pop("schema") and None,
    "that is a list": lambda d: [1],
    "that is a number": lambda d: 3,
    "without entries": lambda d: d.pop("entries") and None,
    "with entries that are no list": lambda d: d.update(entries=7),
    "with an entry that is a word": lambda d: d.update(entries=["word"]),
    "with an unknown kind": lambda d: d["entries"][0].update(kind="mood"),
    "with an unknown field": lambda d: d["entries"][0]["target"].update(mood="blue"),
    "without a field": lambda d: d["entries"][0]["record"].pop("model") and None,
    "with too few dims": lambda d: d["entries"][0].update(dims=["batch"]),
    "with another prefix": lambda d: d["entries"][0].update(prefix="9"),
    "with too few names": lambda d: d["entries"][0]["inputs"].update(name=["one"]),
    "with too many scores": lambda d: d["entries"][0]["target"].update(score=[1.0, 2.0, 3.0]),
    "with a check of too few values": lambda d: d["entries"][0]["checks"][0].update(value=[1.0]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_document(path: Path, whole: bytes, name: str) -> None:
    path.write_bytes(rewritten(whole, CHANGES[name]))
    with pytest.raises(FormatError):
        load(path)


def test_a_later_schema_is_answered_with_an_update(path: Path, whole: bytes) -> None:
    path.write_bytes(rewritten(whole, CHANGES["of a later schema"]))
    with pytest.raises(FormatError, match="update pellucid"):
        load(path)


def test_somebody_elses_safetensors_are_refused(path: Path) -> None:
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(FormatError, match="no explanations"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04" + b"a" * 99, b"{}"])
def test_what_is_no_safetensors_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FormatError, match="cannot be read"):
        load(path)


def test_a_file_that_is_not_there_is_an_input_error(path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        load(path)


# -- folders -----------------------------------------------------------------------------------------------------


def parts() -> Iterator[tuple[int, Any]]:
    """Two methods on three waves of two photos."""
    for wave in range(3):
        for place, method in enumerate(("gradient", "grad_cam")):
            yield place, made(2, first=2 * wave, method=method)


def filled(folder: Path) -> Shelf:
    shelf = Shelf.new(folder)
    for place, entry in parts():
        shelf.add(place, entry)
    return shelf


def test_a_folder_gives_back_the_joined_entries(tmp_path: Path) -> None:
    done = filled(tmp_path / "run").done()
    for got in (done, load(tmp_path / "run")):
        assert [e.record.method for e in got] == ["gradient", "grad_cam"]
        assert all(e.inputs.name == tuple(f"photo {i}" for i in range(6)) for e in got)
        assert torch.equal(got[0].values, torch.cat([made(2, first=2 * wave).values for wave in range(3)]))


def test_a_run_that_was_killed_leaves_what_was_complete(tmp_path: Path) -> None:
    """After every part the folder reads as what has been added."""
    shelf = Shelf.new(tmp_path / "run")
    count = {0: 0, 1: 0}
    for place, entry in parts():
        shelf.add(place, entry)
        count[place] += 2
        assert [len(e) for e in load(tmp_path / "run")] == [n for n in count.values() if n]


def test_a_part_that_was_being_written_does_not_exist(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    (tmp_path / "run" / ".half.safetensors.1.part").write_bytes(b"half")
    (tmp_path / "run" / "000-gradient-99999.safetensors").write_bytes(b"half")
    assert len(load(tmp_path / "run")[0]) == 6


def test_rows_of_other_shapes_make_entries_of_their_own_beside_those_of_their_method(tmp_path: Path) -> None:
    shelf = Shelf.new(tmp_path / "run")
    for first, side in ((0, 4), (1, 6), (2, 4)):
        for place, method in enumerate(("z", "a")):
            entry = made(1, (3, side, side), method=method, first=first)
            shelf.add(place, replace(entry, inputs=replace(entry.inputs, shape=(3, side, side))))
    for got in (shelf.done(), load(tmp_path / "run")):
        assert [(e.record.method, e.inputs.shape[1], len(e)) for e in got] == [
            ("z", 4, 2),
            ("z", 6, 1),
            ("a", 4, 2),
            ("a", 6, 1),
        ]


def test_a_folder_with_explanations_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with pytest.raises(FileExists, match="overwrite=True"):
        Shelf.new(tmp_path / "run")
    assert len(load(tmp_path / "run")) == 2


def test_overwriting_deletes_the_old_parts_when_the_first_new_one_comes(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    shelf = Shelf.new(tmp_path / "run", overwrite=True)
    assert len(load(tmp_path / "run")[0]) == 6
    shelf.add(0, made(1))
    assert [len(e) for e in load(tmp_path / "run")] == [1]
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 1


def test_overwriting_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    (tmp_path / "run" / "mine.safetensors").write_bytes(b"mine")
    Shelf.new(tmp_path / "run", overwrite=True).add(0, made(1))
    assert (tmp_path / "run" / "mine.safetensors").read_bytes() == b"mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(FileExists, match="is a file"):
        Shelf.new(tmp_path / "run")


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"schema": 1}',
        '{"schema": 9, "parts": []}',
        '{"schema": 1, "parts": 7}',
        '{"schema": 1, "parts": [7]}',
        '{"schema": 1, "parts": [[7]]}',
        '{"schema": 1, "parts": [["../a.safetensors"]]}',
        '{"schema": 1, "parts": [["/etc/a.safetensors"]]}',
        '{"schema": 1, "parts": [["a.pickle"]]}',
        "\udcff",
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, document: str) -> None:
    (tmp_path / INDEX).write_bytes(document.encode(errors="surrogateescape"))
    with pytest.raises(FormatError):
        load(tmp_path)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no explanations"):
        load(tmp_path)


def test_entries_of_a_folder_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    got = filled(tmp_path / "run").done()
    (tmp_path / "run" / "000-gradient-000-00001.safetensors").unlink()
    assert len(got) == 2
    assert len(got[1]) == 6
    with pytest.raises(InputError, match="no file"):
        got[0]


def test_loading_reads_no_numbers_before_they_are_used(path: Path) -> None:
    """A file much larger than what its words need is mapped, not copied."""
    save(made(1, (1, 3000, 3000), dtype=torch.float64), path)
    before = resident()
    got = load(path)[0]
    assert resident() - before < 20e6
    assert float(got.values[0, 0, -1, -1]) == 3000**2 - 1


def resident() -> float:
    lines = Path("/proc/self/statm")
    if not lines.exists():
        pytest.skip("resident memory is read from /proc")
    return int(lines.read_text().split()[1]) * 4096


def test_the_helper_of_these_tests_sees_differences() -> None:
    a, b = made(), made(values=made().values + 1e-30)
    assert same(a, made())
    assert not same(a, replace(b, values=b.values + 1))
    assert words(a) != words(made(first=1))
    assert not same(a, made(outputs=made().outputs + 1))
    assert not same(a, made(look="rgb"))
    assert tensors(a).keys() == {"values", "picture", "std_error", "outputs", "steps"}
