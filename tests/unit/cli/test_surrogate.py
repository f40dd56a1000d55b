"""`pellucid surrogate`: rows of a file, or one picture, and a model that one can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import TINY, Run

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

MADE = """
import numpy as np
import pandas as pd
import pellucid

FRAME = pd.DataFrame({"age": np.arange(60) * 7 % 60, "noise": np.arange(60) * 11 % 13})

def score(frame):
    yes = (frame["age"] > 30) * 1.0
    return np.stack([1 - yes, yes], 1)

def make():
    return pellucid.wrap(score, FRAME, ["no", "yes"], name="club")
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "members.py").write_text(MADE)
    return f"{tmp_path / 'members.py'}:make"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("age,noise\n" + "".join(f"{i * 7 % 60},{i * 11 % 13}\n" for i in range(60)))
    return path


def test_a_tree_of_the_rows_of_a_file(run: Run, model: str, rows: Path, tmp_path: Path) -> None:
    done = run("surrogate", model, rows, "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["answers"] == ["no", "yes"]
    assert said["fidelity"]["agreement"] >= 0.9
    assert "age" in said["rules"]
    assert (tmp_path / "out" / "surrogate.png").stat().st_size > 1000
    again = run("surrogate", model, rows, "-o", tmp_path / "out")
    assert again.exit_code == 1 and "in the way" in again.stderr


def test_a_linear_model_of_a_class_and_of_a_picture(run: Run, model: str, rows: Path, cat: Path) -> None:
    done = run("surrogate", model, rows, "--kind", "linear", "--features", "1", "-t", "yes")
    assert done.exit_code == 0, done.stderr
    assert "age" in done.stdout
    picture = run("surrogate", TINY, cat, "--kind", "linear")
    assert picture.exit_code == 0, picture.stderr


def test_what_is_no_table_and_no_picture_is_refused(run: Run, model: str, rows: Path, cat: Path) -> None:
    assert run("surrogate", model).exit_code == 2
    assert run("surrogate", TINY, cat, cat).exit_code == 1
    assert run("surrogate", model, rows, "-t", "perhaps").exit_code == 1
