"""Errors of a worker as they are sent home."""

from __future__ import annotations

import pickle

import numpy as np
import torch

from pellucid.core.worker import failed, plainly


class Odd(Exception):
    """Comes back with other words than it left with."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} things")
        self.count = count


class Lost(Exception):
    """Cannot be written."""

    def __reduce__(self) -> str:
        raise TypeError("no")


def test_an_error_is_sent_itself_where_it_comes_back_as_it_was() -> None:
    error = ValueError("too few rows")
    got = failed(error)
    assert got.error is error and got.said == "ValueError: too few rows"
    assert str(pickle.loads(pickle.dumps(Odd(3)))) != str(Odd(3))
    for one, words in ((Odd(3), "Odd: 3 things"), (Lost("x"), "Lost: x")):
        assert (failed(one).error, failed(one).said) == (None, words)


def test_where_it_happened_is_told() -> None:
    where = ""
    try:
        raise KeyError("column")
    except KeyError as error:
        where = failed(error).where
    assert "test_where_it_happened_is_told" in where


def test_tensors_are_sent_as_arrays() -> None:
    got = plainly(torch.ones(2, requires_grad=True))
    assert isinstance(got, np.ndarray) and got.tolist() == [1.0, 1.0] and plainly([1]) == [1]
