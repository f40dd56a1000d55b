"""Texts as players: words of strings, tokens of ids, hidden by removal or by a mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.texts import WORDS, Splitter, encoder
from torch import Tensor

import pellucid
from pellucid import LIME, ExactShapley, Words
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.players import players_of

VALUE = {"good": 2.0, "bad": -3.0, "very": 0.5}


def mood(texts: list[str]) -> list[float]:
    """A sum over words: every game of it is known."""
    return [sum(VALUE.get(word.strip(".,!"), 0.0) for word in text.lower().split()) for text in texts]


@given(st.text(min_size=1, max_size=60))
def test_texts_come_back_to_the_letter(text: str) -> None:
    front = Words()
    try:
        rows, about = front.rows_of(text)
    except InputError:
        assert not any(c.isalpha() or c.isdecimal() or c == "@" for c in text)
        return
    assert front.decoded(rows) == [text]
    assert "".join(about.tokens[0]) == text


def test_words_are_whole_and_what_is_between_is_nobodys() -> None:
    (pieces,) = Words().rows_of("Don't pay 3.14, e.g. for naïve re-runs!")[1].tokens
    assert pieces[1::2] == ("Don't", "pay", "3.14", "e.g", "for", "naïve", "re", "runs")


@pytest.mark.parametrize("fill", ["auto", "remove", "blank"])
def test_a_sum_over_words_gives_every_word_its_own(fill: str) -> None:
    model = pellucid.wrap(mood, Words())
    got, fitted = pellucid.explain(
        model, ["A good, very good film", "bad"], [ExactShapley(fill=fill), LIME(ridge=0.0, fill=fill)]
    )
    assert got.dims == ("batch", "token")
    told = [dict(zip(t, v, strict=False)) for t, v in zip(got.inputs.tokens, got.values.tolist(), strict=True)]
    assert told[0] == pytest.approx({"": 0, "A": 0, " ": 0, "good": 2, ", ": 0, "very": 0.5, "film": 0})
    assert told[1] == pytest.approx({"": 0, "bad": -3})
    assert torch.allclose(got.values, fitted.values, atol=1e-9)


def test_words_may_be_what_a_pattern_leaves_characters_or_what_a_function_says() -> None:
    def pieces(text: str, split: Any) -> tuple[str, ...]:
        return Words(split=split).rows_of(text)[1].tokens[0][1::2]

    assert pieces("don't e-mail, 3.14", r"\W+") == ("don", "t", "e", "mail", "3", "14")
    assert pieces("a b", "characters") == ("a", "b")
    assert pieces("abcd", lambda text: [(0, 2), (2, 4)]) == ("ab", "cd")


def test_words_joined_by_a_space_leave_what_was_between_them() -> None:
    heard: list[str] = []

    def length(texts: list[str]) -> list[float]:
        heard.extend(texts)
        return [float(len(text)) for text in texts]

    model = pellucid.wrap(length, Words(joined_by=" "))
    (got,) = pellucid.explain(model, "One, two;  three!", ExactShapley())
    assert set(heard) == {"One two three", "One two", "One three", "two three", "One", "two", "three", ""}
    assert got.target.score == (13.0,)


def test_equal_words_play_together_when_asked() -> None:
    model = pellucid.wrap(mood, Words())
    (got,) = pellucid.explain(model, "A good, very good film", ExactShapley(regions="vocabulary"))
    assert got.extras["players"].tolist() == [pytest.approx([0, 4, 0.5, 0])]
    assert [player.name for player in players_of(got)] == ["A", "good", "very", "film"]


@pytest.mark.parametrize("design", ["by_hidden", "by_shown", "coin"])
def test_equal_coalitions_are_evaluated_once(design: str) -> None:
    heard: list[str] = []

    def lengths(texts: list[str]) -> list[float]:
        heard.extend(texts)
        return [float(len(text)) for text in texts]

    text = "one two three four five six seven eight"
    method = LIME(samples=5000, design=design)
    pellucid.explain(pellucid.wrap(lengths, Words(joined_by=" ")), text, method)
    looked = 2  # the text itself, once to see what the function gives and once to score it
    assert len(heard) <= 2**8 + looked  # of 5001: 95 of 100 samples are known already
    assert len(set(heard)) == 2**8 - {"by_hidden": 0, "by_shown": 1, "coin": 0}[design]


def test_equal_words_of_several_tokens_play_together() -> None:
    model = pellucid.wrap(encoder(), Splitter())
    (got,) = pellucid.explain(model, "very bad very very ##ly bad", ExactShapley(regions="vocabulary", fill="remove"))
    assert got.extras["regions"][0].tolist() == [-1, 0, 1, 0, 2, 2, 1, -1]
    assert [player.name for player in players_of(got)] == ["very", "bad", "veryly"]


def test_what_is_no_text_is_refused() -> None:
    front = Words()
    with pytest.raises(InputError, match="has no words"):
        front.rows_of("?!")
    with pytest.raises(InputError, match="int for a model of texts"):
        front.rows_of([3])
    with pytest.raises(ParameterError, match="none of them empty"):
        Words(split=lambda text: [(3, 3)]).rows_of("abcdef")
    model = pellucid.wrap(mood, front)
    with pytest.raises(ParameterError, match="words, vocabulary"):
        pellucid.explain(model, "good", LIME(regions="slic"))
    with pytest.raises(ParameterError, match="remove, or a string"):
        pellucid.explain(model, "good", LIME(fill=0.5))


# -- token ids -------------------------------------------------------------------------------------------------------


class Masks(Splitter):
    """The same with a mask token."""

    mask_token_id = WORDS.index("a")


def by_hand(module: Any, ids: list[int], hidden: set[int], fill: int | None) -> Tensor:
    """The scores with the tokens at some places masked, or taken out."""
    row = [fill if i in hidden else n for i, n in enumerate(ids) if fill is not None or i not in hidden]
    return module(torch.tensor([row])).detach()[0]


@pytest.mark.parametrize(("tokenizer", "fill"), [(Masks(), "auto"), (Splitter(), "auto"), (Masks(), "remove")])
def test_tokens_are_hidden_as_by_hand(tokenizer: Any, fill: str) -> None:
    module = encoder()
    ids = tokenizer(["the film was terrib ##ly bad"])["input_ids"][0]
    put = WORDS.index("a") if fill == "auto" and isinstance(tokenizer, Masks) else None
    model = pellucid.wrap(module, tokenizer)
    (got,) = pellucid.explain(
        model, ["the film was terrib ##ly bad", "good"], pellucid.FeatureAblation(regions="tokens", fill=fill), target=1
    )
    whole = by_hand(module, ids, set(), put).softmax(0)[1]
    for place in range(1, 7):
        expected = whole - by_hand(module, ids, {place}, put).softmax(0)[1]
        assert got.values[0, place] == pytest.approx(float(expected), abs=1e-9)
    assert got.values[0, [0, 7]].tolist() == [0, 0]
    assert got.values[1, 3:].tolist() == [0] * 5


def test_pieces_of_a_word_play_together() -> None:
    model = pellucid.wrap(encoder(), Splitter())
    (got,) = pellucid.explain(model, "the film was terrib ##ly bad", ExactShapley(), target=0)
    assert got.extras["players"].shape == (1, 5)
    assert got.extras["regions"][0].tolist() == [-1, 0, 1, 2, 3, 3, 4, -1]
    assert got.values[0, 4] == got.values[0, 5]


def test_fills_that_are_no_tokens_are_refused() -> None:
    model = pellucid.wrap(encoder(), Splitter())
    with pytest.raises(ParameterError, match="without a mask token"):
        pellucid.explain(model, "good", LIME(fill="mask"))
    with pytest.raises(ParameterError, match="mask, remove, a token"):
        pellucid.explain(model, "good", LIME(fill="black"))
    with pytest.raises(ParameterError, match="words, tokens or vocabulary"):
        pellucid.explain(model, "good", LIME(regions="slic"))
