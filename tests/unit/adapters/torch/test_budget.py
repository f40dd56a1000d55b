"""How many rows at once: bounded by memory, never none."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models import Convnet, net, pictures

from pellucid import wrap
from pellucid.adapters.torch.budget import MOST, REUSED, Budget, available
from pellucid.core.ask import PLAIN, Lane


def rows(memory: int, each: int, largest: int) -> int:
    return Budget((3, 8, 8), torch.float32, torch.device("cpu"), memory).rows(each, largest, True)


@given(memory=st.integers(0, 2**34), each=st.integers(0, 2**34), largest=st.integers(0, 2**34))
@settings(deadline=None, max_examples=80)
def test_rows_fit_the_memory_unless_there_is_a_single_one(memory: int, each: int, largest: int) -> None:
    n = rows(memory, each, largest)
    assert 1 <= n <= MOST
    assert n == 1 or (n * each <= memory and n * largest <= REUSED)


def test_small_rows_go_together_up_to_a_bound() -> None:
    assert rows(2**30, 1000, 100) == MOST
    assert rows(10_000, 1000, 100) == 10


def test_there_is_some_memory_here() -> None:
    assert 0 < available() < 2**50


def test_a_backward_pass_is_reckoned_with_more_memory_than_a_forward_one() -> None:
    with wrap(net(Convnet())).ready(pictures(1)) as session:
        forward, backward = (session.bytes(Lane(PLAIN, gradient)) for gradient in (False, True))
        assert backward == session.ready.facts.bytes_all
        assert forward <= 4 * session.ready.facts.bytes_largest


def test_rows_that_the_user_names_are_taken() -> None:
    with wrap(net(Convnet()), rows=7).ready(pictures(1)) as session:
        assert session.rows(Lane(PLAIN, True), 1) == 7
