"""Words against what R's lime recorded, and against Unicode's rules applied one pair of characters at a time."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.preprocess.boundaries import between, characters, words

RECORDED = Path(__file__).parents[2] / "data" / "r_lime" / "tokenize.json"
LETTERS = "abéбक"
HEBREW, DIGITS, KATAKANA, SINGLE, MARKS = "אב", "12٣", "カ", "語ひ", "\u0301\u200dि"
SIGNS = ".,:;'’\"-_ \n!²"


def cut(text: str) -> list[str]:
    return [text[start:stop] for start, stop in words(text)]


def test_tokens_are_those_of_r() -> None:
    texts = ["The quick brown fox doesn't jump over 2 lazy dogs!", "C'est la vie; e-mail me at a@b.com (now).", ""]
    assert [cut(text) for text in texts] == json.loads(RECORDED.read_text())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1,000.5 a.b. 3a can’t x² 12:30", ["1,000.5", "a.b", "3a", "can’t", "x", "12", "30"]),
        ("e\u0301te\u0301 हिन्दी भाषा", ["e\u0301te\u0301", "हिन्दी", "भाषा"]),
        ("カタカナ語です 한국어 문장", ["カタカナ", "語", "で", "す", "한국어", "문장"]),
        ("_ __ a_b 3_4", ["__", "a_b", "3_4"]),
        ("נח\"ל ה' !", ['נח"ל', "ה'"]),
        ("😀 🎉 ok👍🏽", ["ok"]),
    ],
)
def test_words_of_other_scripts(text: str, wanted: list[str]) -> None:
    assert cut(text) == wanted


def slow(text: str) -> list[str]:
    """Annex 29 as it is written: whether there is a boundary before every character, then what holds a letter."""
    ends = [0, *(i for i in range(1, len(text)) if _boundary(text, i)), len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(ends)]
    return [piece for piece in pieces if any(_is(c, "AHNKI") for c in piece) or piece.count("_") > 1]


def _is(c: str, kinds: str) -> bool:
    of = {"A": LETTERS + "@", "H": HEBREW, "N": DIGITS, "K": KATAKANA, "I": SINGLE, "_": "_"}
    return any(c in of[kind] for kind in kinds)


def _boundary(chars: str, i: int) -> bool:
    before, after = chars[i - 1], chars[i]
    further, next_ = chars[i - 2] if i > 1 else " ", chars[i + 1] if i + 1 < len(chars) else " "
    joins = [
        _is(before, "AH") and _is(after, "AH"),  # 5
        _is(before, "AH") and after in ".'’" and _is(next_, "AH"),  # 6
        _is(further, "AH") and before in ".'’" and _is(after, "AH"),  # 7
        _is(before, "H") and after == "'",  # 7a
        _is(before, "H") and after == '"' and _is(next_, "H"),  # 7b
        _is(further, "H") and before == '"' and _is(after, "H"),  # 7c
        _is(before, "AHN") and _is(after, "N"),  # 8, 9
        _is(before, "N") and _is(after, "AH"),  # 10
        _is(further, "N") and before in ".,;'’" and _is(after, "N"),  # 11
        _is(before, "N") and after in ".,;'’" and _is(next_, "N"),  # 12
        _is(before, "K") and _is(after, "K"),  # 13
        _is(before, "AHNK_") and after == "_",  # 13a
        before == "_" and _is(after, "AHNK"),  # 13b
    ]
    return not any(joins)


@given(st.text(st.sampled_from(LETTERS + "@" + HEBREW + DIGITS + KATAKANA + SINGLE + SIGNS), max_size=14))
def test_words_follow_the_rules_of_unicode(text: str) -> None:
    assert cut(text) == slow(text)


@given(st.text(st.sampled_from(LETTERS + DIGITS + MARKS + SIGNS), max_size=14).map(lambda text: "a" + text))
def test_marks_change_no_boundary(text: str) -> None:
    bare = "".join(c for i, c in enumerate(text) if c not in MARKS)
    without = ["".join(c for c in word if c not in MARKS) for word in cut(text)]
    assert without == cut(bare)


@given(st.text(max_size=40))
def test_spans_are_in_order_and_never_empty(text: str) -> None:
    for split in (words, characters, between(r"\W+"), between("(a)|b")):
        end = 0
        for start, stop in split(text):
            assert end <= start < stop <= len(text)
            end = stop
