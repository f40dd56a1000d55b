"""Rows of coalitions beside a slow derivation, however they are cut into blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid
from pellucid.core.errors import ParameterError
from pellucid.ops.boards import NOBODY, Board, Coalitions
from pellucid.ops.designs import distinct

DRAW = torch.Generator().manual_seed(3)


def slow(points: Coalitions, board: Board, k: int, b: int) -> Tensor:
    """Point k of row b, place by place."""
    coalition, background = (k, 0) if points.behind is not None else divmod(k, len(board.fill))
    background = int(points.behind[b, k]) if points.behind is not None else background
    shown = points.shown[b if len(points.shown) > 1 else 0, coalition]
    fill = board.fill[background, b if board.fill.shape[1] > 1 else 0]
    row, players = board.x[b].clone(), board.labels[b].flatten().tolist()
    hidden = [place for place, one in enumerate(players) if one != NOBODY and not bool(shown[one])]
    if board.pad is not None:
        kept = [v for place, v in enumerate(row.tolist()) if place not in hidden]
        return torch.tensor(kept + [board.pad] * (len(row) - len(kept)))
    flat, there = row.view(*row.shape[: row.ndim - board.labels.ndim + 1], -1), fill.expand_as(row)
    flat[..., hidden] = there.reshape(flat.shape)[..., hidden]
    return row


def case(kind: str, many: int, own: bool) -> tuple[Board, Coalitions]:
    batch, players, coalitions = 3, 4, 9
    labels = torch.randint(-1, players, (batch, 2, 5) if kind == "pictures" else (batch, 10), generator=DRAW)
    if kind == "ids":
        x = torch.randint(5, 50, (batch, 10), generator=DRAW)
        fill = torch.zeros(1, 1, 1, dtype=torch.int64)
        board = Board(x=x, labels=labels, fill=fill, dims=("token",), pad=1)
    else:
        x = (
            torch.randn(batch, 3, 2, 5, generator=DRAW)
            if kind == "pictures"
            else torch.randn(batch, 10, generator=DRAW)
        )
        fill = torch.randn(many, batch if own else 1, *x.shape[1:], generator=DRAW)
        board = Board(x=x, labels=labels, fill=fill, dims=("feature",))
    shown = torch.rand(batch if own else 1, coalitions, players, generator=DRAW) < 0.5
    return board, board.showing(shown)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("kind", "many"), [("pictures", 1), ("pictures", 2), ("columns", 1), ("columns", 4), ("ids", 1)]
)
def test_every_row_is_the_one_that_a_slow_derivation_makes(kind: str, many: int, own: bool) -> None:
    board, points = case(kind, many, own)
    wanted = torch.stack([slow(points, board, k, b) for k in range(points.count) for b in range(3)])
    assert torch.equal(points.rows(0, points.count, 0, 3), wanted)
    each = wanted.view(points.count, 3, *wanted.shape[1:])
    for k0, k1, b0, b1 in ((0, 1, 0, 3), (1, points.count, 0, 2), (3, points.count - 2, 1, 3), (2, 7, 2, 3)):
        assert torch.equal(points.rows(k0, k1, b0, b1), each[k0:k1, b0:b1].flatten(0, 1))


def test_every_coalition_before_a_background_of_its_own() -> None:
    board, _ = case("columns", 4, False)
    behind = torch.randint(4, (3, 9), generator=DRAW)
    points = board.showing(torch.rand(3, 9, 4, generator=DRAW) < 0.5, behind)
    wanted = torch.stack([slow(points, board, k, b) for k in range(9) for b in range(3)])
    assert torch.equal(points.rows(0, 9, 0, 3), wanted)


def test_shares_blend() -> None:
    board, _ = case("columns", 1, False)
    share = torch.rand(1, 5, 4, generator=DRAW)
    rows = board.showing(share).rows(0, 5, 0, 3).view(5, 3, 10)
    padded = torch.cat([share[0], torch.ones(5, 1)], 1)[:, board.labels]  # nobody is number −1, the last
    torch.testing.assert_close(rows, padded * board.x + (1 - padded) * board.fill[0])


def test_what_a_model_does_in_place_is_nobody_s_loss() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2).relu_().flatten(1)[:, :4]

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (2 * x).relu().flatten(1)[:, :4]

    x = torch.rand(2, 3, 8, 8, generator=DRAW)
    before = x.clone()
    methods = [pellucid.LIME(samples=40, regions="cells(2, 2)"), pellucid.Occlusion(window=4, stride=4)]
    one, two = (pellucid.explain(net, x, methods, target=0, output="logit") for net in (InPlace(), Plain()))
    for mine, theirs in zip(one, two, strict=True):
        assert torch.equal(mine.values, theirs.values)
    assert torch.equal(x, before)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 60), st.integers(0, 1000))
def test_coalitions_are_told_apart_in_the_order_of_their_rows(players: int, count: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    shown = torch.rand(count, players, generator=draw) < 0.5
    shown = torch.cat([shown, shown[: count // 2]])
    once, which = distinct(shown)
    listed = sorted(set(map(tuple, shown.tolist())))
    assert [tuple(row) for row in once.tolist()] == listed
    assert torch.equal(once[which], shown)


def test_a_fill_that_is_none_is_refused_with_all_there_are() -> None:
    model = pellucid.wrap(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)))
    rows = torch.rand(1, 3, 4, 4)
    for fill, said in (
        ("region_maen", "perhaps 'region_mean'"),
        ("grey", "inpaint, drop, black"),
        (["drop", 0], "alone"),
    ):
        with pytest.raises(ParameterError, match=said):
            pellucid.explain(model, rows, pellucid.LIME(fill=fill, regions="cells(2, 2)", samples=16))
