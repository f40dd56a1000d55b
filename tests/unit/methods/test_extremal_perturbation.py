"""Extremal perturbations: the chain by hand against autograd, planted models, areas, and independence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

from pellucid.api import explain
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.methods.extremal_perturbation import ExtremalPerturbation, _kept
from pellucid.ops.extremal import SmoothMask, beyond, exact

X = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).double() / 2 + 0.5
NET: Any = net(Convnet())
SMALL = pictures(3, side=8)


class Corners(nn.Module):
    """Reads one corner; two corners, either of which serves; and two that serve only together."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[..., :6, :6].mean((1, 2, 3)), x[..., -8:-2, -8:-2].mean((1, 2, 3))
        return torch.stack([torch.tanh(3 * a), torch.maximum(a, b), a * b], 1) * self.unit


def one(model: Any, x: Tensor, target: Any = 0, **how: Any) -> Explanation:
    return explain(model, x, ExtremalPerturbation(**how), target=target, output="logit")[0]


@pytest.mark.parametrize(("size", "grid"), [((24, 24), (8, 8)), ((20, 31), (7, 9)), ((6, 5), (6, 5))])
def test_the_chain_through_the_mask_is_that_of_autograd(size: tuple[int, int], grid: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(1)
    shape, p = SmoothMask(size, grid, 0.15), torch.rand(3, *grid, generator=draw).double().requires_grad_()
    upon = torch.rand(3, *size, generator=draw).double() - 0.5
    wanted = torch.autograd.grad((shape.large(shape.small(p)) * upon).sum(), p)[0]
    torch.testing.assert_close(shape.pulled(p.detach(), shape.shrunk(upon)), wanted, rtol=1e-9, atol=1e-12)
    small = shape.small(p)
    areas = torch.tensor([0.1, 0.3, 0.7]).double()
    loss = sum(
        (m.flatten().sort(descending=True).values - (torch.arange(m.numel()) < round(float(a) * m.numel())).double())
        .square()
        .sum()
        for m, a in zip(small, areas, strict=True)
    )
    slope = torch.autograd.grad(loss, small)[0] if isinstance(loss, Tensor) else None
    torch.testing.assert_close(2 * beyond(small.detach(), areas), slope)


def test_spots_are_round_and_do_not_add_up() -> None:
    shape = SmoothMask((9, 9), (9, 9), 0.2)
    assert not bool(shape.small(torch.zeros(1, 9, 9)).any())
    p = torch.zeros(1, 9, 9)
    p[0, 4, 4] = 1
    alone = shape.small(p)[0]
    torch.testing.assert_close(alone, alone.mT)
    torch.testing.assert_close(alone, alone.flip(0))
    p[0, 4, 5] = 1
    assert float(shape.small(p).max()) <= 1


def test_the_mask_finds_the_corner_that_is_read_and_keeps_its_area() -> None:
    e = one(Corners(), X, fill="black", areas=(0.0625, 0.25))
    masks = e.extras["masks"]
    assert masks.shape == (2, 2, 24, 24)
    assert float(masks[..., :6, :6].mean((2, 3)).min()) > 0.85
    torch.testing.assert_close(masks.mean((2, 3)), torch.tensor([[0.0625, 0.25]] * 2).double(), rtol=1e-3, atol=0)
    assert bool((e.extras["scores"] > 0.95 * e.extras["whole"][:, None]).all())
    assert {c.name: c for c in e.checks}["area"].passed == (True, True)
    torch.testing.assert_close(e.values, masks.mean(1))
    with torch.no_grad():
        torch.testing.assert_close(e.extras["scores"][:, 0], Corners()(X * masks[:, :1])[:, 0])


def test_areas_are_made_exact_and_nothing_changes_its_place() -> None:
    draw = torch.Generator().manual_seed(3)
    masks = torch.rand(3, 40, 30, generator=draw).double()
    masks[:, :4], masks[:, 36:] = 0, 1
    areas = torch.tensor([0.15, 0.5, 0.8]).double()
    made = exact(masks, areas)
    torch.testing.assert_close(made.mean((1, 2)), areas, rtol=1e-6, atol=0)
    assert torch.equal(made.flatten(1).argsort(dim=1, stable=True), masks.flatten(1).argsort(dim=1, stable=True))
    assert torch.equal(made[:, :4], masks[:, :4]) and torch.equal(made[:, 36:], masks[:, 36:])
    whole = torch.ones(1, 5, 5).double()
    assert torch.equal(exact(whole, areas[:1]), whole)  # no power makes a part of it


def test_the_area_check_is_what_lies_outside() -> None:
    """Of a sharp part nothing does, of an even grey all but the area itself."""
    sharp, grey = torch.zeros(10, 10), torch.full((10, 10), 0.3)
    sharp[:5, :4] = 1
    masks = torch.stack([sharp, grey]).double().view(1, 2, 1, 10, 10)
    assert _kept(masks, torch.tensor([0.2]).double()).value.tolist() == [pytest.approx([0.0, 0.8])]


def test_what_serves_only_together_is_shown_together() -> None:
    e = one(Corners(), X, target=2, fill="black", areas=(0.125,))
    for corner in (slice(0, 6), slice(-8, -2)):
        assert float(e.values[:, corner, corner].mean()) > 0.7


def test_deleting_hides_both_where_either_serves() -> None:
    shown = one(Corners(), X, target=1, fill="black", areas=(0.0625,))
    assert bool((shown.extras["scores"][:, 0] > 0.85 * shown.extras["whole"]).all())
    away = one(Corners(), X, target=1, fill="black", areas=(0.15,), mode="delete")
    for corner in (slice(0, 6), slice(-8, -2)):
        assert float(away.values[:, corner, corner].mean()) > 0.7
    assert bool((away.extras["scores"][:, 0] < 0.3 * away.extras["whole"]).all())


def test_too_few_steps_turn_the_area_red() -> None:
    e = one(Corners(), X, fill="black", areas=(0.05,), steps=2)
    assert {c.name: c for c in e.checks}["area"].passed == (False, False)


def test_rows_and_targets_do_not_change_each_other() -> None:
    how: dict[str, Any] = {"steps": 5, "cells": 8, "areas": (0.2, 0.5)}
    whole = explain(NET, SMALL, ExtremalPerturbation(**how), target=[0, 2], output="logit")
    for e, target in zip(whole, (0, 2), strict=True):
        for i in range(3):
            alone = one(NET, SMALL[i : i + 1], target=target, **how)
            torch.testing.assert_close(e.values[i : i + 1], alone.values, rtol=1e-6, atol=1e-9)


def test_pictures_need_not_be_square() -> None:
    x = torch.rand(1, 2, 5, 9, generator=torch.Generator().manual_seed(0)).double()
    model = nn.Sequential(nn.Flatten(), net(nn.Linear(90, 3)))
    assert one(model, x, steps=3, fill="black").values.shape == (1, 5, 9)


@pytest.mark.parametrize("areas", [(), (0.0,), (0.1, 1.0), "small", (True,)])
def test_areas_that_are_none_are_refused(areas: Any) -> None:
    with pytest.raises(ParameterError, match="between 0 and 1"):
        one(Corners(), X, areas=areas)


def test_only_pictures() -> None:
    with pytest.raises(InputError, match="pictures"):
        one(net(nn.Linear(6, 3)), torch.rand(2, 6).double())
