from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.cli import text
from pellucid.cli.model import looks_like_a_model
from pellucid.cli.request import Setting
from pellucid.cli.talk import finite

WORDS = st.text(max_size=120)


@given(WORDS, st.integers(1, 80))
def test_a_fitted_text_fits_and_says_when_it_was_cut(words, room):
    out = text.fit(words, room)
    assert len(out) <= room and (out == words or (out.endswith("…") and words.startswith(out[:-1])))


@given(WORDS)
def test_clean_text_is_one_line_that_steers_nothing(words):
    out = text.clean(words)
    assert out.isprintable() or all(c.isprintable() or c == "\xa0" or not c.isascii() for c in out)
    assert not set(out) & {"\x1b", "\r", "\n", "\x07", "\x9b", "\u202e", "\u2066"}
    assert text.clean(out) == out


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6))
def test_a_table_never_leaves_the_terminal(rows):
    lines = text.table(rows, ("A", "B", "C"), right=">").splitlines()
    assert len(lines) == len(rows) + 1
    assert all(len(line) <= text.width() for line in lines[1:])


def test_the_columns_of_a_table_stand_below_each_other():
    assert text.table([("1", "one"), ("22", "two")], right=">") == "   1  one\n  22  two"
    assert text.table([]) == ""


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_bar_is_as_long_as_the_share(share, length):
    full = text.bar(share, length).count("█")
    assert full <= length and abs(full - share * length) <= 1


def test_a_bar_grows_with_the_share():
    drawn = [text.bar(k / 80, 10) for k in range(81)]
    order = " ▏▎▍▌▋▊▉█"
    ranks = [sum(order.index(c) for c in bar) for bar in drawn]
    assert ranks == sorted(ranks) and drawn[0] == "" and drawn[-1] == "█" * 10


@pytest.mark.parametrize(("columns", "used"), [(20, 60), (80, 80), (300, 100)])
def test_lines_are_neither_too_narrow_nor_too_wide(monkeypatch, columns, used):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert text.width() == used


@given(
    st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_any_content_becomes_valid_json(content):
    again = json.loads(json.dumps(finite(content), allow_nan=False))
    if isinstance(content, float):
        assert again == (content if math.isfinite(content) else None)


@pytest.mark.parametrize(
    ("word", "is_model"),
    [
        ("efficientnet_lite0", True),
        ("timm:resnet18.a1_in1k", True),
        ("torchvision:resnet50@IMAGENET1K_V2", True),
        ("hf:google/vit-base-patch16-224", True),
        ("package.module:factory", True),
        ("cat.png", False),
        ("resnet18", False),
        ("C:\\photos\\cat.png", False),
        ("https://a.b/c.png", False),
        ("photos/cat:dog.png", False),
    ],
)
def test_models_are_told_from_files(tmp_path, monkeypatch, word, is_model):
    monkeypatch.chdir(tmp_path)
    assert looks_like_a_model(word) is is_model


def test_a_setting_keeps_whatever_stands_behind_the_first_equals_sign():
    assert Setting.read("grad_cam.at=a.b=c") == Setting("grad_cam", "at", "a.b=c")
