"""Who plays: superpixels, words and columns, each with its weight and the error of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.unit.core.values import made

from pellucid.core.errors import InputError
from pellucid.core.explanation import Explanation, Inputs
from pellucid.core.players import players_of, regions_of, strongest


def row(values: Any, dims: tuple[str, ...], std_error: Any = None, extras: Any = None, **inputs: Any) -> Explanation:
    values = torch.tensor([values], dtype=torch.float64)
    error = None if std_error is None else torch.tensor([std_error], dtype=torch.float64)
    given = {key: torch.tensor([value]) for key, value in (extras or {}).items()}
    about = Inputs(name=("one",), picture=None, shape=tuple(values.shape[1:]), **inputs)
    return replace(made(1, picture=False), values=values, dims=dims, std_error=error, extras=given, inputs=about)


def test_tokens_have_the_errors_of_their_values_unless_channels_were_summed() -> None:
    e = row([1.0, -2.0], ("batch", "token"), [0.1, 0.2], tokens=(("new", "##s"),))
    assert [(p.number, p.name, p.value, p.says, p.weight, p.std_error) for p in players_of(e)] == [
        (0, "new", 0, "new", 1.0, 0.1),
        (1, "s", 1, "s", -2.0, 0.2),
    ]
    assert [p.std_error for p in players_of(replace(e, std_error=None))] == [None, None]
    deep = row([[1.0, 2.0], [0.5, -3.0]], ("batch", "token", "channel"), [[0.1, 0.2]] * 2)
    assert [(p.name, p.weight, p.std_error) for p in players_of(deep)] == [("0", 3.0, None), ("1", -2.5, None)]


def test_columns_with_and_without_names_and_cells() -> None:
    plain = row([1.0, 2.0], ("batch", "feature"), [0.5, 0.25])
    assert [(p.name, p.value, p.says, p.std_error) for p in players_of(plain)] == [
        ("column 0", None, "column 0", 0.5),
        ("column 1", None, "column 1", 0.25),
    ]
    named = row([1.0, 2.0], ("batch", "feature"), features=("age", "sex"), cells=(("53", "f"),))
    assert [(p.name, p.value, p.says) for p in players_of(named)] == [
        ("age", "53", "age = 53"),
        ("sex", "f", "sex = f"),
    ]


def test_bins_are_told_as_r_tells_them() -> None:
    inf = math.inf
    bins = [[-inf, 4.3], [4.25, inf], [0.0729412, 123456.7], [-inf, inf], [-2.5, 12345678.0]]
    e = row([1.0] * 5, ("batch", "feature"), extras={"bins": bins}, features=tuple("abcde"))
    assert [p.says for p in players_of(e)] == [
        "a <= 4.3", "4.25 < b", "0.07294 < c <= 123457", "d", "-2.5 < e <= 12345678"
    ]  # fmt: skip


def test_groups_of_columns() -> None:
    extras = {"players": [0.5, -1.5], "players_std_error": [0.25, 0.5], "regions": [0, 1, 0]}
    e = row([0.5, -1.5, 0.5], ("batch", "feature"), extras=extras, features=tuple("abc"), cells=(("1", "2", "3"),))
    assert [(p.number, p.name, p.value, p.says, p.weight, p.std_error) for p in players_of(e)] == [
        (0, "a, c", "1, 3", "a = 1, c = 3", 0.5, 0.25),
        (1, "b", "2", "b = 2", -1.5, 0.5),
    ]
    assert [p.number for p in strongest(players_of(e))] == [1, 0] and len(strongest(players_of(e), 1)) == 1


def test_words_are_runs_of_tokens() -> None:
    """Tokens beside one another are one word; one that stands there twice is named once; padding is nobody."""
    extras = {"players": [1.0, 2.0, 3.0], "regions": [0, 0, 1, 0, 0, 1, 2, 1]}
    tokens = ("film", "##s", "not", "film", "##s", "bad", "end")
    e = row([0.0] * 8, ("batch", "token"), extras=extras, tokens=(tokens,))
    assert [(p.name, p.value, p.weight) for p in players_of(e)] == [
        ("films", 0, 1.0),
        ("not bad", 1, 2.0),
        ("end", 2, 3.0),
    ]
    first = row([0.0] * 2, ("batch", "token"), extras={"players": [1.0], "regions": [0, 0]}, tokens=(("a", "b"),))
    assert [p.name for p in players_of(first)] == ["ab"]


def test_superpixels_say_where_they_are() -> None:
    labels = [[0, 0, 1], [0, 2, 2]]
    extras = {"players": [1.0, 2.0, 3.0, 9.0], "regions": labels}
    e = row([[0.0] * 3] * 2, ("batch", "height", "width"), extras=extras)
    got = players_of(e)  # three of them, however many weights there are
    assert [(p.name, p.value.tolist(), p.says, p.weight) for p in got] == [
        ("0", [0, 1, 3], "[0-1], [0-1]", 1.0),
        ("1", [2], "[2-2], [0-0]", 2.0),
        ("2", [4, 5], "[1-2], [1-1]", 3.0),
    ]
    assert got[0] != players_of(e)[0]  # compared as objects: arrays are not equal as one
    with pytest.raises(InputError, match="cut into regions"):
        regions_of(e)  # there is no picture
    shown = replace(e, inputs=replace(e.inputs, picture=torch.zeros(1, 2, 3, 3, dtype=torch.uint8)))
    assert regions_of(shown).tolist() == labels
    for wrong in (replace(shown, extras={}), replace(shown, extras={"regions": torch.zeros(1, 3)})):
        with pytest.raises(InputError, match="cut into regions"):
            regions_of(wrong)
