"""The tutorials run, their pages are what the programs say, and every picture is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.tutorials import PAGES, SCRIPTS, page, run

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
NAMES = [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_the_page_is_that_of_the_program(script: Path) -> None:
    written = (PAGES / f"{script.stem}.md").read_text()
    assert written == page(script.read_text(), script.stem), "run `python -m tools.tutorials`"
    pictures = set(re.findall(r"\]\(([^)]*\.png)\)", written))
    assert pictures == {path.name for path in PAGES.glob(f"{script.stem}-*.png")}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_the_program_runs_and_makes_its_pictures(script: Path, tmp_path: Path) -> None:
    said = run(script, tmp_path)
    made = {path.name for path in tmp_path.rglob("*.png")}
    assert made == {path.name for path in PAGES.glob(f"{script.stem}-*.png")}
    if script.stem == "table":
        right, agreed = (
            float(found)
            for found in re.findall(r"right for ([\d.]+)%|class on ([\d.]+) %", said)
            for found in found
            if found
        )
        assert right > 88 and agreed > 85 and "then benign" in said
    else:
        first, *others = said.strip().splitlines()
        assert "cold" in first and all("excellent" in line and "loved" in line for line in others)


def test_cells_become_prose_and_code() -> None:
    script = '"""A title."""\n\n# %% [markdown]\n# One.\n#\n# - two\n#     code\n\n# %%\nx = 1\n\n\n# %%\ny = 2\n'
    told = page(script, "it")
    assert told.startswith("# A title\n\n`python -m examples.tutorials.it`")
    assert "One.\n\n- two\n    code\n\n```python\nx = 1\n```\n\n```python\ny = 2\n```\n" in told
