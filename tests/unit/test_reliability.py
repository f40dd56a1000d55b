"""The page on reliability names tests that are there, for every row of its lists; and what no other test shows."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pellucid import LIME, explain, wrap

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


@cache
def functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 180
    for file, name in named:
        assert name in functions(ROOT / "tests" / file), f"{file}::{name}"
    for file in re.findall(r"`([\w/]+\.py)`", PAGE):
        assert (ROOT / "tests" / file).is_file(), file


@pytest.mark.parametrize(
    ("letter", "count"), [("", 35), ("A", 20), ("B", 34)], ids=["failures", "traps of perturbations", "metrics"]
)
def test_every_row_has_a_test(letter: str, count: int) -> None:
    rows = re.findall(rf"^\| {letter}(\d+) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, count + 1))
    assert all("::test_" in tests for _, tests in rows)


class Head(nn.Module):
    """Any number of classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(classes, 12, generator=draw, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.mark.parametrize("emits", ["logits", "sigmoid_logits"])
@pytest.mark.parametrize("classes", [1, 2, 10, 21_841])
def test_any_number_of_classes(classes: int, emits: str) -> None:
    """Softmax and independent labels alike; one output has no softmax."""
    model, x = Head(classes), torch.rand(2, 3, 2, 2, dtype=torch.float64)
    handle = wrap(model, emits="sigmoid_logits" if classes == 1 else emits)
    last = classes - 1
    got = explain(handle, x, ["gradient", LIME(samples=32, regions="cells(2, 2)")], target=last)
    torch.testing.assert_close(got[0].values.flatten(1), model.weight[last].expand(2, -1).detach())
    assert all(torch.isfinite(e.values).all() for e in got)
    assert len(got[0].prediction.index[0]) == min(5, classes)


class Root(nn.Module):
    """Its slope at zero is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        y = (self.unit * x).abs().sqrt().flatten(1).mean(1)
        return torch.stack([y, -y], 1)


def test_gradients_that_are_not_finite_turn_the_check_red() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64) + 0.1
    x[1] = 0
    check = explain(Root(), x, "gradient", target=0)[0].check("degenerate")
    assert check is not None and check.passed == (True, False)


def test_the_linter_refuses_hidden_errors() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert {"BLE", "S110", "S112", "S301", "S307", "S102", "TID251"} <= set(lint["select"])
    assert not {"BLE", "BLE001", "S110", "S112", "S301"} & set(lint["ignore"])
    assert {"pickle", "torch.load"} <= set(lint["flake8-tidy-imports"]["banned-api"])
