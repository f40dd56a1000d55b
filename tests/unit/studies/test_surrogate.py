"""Surrogates of models that are trees, lines or neither; fidelity counted by hand; what is drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.games import CELLS, WHITE, Shown
from torch import Tensor, nn

import pellucid
from pellucid import views
from pellucid.core.errors import InputError, ParameterError, TargetError
from pellucid.core.points import generator
from pellucid.studies.surrogate import Recipe, _r2, _resolved, fitted
from pellucid.studies.terms import Feature, matrix, terms_of

ROWS = torch.randn(240, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Rule(nn.Module):
    """Any function of rows of numbers."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of
        self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.of(x) * self.unit


def planted(x: Tensor) -> Tensor:
    """Three classes by two questions: x1 > 0.3, then x4 > −0.2."""
    kind = torch.where(x[:, 1] <= 0.3, 0, torch.where(x[:, 4] <= -0.2, 1, 2))
    return 8.0 * nn.functional.one_hot(kind, 3).double()


TREE = pellucid.wrap(Rule(planted), labels=["ant", "bee", "cat"], emits="logits", name="planted")


def test_a_planted_tree_is_found() -> None:
    s = pellucid.surrogate(TREE, ROWS, depth=2)
    assert s.fidelity.agreement is not None
    assert s.fidelity.agreement >= 0.95
    assert not s.warnings
    assert s.tree is not None
    assert s.tree.term is not None
    assert s.tree.term.name == "x1"
    assert s.tree.threshold == pytest.approx(0.3, abs=0.1)
    assert [leaf.count for leaf in s.tree.leaves()] == [leaf.count for leaf in s.tree.leaves() if leaf.count >= 5]
    assert sum(leaf.count for leaf in s.tree.leaves()) == s.fidelity.rows == 180
    text = str(s)
    for part in ("if x1 ≤ 0.", "else, x1 > 0.", "if x4 ≤ -0.", "ant (100 %)", "bee (100 %)", "cat (100 %)"):
        assert part in text


def test_fidelity_is_what_it_says() -> None:
    """Agreement on exactly the rows that were held out, counted again from the predictions."""
    s = pellucid.surrogate(TREE, ROWS, depth=1, seed=3)
    draw = generator(3, "held out", 240)
    fresh = torch.randperm(240, generator=draw)[:60]
    wanted = planted(ROWS[fresh]).argmax(1)
    agreement = float((s(ROWS[fresh]) == wanted).double().mean())
    frequent = float(wanted.bincount().max()) / 60
    assert s.fidelity.agreement == pytest.approx(agreement)
    assert s.fidelity.frequent == pytest.approx(frequent)
    assert s.fidelity.explained == pytest.approx((agreement - frequent) / (1 - frequent))


def test_a_linear_model_is_recovered() -> None:
    model = pellucid.wrap(Rule(lambda x: (2 + 3 * x[:, 0] - x[:, 3])[:, None]), emits="values")
    s = pellucid.surrogate(model, ROWS, "linear", features=2)
    weights = {one.term.name: one for one in s.weights}
    assert list(weights) == ["x0", "x3"]
    assert weights["x0"].per_unit == pytest.approx(3)
    assert weights["x3"].per_unit == pytest.approx(-1)
    assert weights["x0"].std_error == pytest.approx(0, abs=1e-9)
    assert s.intercept == pytest.approx(2)
    assert s.fidelity.explained == pytest.approx(1)
    assert torch.allclose(s(ROWS), 2 + 3 * ROWS[:, 0] - ROWS[:, 3])
    assert "x0" in str(s)


def test_a_number_of_a_class_is_regressed() -> None:
    s = pellucid.surrogate(TREE, ROWS, target="bee", depth=2)
    assert not s.classes
    assert s.answers == ("probability of bee",)
    assert s.fidelity.explained > 0.85
    assert "R²" in str(s)


def test_what_cannot_be_said_simply_is_red() -> None:
    s = pellucid.surrogate(Rule(lambda x: (x.prod(1) * 5).sin()[:, None]), ROWS, depth=2, target=None, output="logit")
    assert s.fidelity.low
    assert s.warnings
    assert "! fidelity" in str(s)
    assert views.surrogate(s).note


def test_regions_of_one_picture() -> None:
    model = Shown(lambda s: torch.stack([4 * s[:, 1] * s[:, 4], 0 * s[:, 0]], 1))
    s = pellucid.surrogate(model, WHITE, depth=2, samples=120, regions=CELLS, fill="black", output="logit")
    assert s.tree is not None
    assert s.fidelity.explained > 0.95
    names = {node.term.name for node in (s.tree, *s.tree.parts) if node.term}
    assert names == {"region 1", "region 4"}
    assert "region 1 hidden" in str(s)
    assert s.regions is not None
    assert s.regions.shape == (8, 9)
    line = pellucid.surrogate(model, WHITE, "linear", features=2, samples=120, regions=CELLS, fill="black")
    assert {one.term.name for one in line.weights} == {"region 1", "region 4"}


def test_categories_are_asked_about_one_by_one() -> None:
    features = (Feature(name="colour", values=("red", "green", "blue")), Feature(name="old", values=("no", "yes")))
    rows = torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0)).repeat(20, 1).double()
    terms = terms_of(features)
    assert [t.name for t in terms] == ["colour = red", "colour = green", "colour = blue", "old = yes"]
    assert matrix(rows[:2], terms).tolist() == [[1, 0, 0, 0], [1, 0, 0, 1]]
    said = (rows[:, 0] == 1).long()
    s = fitted(rows, said, features, Recipe(depth=1), ("no", "yes"), "model")
    assert "if colour is not green:" in str(s)
    assert s.fidelity.agreement == 1


def test_missing_numbers_are_medians() -> None:
    x = torch.tensor([[1.0], [2], [torch.nan], [9]])
    assert matrix(x, terms_of((Feature(name="a"),)))[:, 0].tolist() == [1, 2, 2, 9]


def test_r2_and_resolved_at_the_edges() -> None:
    one = torch.ones(4).double()
    assert _r2(one, one) == 1
    assert _r2(one + 1, one) == 0
    assert _resolved(1.0, 1.0) == 1
    assert _resolved(0.9, 1.0) == 0
    assert _resolved(0.75, 0.5) == 0.5


def test_the_same_seed_gives_the_same() -> None:
    before = torch.get_rng_state()
    one, two = (str(pellucid.surrogate(TREE, ROWS, depth=3, seed=1)) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["tree", "linear"])
def test_it_is_drawn(kind: Any, tmp_path: Any) -> None:
    s = pellucid.surrogate(TREE, ROWS, kind, target=None if kind == "tree" else "cat")
    figure = views.surrogate(s)
    written = figure.svg()
    for part in ("x1", "held out") if kind == "linear" else ("x1 ≤ 0.", "yes", "no", "bee", "held out"):
        assert part in written
    saved = figure.save(tmp_path / "tree.png")
    assert saved.stat().st_size > 1000
    right = max(m.x + getattr(m, "width", 0) for m in figure.marks)
    assert right <= figure.width


def test_a_drawn_tree_shows_its_regions() -> None:
    model = Shown(lambda s: torch.stack([4 * s[:, 1], 0 * s[:, 0]], 1))
    x = WHITE.float()
    s = pellucid.surrogate(model.float(), x, depth=1, samples=60, regions=CELLS, fill="black", output="logit")
    photos = [mark for mark in views.surrogate(s).marks if hasattr(mark, "rgb")]
    assert len(photos) == (1 if s.picture is not None else 0)


def test_what_is_refused() -> None:
    with pytest.raises(ParameterError, match="kind"):
        pellucid.surrogate(TREE, ROWS, "forest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="depth"):
        pellucid.surrogate(TREE, ROWS, depth=0)
    with pytest.raises(ParameterError, match="held_out"):
        pellucid.surrogate(TREE, ROWS, held_out=1.0)
    with pytest.raises(InputError, match="rows for a surrogate"):
        pellucid.surrogate(TREE, ROWS[:3])
    with pytest.raises(TargetError):
        pellucid.surrogate(TREE, ROWS, target=[0, 1])
    with pytest.raises(InputError, match="pictures"):
        pellucid.surrogate(Shown(lambda s: s), WHITE.expand(2, -1, -1, -1), regions=CELLS, fill="black", samples=8)
    with pytest.raises(ParameterError, match="design"):
        pellucid.surrogate(Shown(lambda s: s), WHITE, design="dice")
