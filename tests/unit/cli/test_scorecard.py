"""`pellucid scorecard` on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pellucid.cli.app import program

MODEL = "tests.unit.cli.tiny:model"


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    paths = [tmp_path / f"photo{k}.png" for k in range(3)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return list(map(str, paths))


def call(*words: str) -> tuple[int, str]:
    got = CliRunner().invoke(program, ["scorecard", *words])
    return got.exit_code, got.output


def test_page_numbers_and_picture(photos: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said = call(
        MODEL, *photos, "-m", "gradient,grad_cam", "--metric", "deletion", "--again", "1", "-o", str(out), "-q"
    )
    assert code == 0, said
    assert {p.name for p in out.iterdir()} == {"scorecard.html", "scorecard.json", "scorecard.png"}
    kept = json.loads((out / "scorecard.json").read_text(encoding="utf-8"))
    assert {one["method"] for one in kept["lines"]} >= {"gradient", "grad_cam", "control_random"}
    assert "Which method to believe" in (out / "scorecard.html").read_text(encoding="utf-8")
    code, said = call(MODEL, *photos, "-o", str(out))
    assert code == 1 and "in the way" in said


def test_json_and_wrong_command_lines(photos: list[str]) -> None:
    code, said = call(
        *(MODEL, *photos, "-m", "gradient", "--metric", "deletion", "--no-sanity", "--no-controls", "--json"),
        "--no-progress",
    )
    assert code == 0, said
    assert json.loads(said[said.index("{") : said.rindex("}") + 1])["advice"]["method"] == "gradient"
    assert call(MODEL, "-M", MODEL, *photos)[0] == 2
    assert call(MODEL, *photos, "--metric", "nothing")[0] == 1
    assert call(MODEL, "nowhere.png")[0] == 1
