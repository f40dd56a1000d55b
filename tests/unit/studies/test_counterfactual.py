"""Counterfactuals: the nearest point of a line in closed form, boxes by linear programming, grids by brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from pellucid.studies.counterfactual import Found, search
from pellucid.studies.space import Space, nearest_of_line


def space_of(x: Tensor, **given: Any) -> Space:
    n = len(x)
    usual = {
        "low": torch.full((n,), -torch.inf).double(),
        "high": torch.full((n,), torch.inf).double(),
        "scale": torch.ones(n).double(),
        "whole": torch.zeros(n).bool(),
        "coded": torch.zeros(n).bool(),
    }
    return Space(x=x.double(), **{**usual, **given})


def found(
    space: Space, margin: Callable[[Tensor], Tensor], count: int = 1, budget: int = 3000, **more: Any
) -> tuple[list[Found], int]:
    going = search(space, count, budget, 0, **more)
    answer, asked = None, 0
    while True:
        try:
            rows = next(going) if answer is None else going.send(answer)
        except StopIteration as stop:
            return stop.value, asked
        torch.testing.assert_close(space.snap(rows), rows, rtol=0, atol=0, equal_nan=True)
        asked += len(rows)
        answer = margin(rows)


def programmed(space: Space, w: Tensor, b: float) -> float:
    """min Σ |d_j| / scale_j with w · (x + d) + b ≥ 0 in the box, by scipy: d = up − down."""
    cost = torch.cat([1 / space.scale, 1 / space.scale])
    ends = torch.cat([space.high - space.x, space.x - space.low]).tolist()
    room = [(0, None if end == float("inf") else end) for end in ends]
    got = linprog(cost.numpy(), A_ub=-torch.cat([w, -w])[None].numpy(), b_ub=[float(w @ space.x) + b], bounds=room)
    return float(got.fun) if got.success else float("inf")


@given(seed=st.integers(0, 10**6), columns=st.integers(1, 6), boxed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_nearest_of_a_line_is_that_of_linear_programming(seed: int, columns: int, boxed: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    w, x = (torch.randn(columns, generator=draw, dtype=torch.float64) for _ in range(2))
    scale = 0.2 + torch.rand(columns, generator=draw, dtype=torch.float64)
    box = {"low": x - 0.7, "high": x + 0.5} if boxed else {}
    space = space_of(x, scale=scale, **box)
    b = -1.0 - float(w @ x)
    wanted = programmed(space, w, b)
    z = nearest_of_line(space, x, float(w @ x) + b, w, 0.0)
    if wanted < float("inf"):
        assert float(space.distance(z[None])) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        assert float(w @ z) + b >= -1e-9


@given(seed=st.integers(0, 10**6), boxed=st.booleans())
@settings(max_examples=25, deadline=None)
def test_linear_models_have_their_closed_form(seed: int, boxed: bool) -> None:
    """Without a box, the whole way along one column: margin / max |w_j| scale_j."""
    draw = torch.Generator().manual_seed(seed)
    w, x = (torch.randn(5, generator=draw, dtype=torch.float64) for _ in range(2))
    scale = 0.2 + torch.rand(5, generator=draw, dtype=torch.float64)
    box = {"low": x - 0.8, "high": x + 0.6} if boxed else {}
    space, b = space_of(x, scale=scale, **box), -0.6 - float(w @ x)
    wanted = programmed(space, w, b) if boxed else 0.6 / float((w.abs() * scale).max())
    got, asked = found(space, lambda z: z @ w + b)
    assert asked <= 3000
    if wanted == float("inf"):
        assert not got
    else:
        assert got[0].distance == pytest.approx(wanted, rel=2e-3)
        assert float(got[0].row @ w) + b > -1e-12
        assert boxed or int(space.changed(got[0].row[None]).sum()) == 1


def ring(z: Tensor) -> Tensor:
    return z.square().sum(1) - 4


def corner(z: Tensor) -> Tensor:
    return torch.where((z[:, 0] > 1.3) & (z[:, 1] > 0.8), 1.0, -1.0).double()


def stairs(z: Tensor) -> Tensor:
    return z[:, 0].floor() + (2 * z[:, 1]).floor() - 3.5


@pytest.mark.parametrize("margin", [ring, corner, stairs])
def test_two_columns_against_a_grid(margin: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([0.2, 0.1]).double()
    space = space_of(x, low=torch.tensor([-3.0, -3]).double(), high=torch.tensor([3.0, 3]).double())
    line = torch.linspace(-3, 3, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    best = float(space.distance(grid[margin(grid) > 0]).min())
    got, _ = found(space, margin)
    assert float(margin(got[0].row[None])) > 0
    assert got[0].distance <= best * 1.02 + 0.02


def test_columns_that_must_stay_stay() -> None:
    x = torch.tensor([0.0, 0, 0]).double()
    low = torch.tensor([0.0, -torch.inf, -1]).double()
    high = torch.tensor([0.0, 0, 0.5]).double()  # the first stays, the second may only fall
    space = space_of(x, low=low, high=high)
    got, _ = found(space, lambda z: 5 * z[:, 0] + z[:, 1] + z[:, 2] - 0.4)
    assert got[0].row[0] == 0
    assert got[0].row[1] == 0
    assert got[0].row[2] == pytest.approx(0.4, rel=1e-2)
    none, asked = found(space, lambda z: 5 * z[:, 0] + z[:, 1] + z[:, 2] - 0.6, budget=700)
    assert not none
    assert asked <= 700


def test_categories_and_whole_numbers() -> None:
    x = torch.tensor([2.0, 0, 10]).double()
    space = space_of(
        x,
        low=torch.tensor([0.0, 0, 0]).double(),
        high=torch.tensor([4.0, 3, 20]).double(),
        whole=torch.tensor([True, True, False]),
        coded=torch.tensor([False, True, False]),
        scale=torch.tensor([1.0, 1, 5]).double(),
    )
    got, _ = found(space, lambda z: (z[:, 1] == 2).double() + 0.2 * (z[:, 0] - 2) - 0.5, count=2)
    rows = [one.row.tolist() for one in got]
    assert [2, 2, 10] in rows
    assert all(row[0] == int(row[0]) and row[1] in (0, 1, 2, 3) for row in rows)


def test_several_differ_in_what_they_change() -> None:
    x = torch.zeros(4).double()
    space = space_of(x, low=x - 5, high=x + 5)
    got, asked = found(space, lambda z: z.max(1).values - 1, count=3)
    sets = [tuple(space.changed(one.row[None])[0].nonzero().flatten().tolist()) for one in got]
    assert len(set(sets)) == 3
    assert [one.distance for one in got] == sorted(one.distance for one in got)
    assert asked <= 3000


def test_known_rows_are_starts() -> None:
    """A small island that no step along a column hits."""
    island = torch.tensor([1.37, -2.21, 0.73]).double()
    x = torch.zeros(3).double()
    space = space_of(x, low=x - 4, high=x + 4)
    got, _ = found(space, lambda z: 0.05 - (z - island).norm(dim=1), data=island[None], budget=2000)
    assert got
    assert (got[0].row - island).norm() < 0.05


def test_missing_values_stay() -> None:
    x = torch.tensor([0.0, torch.nan]).double()
    space = space_of(x, low=torch.tensor([-3, torch.nan]).double(), high=torch.tensor([3, torch.nan]).double())
    got, _ = found(space, lambda z: z[:, 0] - 1)
    assert got[0].row[0] == pytest.approx(1, rel=1e-2)
    assert got[0].row[1].isnan()
