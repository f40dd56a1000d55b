"""The pages of the documentation name what there is."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import pellucid

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page: Path) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_are_there(page: Path) -> None:
    for module, names in re.findall(r"^from (pellucid\S*) import (.*)$", code(page), re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(import_module(module), name) or import_module(f"{module}.{name}")
    for name in re.findall(r"\bpellucid\.(\w+)(?=[(.])", code(page)):
        assert hasattr(pellucid, name), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_is_python(page: Path) -> None:
    compile(code(page), page.name, "exec")
