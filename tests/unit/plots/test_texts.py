"""Texts with highlighted words: which word has which colour, what stands above, and what strangers' texts can do."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.unit.plots.rows import check_layout, picture, said
from tests.unit.texts import Splitter, encoder

import pellucid
from pellucid import LIME, ExactShapley, InputXGradient, Words, plots
from pellucid.core.errors import FileExists, InputError, ParameterError
from pellucid.core.explanation import Explanations
from pellucid.plots.texts import STYLE, level
from pellucid.views.figure import Box
from pellucid.views.tokens import tokens

VALUE = {"very": 1.0, "good": 6.0, "bad": -3.0}


def mood(texts: list[str]) -> list[list[float]]:
    sums = [sum(VALUE.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
    return [[0.0, value] for value in sums]


def explained(texts: Any, method: Any = None, **more: Any) -> Explanations:
    model = pellucid.wrap(mood, Words(), ["against", "<for>"], emits="logits")
    return pellucid.explain(model, texts, method or ExactShapley(), target=1, output="logit", **more)


def marked(html: str) -> list[tuple[str, str]]:
    return [(name, unescape(word)) for name, word in re.findall(r'<mark class="([pn]\d)" title[^>]*>([^<]*)<', html)]


@pytest.mark.parametrize(
    ("weight", "wanted"), [(0.1, 1), (0.2, 1), (0.21, 2), (0.4, 2), (0.6, 3), (0.8, 4), (1.0, 5), (-0.5, -3), (0, 0)]
)
def test_intensities_step_at_every_fifth_of_all_weight(weight: float, wanted: int) -> None:
    assert level(3 * weight, 3.0) == wanted


def test_words_are_marked_by_their_share_and_sign() -> None:
    shown = plots.plot_text_explanations(explained("A very (good) film; bad end."))
    assert marked(shown.fragment()) == [("p1", "very"), ("p3", "good"), ("n2", "bad")]
    text = unescape(re.sub(r"<[^>]*>", "", shown.fragment().partition('dir="auto">')[2].partition("</p>")[0]))
    assert text == "A very (good) film; bad end."
    assert [p.says for p in shown.passages] == ["Label predicted: <for> (98 %)"]
    assert "&lt;for&gt;" in shown.html() and "<for>" not in shown.html()


def test_only_the_strongest_are_marked_when_asked() -> None:
    shown = plots.plot_text_explanations(explained("very good bad"), n_features=1)
    assert marked(shown.fragment()) == [("p3", "good")]
    with pytest.raises(ParameterError, match="1 or more"):
        plots.plot_text_explanations(explained("good"), n_features=0)


def test_words_that_weigh_next_to_nothing_have_no_colour() -> None:
    shown = plots.plot_text_explanations(explained("good words of no weight", LIME(samples=200, ridge=0.5)))
    assert marked(shown.fragment()) == [("p5", "good")] and "Explainer fit: 1.00" in shown.fragment()


def test_a_low_fit_says_so() -> None:
    model = pellucid.wrap(lambda texts: [float(len(text.split()) % 2) for text in texts], Words())
    shown = plots.plot_text_explanations(pellucid.explain(model, "one two three four five", LIME(samples=200)))
    assert shown.passages[0].low and '<p class="fit low">' in shown.fragment()
    assert shown.passages[0].says.startswith("Predicted: 1")
    assert any(text.endswith("(low)") for text in said(shown.figure()))


def test_several_methods_say_which_they_are() -> None:
    methods = [LIME(samples=200), ExactShapley()]
    shown = plots.plot_text_explanations(explained("very good", methods))
    assert [p.fit.partition(" ·")[0] for p in shown.passages] == ["LIME", "Exact Shapley values"]
    assert "LIME · Explainer fit: " in shown.fragment()
    assert all(not p.fit.startswith("LIME") for p in plots.plot_text_explanations(explained("good")).passages)


def test_the_figure_holds_every_word_and_nothing_overlaps() -> None:
    texts = ["A very good film, " * 12 + "bad.", "good"]
    model = pellucid.wrap(mood, Words(), emits="logits")
    figure = plots.plot_text_explanations(pellucid.explain(model, texts, LIME(samples=64), target=1)).figure()
    check_layout(figure)
    assert sum(text.startswith("film") for text in said(figure)) == 12
    assert sum(isinstance(mark, Box) and mark.radius == 2 for mark in figure.marks) >= 13
    assert "strongest: ‘good’" in figure.alt


def test_tokens_of_a_network_are_read_as_words() -> None:
    model = pellucid.wrap(encoder(), Splitter(), ["bad", "so so", "good"])
    both = pellucid.explain(model, "the film was terrib ##ly good", [InputXGradient(), LIME(samples=64, fill="remove")])
    shown = plots.plot_text_explanations(both)
    words = [word for _, word in marked(shown.fragment())]
    assert {"good", "film"} <= set(words)
    assert [p.fit.partition(":")[0] for p in shown.passages] == ["Input × Gradient", "LIME · Explainer fit"]


def test_strangers_texts_stay_text(tmp_path: Path) -> None:
    hostile = 'good </p><script>alert(1)</script> "bad" &amp; <img src=x onerror=alert(1)> \u202e very\x00'
    shown = plots.plot_text_explanations(explained(hostile))
    page = shown.save(tmp_path / "a.html").read_text()
    assert "<script" not in page and "<img" not in page and "\u202e" not in page and "\x00" not in page
    assert "default-src 'none'" in page and STYLE in page and "http" not in page.replace("http-equiv", "")
    assert shown._repr_html_().startswith("<style>")
    with pytest.raises(FileExists):
        shown.save(tmp_path / "a.html")
    shown.save(tmp_path / "a.png")
    assert "<script" not in shown.save(tmp_path / "a.svg").read_text()


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="which is no text"):
        plots.plot_text_explanations(picture([1.0] * 9))


def test_other_plots_name_words() -> None:
    (one,) = explained("A very (good) film; bad end.")
    for plot in (plots.force, plots.waterfall, plots.bar, plots.plot_features, plots.plot_explanations):
        figure = plot(one)
        check_layout(figure)
        assert any("good" in text for text in said(figure))
        assert any("against" in text or "<for>" in text for text in said(figure))


def test_what_stands_between_words_is_drawn_as_it_was_written() -> None:
    (one,) = explained("(good, bad)")
    (coloured,) = tokens(one)
    assert re.sub(r"<[^>]*>", "", coloured.html()) == "(good, bad)"
    assert "␣" not in coloured.html()


def test_a_report_shows_the_text_as_it_was_written(tmp_path: Path) -> None:
    page = pellucid.report(explained("A (good) film; bad."), tmp_path / "a.html").read_text()
    shown = page.partition('<p class="words" dir="auto">')[2].partition("</p>")[0]
    assert unescape(re.sub(r"<[^>]*>", "", shown)) == "A (good) film; bad."
    assert shown.count("<span") == 8
