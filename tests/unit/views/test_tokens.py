"""Coloured texts: the strongest colour is at the largest number, pieces are read as people write them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tests.unit.texts import Splitter, encoder
from torch import Tensor

from pellucid import views
from pellucid.api import explain, wrap
from pellucid.core.errors import FileExists, InputError
from pellucid.core.explanation import Explanation, Kind
from pellucid.views.drawing import look_of, plane
from pellucid.views.figure import Box, Text
from pellucid.views.pieces import Piece, read
from pellucid.views.tokens import tokens
from pellucid.views.words import describe

TEXTS = ["the film was very terrib ##ly good and not bad", "a great film"]


def made(values: Tensor, kind: Kind = Kind.CONTRIBUTION, names: tuple[str, ...] = ()) -> Explanation:
    """An explanation of one text with these numbers, [tokens] or [tokens, channel]."""
    e = explain(wrap(encoder(), Splitter()), TEXTS[0], "input_x_gradient")[0]
    names = names or tuple(f"t{i}" for i in range(len(values)))
    dims = ("batch", "token", "channel")[: values.ndim + 1]
    inputs = replace(e.inputs, tokens=(names,))
    return replace(e, values=values[None].double(), dims=dims, kind=kind, inputs=inputs)


def darkness(colour: tuple[int, int, int]) -> int:
    return -sum(colour)


def test_the_strongest_colour_is_at_the_largest_number() -> None:
    values = torch.tensor([0.0, 0.3, -0.2, 1.0, 0.5])
    colours = tokens(made(values.relu(), Kind.CAM))[0].colours
    assert max(range(5), key=lambda i: darkness(colours[i])) == 3
    assert darkness(colours[0]) == min(map(darkness, colours))
    signed = tokens(made(values))[0]
    assert signed.drawn.scale == (-1.0, 1.0)
    red, _, blue = signed.colours[3]
    assert red > blue  # orange speaks for the class
    red, _, blue = signed.colours[2]
    assert blue > red  # purple against it
    assert len(set(signed.colours[0])) <= 3 and min(signed.colours[0]) > 235  # nothing is nearly white


def test_vectors_are_reduced_like_channels() -> None:
    values = torch.tensor([[3.0, -4.0], [1.0, 1.0], [0.0, 0.0]])
    close = torch.testing.assert_close
    close(plane(made(values)), values.T[:, None].double())
    sums, lengths = tokens(made(values))[0], tokens(made(values, Kind.SENSITIVITY))[0]
    assert sums.drawn.scale == (-2.0, 2.0) and lengths.drawn.scale == (0.0, 5.0)


def test_padding_is_not_drawn() -> None:
    e = explain(wrap(encoder(), Splitter()), TEXTS, "input_x_gradient", target=1)[0]
    text = tokens(e)[1]
    assert [p.text for p in text.pieces] == ["[CLS]", "a", "great", "film", "[SEP]"]
    assert text.drawn.rgb.shape == (1, 5, 3)


def test_word_pieces_are_glued_and_byte_pairs_too() -> None:
    glued = [("[CLS]", False), ("terrib", False), ("ly", True), ("good", False), ("##", False)]
    assert read(["[CLS]", "terrib", "##ly", "good", "##"]) == tuple(Piece(text=t, glued=g) for t, g in glued)
    glued = [("<s>", False), ("The", True), ("film", False), ("ed", True), ("</s>", False)]
    assert read(["<s>", "The", "Ġfilm", "ed", "</s>"]) == tuple(Piece(text=t, glued=g) for t, g in glued)
    assert [p.text for p in read(["▁A", "▁", "Ċ"])] == ["A", "␣", "⏎"]


def test_vocabularies_of_bytes_are_read_as_letters() -> None:
    tok = pytest.importorskip("tokenizers")
    text = "Das Café öffnet – schön, 10 € für 日本!\nGut"
    pieces = [piece for piece, _ in tok.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]
    shown = read(["<s>", *pieces, "</s>"])
    assert [p.text for p in shown] == [
        "<s>", "Das", "Café", "öffnet", "–", "schön", ",", "10", "€", "für", "日本", "!", "⏎", "Gut", "</s>",
    ]  # fmt: skip
    assert read(["ĠæĹ", "¥"])[0].text == "\ufffd"  # the two tokens of one letter
    assert [p.text for p in read(["cafÃ©", "Ã"])] == ["cafÃ©", "Ã"]  # no vocabulary of bytes
    assert "‘café’ (1)" in describe(made(torch.tensor([0.0, 1.0]), names=("ĠThe", "ĠcafÃ©")))


def test_html_shows_all_pieces_and_nothing_else_gets_in() -> None:
    names = ("<script>", "a&b", '"x"', "\u202egood", "bad")
    html = tokens(made(torch.arange(5.0), names=names))[0].html()
    assert "<script" not in html and "&lt;script&gt;" in html and "a&amp;b" in html and "\u202e" not in html
    assert html.count("background:#") == 5


def test_lines_stay_inside_and_letters_can_be_read() -> None:
    values = torch.linspace(-1, 1, 40)
    text = tokens(made(values, names=(*(f"word{i}" * (1 + i % 3) for i in range(39)), "long" * 60)))[0]
    marks = text.marks(10, 10, 200)
    assert all(m.x >= 10 and m.x + m.width <= 210.01 for m in marks if isinstance(m, Box))
    boxes = [m for m in marks if isinstance(m, Box)]
    for a, b in pairwise(boxes):
        assert b.y > a.y or b.x >= a.x + a.width - 1e-6
    for box, word in zip(boxes, [m for m in marks if isinstance(m, Text)], strict=True):
        assert contrast(box.colour, word.colour) >= 4


def contrast(a: str, b: str) -> float:
    def light(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    high, low = sorted((light(a), light(b)), reverse=True)
    return high / low


def test_a_figure_can_be_saved_and_told_in_words(tmp_path: Path) -> None:
    e = made(torch.tensor([0.1, -2.0, 0.5]), names=("so", "very", "good"))
    text = tokens(e)[0]
    assert text.save(tmp_path / "a.svg").read_text().count("<rect") >= 3
    assert text.png().startswith(b"\x89PNG")
    with pytest.raises(FileExists):
        text.save(tmp_path / "a.svg")
    assert "strongest at ‘very’ (−2), ‘good’ (0.5), ‘so’ (0.1)." in views.describe(e)
    assert "all tokens have the value 0" in views.describe(made(torch.zeros(3)))


def test_given_looks_and_scales_are_used() -> None:
    e = made(torch.tensor([0.1, -2.0, 0.5]))
    assert tokens(e, scale=4.0)[0].drawn.scale == (-4.0, 4.0)
    assert tokens(e, look="grayscale")[0].drawn.palette.name == "gray"
    assert look_of(made(torch.ones(2), Kind.CAM)).palette == "magma_r"
    assert views.shared_scale([e, made(torch.tensor([3.0, 1.0]))]) == (-3.0, 3.0)


def test_maps_are_no_texts() -> None:
    e = made(torch.ones(2))
    with pytest.raises(InputError, match="is no text"):
        tokens(replace(e, dims=("batch", "feature"), inputs=replace(e.inputs, tokens=())))
