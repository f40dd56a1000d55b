"""The tool that changes the source: what it changes, what it leaves alone, and that no file is ever written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "mutants.py"
SOURCE = '''"""Numbers in texts stay: 1 + 1."""
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
import warnings

if TYPE_CHECKING:
    LIMIT = 3


@dataclass(slots=True)
class Pair:
    low: "list[0 < 1]" = 0


@lru_cache(maxsize=8)
def between(x: int, pair: Pair) -> "x < 1":
    if x < pair.low:
        raise InputError(f"{x + 1} is too low", "more" + "than that")
    if not x:
        warnings.warn("zero" + "is odd", stacklevel=2)
    return x - pair.low
'''


def loaded(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setitem(sys.modules, "mutants", ModuleType("mutants"))
    made = loaded("mutants", TOOL)
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "one.py").write_text(SOURCE)
    (tmp_path / "core" / "errors.py").write_text("class InputError(Exception): ...\n")
    monkeypatch.setattr(made, "SOURCE", tmp_path)
    return made


def found(tool: ModuleType) -> list[tuple[str, str]]:
    return [(one.before, one.after) for one in tool.mutants(tool.SOURCE / "core" / "one.py")]


def test_only_what_is_computed_is_changed(tool: ModuleType) -> None:
    """No annotation, no text of an error or a warning, no slots, no size of a cache, nothing for checkers alone."""
    assert found(tool) == [
        ("0 of `low: 'list[0 < 1]' = 0`", "1"),
        ("x < pair.low", "x <= pair.low"),
        ("not x", "not not x"),
        ("x - pair.low", "x + pair.low"),
    ]


def test_keys_stay_where_lines_move(tool: ModuleType) -> None:
    file = tool.SOURCE / "core" / "one.py"
    before = {one.key for one in tool.mutants(file)}
    file.write_text("\n\n" + SOURCE + "\n\ndef more(x):\n    return x < 3\n")
    after = {one.key for one in tool.mutants(file)}
    assert len(before) == 4 and before < after and len(after) == 6


def test_a_change_goes_into_what_is_loaded_and_no_file(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    file, text = tool.SOURCE / "core" / "one.py", "def half(x):\n    return x / 2\n"
    file.write_text(text)
    monkeypatch.setitem(sys.modules, "one", ModuleType("one"))
    one = loaded("one", file)
    times, number = tool.mutants(file)
    assert (times.before, times.after, number.after) == ("x / 2", "x * 2", "3")
    assert one.half(6) == 3 and tool.replaced(times) == 1 and one.half(6) == 12
    assert tool.replaced(number) == 0  # what is no longer there cannot be changed
    monkeypatch.setitem(sys.modules, "core.one", ModuleType("core.one"))
    other = ModuleType("core.one")
    tool.Instead(number).exec_module(other)
    assert other.half(6) == 2 and file.read_text() == text
