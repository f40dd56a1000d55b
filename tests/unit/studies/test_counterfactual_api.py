"""Counterfactuals of whole models: verified, within what may change, and honest where there is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.core.errors import InputError, ParameterError, TargetError

DRAW = torch.Generator().manual_seed(0)
DATA = torch.randn(300, 4, generator=DRAW, dtype=torch.float64) * torch.tensor([1.0, 2, 0.5, 1])
ROW = torch.tensor([[-0.5, 0.3, 0.1, -0.2]]).double()


def linear(w: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(w[0]), len(w)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w))
        layer.bias.copy_(torch.tensor(bias))
    return layer


TWO = pellucid.wrap(linear([[0, 0, 0, 0], [1, 1, 2, -0.5]], [0, -2]), labels=["no", "yes"], name="bank", emits="logits")


def test_a_linear_classifier_by_hand() -> None:
    """The column with most weight per standard deviation, x1, alone, as far as the margin asks."""
    got = pellucid.counterfactual(TWO, ROW, data=DATA, count=1)
    w, std = torch.tensor([1.0, 1, 2, -0.5]).double(), DATA.std(0, correction=0)
    margin = 2 - float(ROW[0] @ w)
    assert int((w.abs() * std).argmax()) == 1
    assert [c.feature for c in got[0].changes] == ["x1"]
    assert float(got[0].row[1]) == pytest.approx(0.3 + margin, rel=1e-3)
    assert got[0].distance == pytest.approx(margin / float(std[1]), rel=1e-3)
    assert got[0].says == "yes"
    assert got.calls <= 4002


def test_all_flip_and_keep_to_what_may_change() -> None:
    got = pellucid.counterfactual(
        TWO, ROW, "yes", data=DATA, frozen=["x1"], ranges={"x0": (-0.5, 0.6)}, directions={2: "up", 3: "down"}
    )
    assert len(got) >= 2
    said = TWO.module(got.rows)
    assert bool((said[:, 1] > said[:, 0]).all())
    assert bool((got.rows[:, 1] == ROW[0, 1]).all())
    assert bool((got.rows[:, 0] <= 0.6).all())
    assert bool((got.rows[:, 2] >= ROW[0, 2]).all())
    assert bool((got.rows[:, 3] <= ROW[0, 3]).all())
    changed = {tuple(c.feature for c in one.changes) for one in got}
    assert len(changed) == len(got)


def test_none_is_said_to_be_none() -> None:
    got = pellucid.counterfactual(
        TWO, ROW, data=DATA, frozen=["x0", "x1", "x2"], ranges={"x3": (-1.0, 0.0)}, budget=300
    )
    assert len(got) == 0
    assert "none found" in str(got)
    assert got.calls <= 301
    assert got.rows.shape == (0, 0)


def test_calls_are_counted() -> None:
    seen: list[int] = []
    layer = linear([[0, 0, 0, 0], [1, 1, 2, -0.5]], [0, -2])
    layer.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    model = pellucid.wrap(layer, emits="logits", evaluate="plain")
    pellucid.explain(model, ROW, "gradient")  # which looks at the model
    seen.clear()
    got = pellucid.counterfactual(model, ROW, data=DATA)
    assert sum(seen) == got.calls
    assert got.calls <= 4000 + 1 + len(got)


def test_a_forest_like_model_of_steps() -> None:
    def votes(x: Tensor) -> Tensor:
        return torch.stack([(x[:, 0] > 0.4).double() + (x[:, 2] > 0.3) + (x[:, 1] > 5), 0 * x[:, 0] + 1.5], 1)

    model = pellucid.wrap(lambda x: votes(x).numpy(), labels=["in", "out"])
    got = pellucid.counterfactual(model, ROW, "in", data=DATA)
    row = got[0].row
    assert {c.feature for c in got[0].changes} == {"x0", "x2"}
    assert float(row[0]) == pytest.approx(0.4, abs=0.01)
    assert float(row[2]) == pytest.approx(0.3, abs=0.01)


def test_a_number_between_two_ends() -> None:
    model = pellucid.wrap(linear([[1, 2, 0, 0]], [0.5]), emits="values")
    got = pellucid.counterfactual(model, ROW, (3.0, 4.0), data=DATA)
    values = model.module(got.rows)[:, 0]  # pyright: ignore[reportAttributeAccessIssue]
    assert bool(((values > 3) & (values < 4)).all())
    with pytest.raises(TargetError, match="already"):
        pellucid.counterfactual(model, ROW, (0.0, 4.0), data=DATA)


def test_one_probability() -> None:
    model = pellucid.wrap(lambda x: (x[:, :1] - 1).sigmoid().numpy(), labels=["ill"], emits="probabilities")
    got = pellucid.counterfactual(model, ROW, data=DATA, count=1)
    assert got.was == "not ill"
    assert got[0].says == "ill"
    assert float(got[0].row[0]) == pytest.approx(1, rel=1e-2)


def test_the_same_call_gives_the_same() -> None:
    before = torch.get_rng_state()
    one, two = (str(pellucid.counterfactual(TWO, ROW, data=DATA)) for _ in range(2))
    assert one == two
    assert "bank says no of the row; for another class" in one
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_refused() -> None:
    with pytest.raises(TargetError, match="already"):
        pellucid.counterfactual(TWO, ROW, "no")
    with pytest.raises(TargetError):
        pellucid.counterfactual(TWO, ROW, (0.0, 1.0))
    with pytest.raises(InputError, match="one row"):
        pellucid.counterfactual(TWO, DATA)
    with pytest.raises(ParameterError, match="no column"):
        pellucid.counterfactual(TWO, ROW, frozen=["x9"])
    with pytest.raises(ParameterError, match="range"):
        pellucid.counterfactual(TWO, ROW, ranges={"x1": (2.0, 1.0)})
    with pytest.raises(ParameterError, match="direction"):
        pellucid.counterfactual(TWO, ROW, directions={"x1": "left"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="count"):
        pellucid.counterfactual(TWO, ROW, count=0)
    with pytest.raises(InputError, match="same columns"):
        pellucid.counterfactual(TWO, ROW, data=DATA[:, :2])
