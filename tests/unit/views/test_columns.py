"""Rows of a table in pictures, pages and documents: names, bars in proportion, signs, what is left out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid
from pellucid import LIME, Table, TabularLIME
from pellucid.cli.document import document
from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation
from pellucid.views import describe, panel
from pellucid.views.columns import columns, tones
from pellucid.views.drawing import draw, shared_scale
from pellucid.views.figure import Box, Text
from pellucid.views.notebook import mime_bundle
from pellucid.views.palette import palette
from pellucid.views.words import noun_of, what

NAMES = ["age", "height", "steps", "pulse <b>"]
DATA = np.random.default_rng(0).normal(size=(80, 4)) * [10, 5, 100, 3] + [50, 170, 900, 70]
TABLE = Table.of(DATA, names=NAMES)
W = np.array([1.0, -4.0, 0.0, 0.5])


def explained(method: Any = None, rows: int = 2) -> Explanation:
    handle = pellucid.wrap(lambda x: (x > np.median(DATA, 0)) @ W, TABLE, name="by hand")
    return pellucid.explain(handle, DATA[:rows], method or TabularLIME(samples=400, bins=2, ridge=0.0))[0]


ROW = explained()


def test_bars_are_as_long_as_the_numbers_and_go_to_their_side() -> None:
    bars = columns(ROW)[0]
    values = ROW.values[0].tolist()
    assert [abs(column.value) for column in bars.columns] == sorted(map(abs, values), reverse=True)[: len(bars.columns)]
    zero = bars.at(0.0)
    for column in bars.columns:
        start, end = bars.span(column)
        assert (end - start) / abs(column.value) == pytest.approx(1 / (bars.ends[1] - bars.ends[0]))
        assert (start if column.value > 0 else end) == pytest.approx(zero)


def test_marks_show_every_name_value_and_sign() -> None:
    bars = columns(ROW)[0]
    marks = bars.marks(10, 20, 300)
    words = [mark.text for mark in marks if isinstance(mark, Text)]
    for column in bars.columns:
        assert column.says in words and column.text in words
    up, down = tones(bars.drawn.palette)
    drawn = [mark.colour for mark in marks if isinstance(mark, Box) and mark.colour in (up, down)]
    assert drawn == [up if column.value > 0 else down for column in bars.columns]
    assert all(mark.x >= 9 and mark.x + mark.width <= 311 for mark in marks if isinstance(mark, Box))
    assert any(word.startswith("fit R² 1; predicts") for word in words)


def test_columns_without_a_weight_and_too_many_are_counted() -> None:
    few = columns(explained(TabularLIME(samples=400, features=2)))[0]
    assert len(few.columns) == 2 and few.rest == "2 more columns without a weight"
    (one,) = columns(ROW[0], most=1)
    rest = sum(ROW.values[0].tolist()) - one.columns[0].value
    assert one.rest.startswith("3 more columns, together ")
    assert float(one.rest.split()[-1].replace("−", "-")) == pytest.approx(rest, rel=0.01)


def test_a_shared_scale_is_that_of_all() -> None:
    ends = shared_scale([ROW])
    a, b = columns(ROW, scale=ends)
    assert a.ends == b.ends == ends == (-float(ROW.values.abs().max()), float(ROW.values.abs().max()))


def test_all_views_speak_of_rows(tmp_path: Path) -> None:
    assert noun_of(ROW) == what([ROW]) == "row"
    figure = panel(ROW)
    assert "bar charts" in figure.alt and "Rows: row 1, row 2" in figure.alt
    words = [mark.text for mark in figure.marks if isinstance(mark, Text)]
    assert {"age", "height", "steps", "pulse <b>"} <= set(words)
    assert not any("pixel" in word or "channel" in word for word in words)
    html = str(mime_bundle(ROW)["text/html"])
    assert "pulse &lt;b&gt;" in html and "<b>" not in re.sub(r"<figcaption>.*?</figcaption>", "", html)
    page = pellucid.report(ROW, tmp_path / "page.html").read_text()
    assert "Row 1 of 2" in page and "Bar charts" in page and "No picture was kept" not in page
    assert "<b>pulse" not in page and "pulse &lt;b&gt;" in page
    visible = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"photo'|photos\b|Opacity", visible)
    for column in columns(ROW)[0].columns:
        assert column.text in visible


def test_the_document_holds_every_number() -> None:
    entry = json.loads(json.dumps(document([ROW])))["explanations"][0]
    assert [one["column"] for one in entry["rows"][0]["columns"]] == NAMES
    assert [one["value"] for one in entry["rows"][0]["columns"]] == ROW.values[0].tolist()
    assert "height" in entry["rows"][0]["summary"]


def test_a_sentence_names_the_strongest_columns() -> None:
    best = columns(ROW)[0].columns[0]
    assert f"strongest are {best.says} ({best.text})" in describe(ROW[0])
    assert describe(replace(ROW[0], values=torch.zeros(1, 4))).find("no column has a weight") > 0


def test_rows_of_numbers_without_names_are_bars_too() -> None:
    (e,) = pellucid.explain(torch.nn.Linear(3, 2), torch.ones(1, 3), LIME(samples=16), target=0)
    assert {column.says for column in columns(e)[0].columns} <= {"column 0", "column 1", "column 2"}
    assert draw(e)[0].rgb.shape == (1, 3, 3)
    panel(e)


def test_what_is_no_row_is_refused_and_palettes_have_two_tones() -> None:
    with pytest.raises(InputError, match="is no row"):
        columns(replace(ROW, dims=("batch", "axis_1")))
    for name in ("PuOr9_r", "viridis", "vik"):
        up, down = tones(palette(name))
        assert re.fullmatch("#[0-9a-f]{6}", up) and up != down
