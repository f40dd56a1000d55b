"""From whatever a model returns to a matrix of scores."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.adapters.torch.outputs import scores
from pellucid.core.errors import UnsupportedModel

S = torch.arange(6.0).view(2, 3)
OTHER = torch.zeros(2, 7)
Named = namedtuple("Named", ["logits", "aux"])


@pytest.mark.parametrize(
    "raw",
    [
        S,
        (S, OTHER),
        [S, OTHER],
        Named(S, OTHER),
        {"aux": OTHER, "logits": S},
        OrderedDict(out=S, aux=OTHER),
        {"only": S},
        SimpleNamespace(loss=None, logits=S),
    ],
    ids=["tensor", "tuple", "list", "named tuple", "mapping", "ordered", "single entry", "object"],
)
def test_scores_are_found_in(raw: Any) -> None:
    assert torch.equal(scores(raw), S)


@pytest.mark.parametrize(
    ("raw", "select"),
    [({"a": OTHER, "b": S}, "b"), ((OTHER, S), 1), (SimpleNamespace(b=S), "b"), ([OTHER, [S]], lambda r: r[1][0])],
)
def test_scores_are_taken_where_the_user_says(raw: Any, select: Any) -> None:
    assert torch.equal(scores(raw, select), S)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (torch.arange(2.0), torch.arange(2.0)[:, None]),
        (S[:, :, None, None], S),
        (torch.ones(2, 1), torch.ones(2, 1)),
    ],
)
def test_scores_become_a_matrix(raw: Tensor, wanted: Tensor) -> None:
    assert torch.equal(scores(raw), wanted)


@pytest.mark.parametrize(
    ("raw", "select", "says"),
    [
        (torch.zeros(2, 3, 4, 4), None, r"scores of shape \(2, 3, 4, 4\)"),
        ({"a": S, "b": OTHER}, None, r"'a': a tensor \(2, 3\), 'b': a tensor \(2, 7\)"),
        ({"a": S}, "c", "a mapping with 'a'"),
        ((S,), 4, "a tuple of a tensor"),
        ("words", None, "a str|returned str"),
        ((), None, "tuple"),
    ],
)
def test_what_was_found_is_listed_when_there_are_no_scores(raw: Any, select: Any, says: str) -> None:
    with pytest.raises(UnsupportedModel, match=says):
        scores(raw, select)
