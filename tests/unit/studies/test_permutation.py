"""Feature permutation: closed forms of linear models, columns that nobody reads, and how often the errors hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pellucid
from pellucid.core.errors import InputError, ParameterError
from pellucid.studies.permutation import importance, orders, shuffled

ROWS = torch.randn(400, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.tensor(
    [1, 2, 0.5, 1]
)
W = torch.tensor([1.5, -0.5, 2.0, 0.0]).double()


def line() -> nn.Linear:
    layer = nn.Linear(4, 1).double().requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(W[None])
        layer.bias.fill_(0.3)
    return layer


LINE = pellucid.wrap(line(), emits="values", name="line")


def test_a_linear_model_has_twice_its_variance() -> None:
    """E (w_j x_j − w_j x_π)² = 2 w_j² Var x_j over all permutations π."""
    got = pellucid.feature_permutation(LINE, ROWS, repeats=60)
    wanted = 2 * W.square() * ROWS.var(0, correction=0)
    assert got.loss == 0
    assert got.values[3] == 0
    assert got.std_error[3] == 0
    torch.testing.assert_close(got.values, wanted, rtol=0.03, atol=1e-12)


def test_errors_hold_over_samples() -> None:
    """95 % intervals, over draws of rows, hold the value of the distribution in most of 80 runs."""
    draw = torch.Generator().manual_seed(5)
    inside = 0
    for seed in range(80):
        rows = torch.randn(150, 2, generator=draw, dtype=torch.float64)
        right = rows[:, 0]
        value, error, _ = importance(
            lambda some: some[:, :1], lambda y, right=right: (y[:, 0] - right).square(), rows, {"x0": [0]}, 5, seed
        )
        inside += abs(float(value) - 2) <= 1.96 * float(error)
    assert inside >= 72


def test_groups_are_shuffled_together() -> None:
    got = pellucid.feature_permutation(LINE, ROWS, groups={"both": ["x0", 2]}, repeats=40)
    assert got.features == ("both", "x1", "x3")
    together = W[0] * ROWS[:, 0] + W[2] * ROWS[:, 2]
    assert float(got.values[0]) == pytest.approx(2 * float(together.var(correction=0)), rel=0.05)
    for order in orders(len(ROWS), 2, 0, "g"):
        made = shuffled(ROWS, [0, 2], order)
        assert torch.equal(made[:, [1, 3]], ROWS[:, [1, 3]])
        pairs = {tuple(p) for p in ROWS[:, [0, 2]].tolist()}
        assert {tuple(p) for p in made[:, [0, 2]].tolist()} == pairs


def test_the_error_of_classes() -> None:
    """Where one column decides, shuffling it is right as often as two rows agree by chance."""
    model = pellucid.wrap(lambda x: torch.stack([0 * x[:, 0], 5 * x[:, 1]], 1).numpy(), labels=["low", "high"])
    right = (ROWS[:, 1] > 0).long()
    got = pellucid.feature_permutation(model, ROWS, right, repeats=30)
    p = float(right.double().mean())
    assert got.metric == "error"
    assert got.loss == 0
    assert float(got.values[1]) == pytest.approx(2 * p * (1 - p), abs=0.02)
    assert got.values[[0, 2, 3]].tolist() == [0, 0, 0]
    named = pellucid.feature_permutation(model, ROWS, ["high" if r else "low" for r in right], repeats=30)
    assert torch.equal(named.values, got.values)
    own = pellucid.feature_permutation(model, ROWS, repeats=30)
    assert torch.equal(own.values, got.values)


def test_the_loss_is_the_metric() -> None:
    layer = nn.Linear(4, 3).double().requires_grad_(False)
    y = torch.randint(3, (400,), generator=torch.Generator().manual_seed(1))
    got = pellucid.feature_permutation(pellucid.wrap(layer, emits="logits"), ROWS, y, metric="log_loss", repeats=1)
    assert got.loss == pytest.approx(float(nn.functional.cross_entropy(layer(ROWS), y)))
    own = pellucid.feature_permutation(LINE, ROWS, ROWS[:, 0], metric=lambda out, y: (out[:, 0] - y).abs(), repeats=1)
    assert own.loss == pytest.approx(float((line()(ROWS)[:, 0] - ROWS[:, 0]).abs().mean()))
    right = (ROWS[:, 0] > 0).long()
    one = pellucid.wrap(lambda x: (3 * x[:, :1]).sigmoid().numpy(), emits="probabilities")
    assert pellucid.feature_permutation(one, ROWS, right, repeats=1).loss == 0


def test_the_same_seed_gives_the_same_and_columns_do_not_matter_to_others() -> None:
    before = torch.get_rng_state()
    one, two = (pellucid.feature_permutation(LINE, ROWS, repeats=2, seed=3) for _ in range(2))
    assert torch.equal(one.values, two.values)
    other = pellucid.feature_permutation(LINE, ROWS, repeats=2, seed=4)
    assert not torch.equal(one.values, other.values)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(one).splitlines()[1].startswith("x0")


def test_what_is_refused() -> None:
    with pytest.raises(ParameterError, match="repeats"):
        pellucid.feature_permutation(LINE, ROWS, repeats=0)
    with pytest.raises(ParameterError, match="metric"):
        pellucid.feature_permutation(LINE, ROWS, metric="accuracy")
    with pytest.raises(ParameterError, match="gives a number"):
        pellucid.feature_permutation(LINE, ROWS, metric="error")
    with pytest.raises(ParameterError, match="once"):
        pellucid.feature_permutation(LINE, ROWS, groups={"a": ["x0"], "b": ["x0"]})
    with pytest.raises(InputError, match="one row"):
        pellucid.feature_permutation(LINE, ROWS[:1])
    with pytest.raises(InputError, match="one per row"):
        pellucid.feature_permutation(LINE, ROWS, ROWS[:3, 0])
    with pytest.raises(InputError, match="one loss per row"):
        pellucid.feature_permutation(LINE, ROWS, metric=lambda out, _: out.mean())
