"""Tables on the command line: files of comma-separated values, for a model that was wrapped with its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import TINY, Run

pd = pytest.importorskip("pandas")

MADE = """
import numpy as np
import pandas as pd
import pellucid

FRAME = pd.DataFrame({
    "age": np.arange(20, 80) % 37, "weight": np.linspace(50, 90, 60), "city": ["Bern", "Rome", "Oslo"] * 20,
    "code": ["1", "2"] * 30, "since": pd.date_range("2020-01-01", periods=60),
})

def score(frame):
    chance = 1 / (1 + np.exp(-((frame["age"] > 18) * 2.0 - (frame["city"] == "Rome") * 3.0 + (frame["code"] == "2"))))
    return np.stack([1 - chance, chance], 1)

def make():
    return pellucid.wrap(score, FRAME, ["no", "yes"], name="club")
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "club.py").write_text(MADE)
    return f"{tmp_path / 'club.py'}:make"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("city,age,extra,weight,code,since\nRome,25,x,60.5,2,2020-01-05\nBern,7,y,,1,2020-02-01\n")
    return path


def test_rows_of_a_file_are_explained(run: Run, model: str, rows: Path, tmp_path: Path) -> None:
    done = run(
        "explain",
        model,
        rows,
        "-m",
        "tabular_lime",
        "--param",
        "tabular_lime.samples=300",
        "--json",
        "-o",
        tmp_path / "o",
    )
    assert done.exit_code == 0, done.stderr
    (entry,) = json.loads(done.stdout)["explanations"]
    first, second = entry["rows"]
    assert [c["column"] for c in first["columns"]] == ["age", "weight", "city", "code", "since"]
    assert [c["cell"] for c in second["columns"]] == [7, "missing", "Bern", "1", "2020-02-01"]
    assert {c["column"]: c["says"] for c in first["columns"]}["city"] == "city = Rome"
    assert max(first["columns"], key=lambda c: abs(c["value"]))["column"] == "city"
    page = (tmp_path / "o" / "report.html").read_text()
    assert "Row 1 of 2" in page and "photos" not in page.partition("<main")[2].partition("<footer")[0].replace(
        "the photos", ""
    )
    assert len(list((tmp_path / "o" / "maps").iterdir())) == 2


def test_without_a_method_those_for_tables_are_taken(run: Run, model: str, rows: Path) -> None:
    done = run("explain", model, rows, "--json")
    methods = [e["method"] for e in json.loads(done.stdout)["explanations"]]
    assert methods == ["tabular_lime", "kernel_shap"]
    assert "row 1" in run("explain", model, rows, "-m", "kernel_shap").stdout
    assert json.loads(run("plan", model, rows, "-m", "kernel_shap", "--json").stdout)["what"] == "row"


def test_several_files_are_one_table_and_models_can_be_compared(run: Run, model: str, rows: Path) -> None:
    done = run("explain", model, rows, rows, "-m", "kernel_shap", "--json")
    assert len(json.loads(done.stdout)["explanations"][0]["rows"]) == 4
    both = run("compare", model, model, rows, "-m", "kernel_shap", "--json")
    assert len(json.loads(both.stdout)["explanations"]) == 2


def test_what_cannot_be_read_is_refused(run: Run, model: str, rows: Path, tmp_path: Path) -> None:
    missing = run("explain", model, tmp_path / "row.csv")
    assert missing.exit_code != 0 and "perhaps" in missing.stderr and "rows.csv" in missing.stderr
    (tmp_path / "less.csv").write_text("city,age\nRome,3\n")
    assert "without weight, code, since" in run("explain", model, tmp_path / "less.csv").stderr
    (tmp_path / "none.csv").write_text("city,age,weight,code,since\n")
    assert "without rows" in run("explain", model, tmp_path / "none.csv").stderr
    (tmp_path / "other.csv").write_text(rows.read_text().replace("Rome", "Roma"))
    assert "Roma" in run("explain", model, tmp_path / "other.csv").stderr
    assert "takes rows of a table" in run("explain", model, "a text with spaces").stderr
    assert "is a table" in run("explain", TINY, rows).stderr
    assert "models of tables beside" in run("compare", model, TINY, rows).stderr


def test_rows_have_a_scorecard_and_a_doctor(run: Run, model: str, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "card"
    done = run("scorecard", model, rows, "-m", "kernel_shap,tabular_lime", "--metric", "deletion", "-o", out)
    assert done.exit_code == 0, done.output
    assert "2 rows, 95% intervals of the mean over rows" in done.output and "photo" not in done.output
    page = (out / "scorecard.html").read_text(encoding="utf-8")
    assert "<dt>Rows</dt>" in page and "photo" not in page.partition("</head>")[2].partition("<script")[0].lower()
    usual = run("scorecard", model, rows, "--no-sanity", "--json")
    assert usual.exit_code == 0, usual.output
    found = run("doctor", model, rows)
    assert found.exit_code == 0 and "club" in found.output
    assert "photos" in run("scorecard", model).stderr
