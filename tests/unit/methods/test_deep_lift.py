"""DeepLIFT against the examples of its paper, closed forms, and nets written out unit by unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.propagation.deeplift.passes import filled, numbers
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.errors import PellucidError, RuleError
from pellucid.core.explanation import Explanation
from pellucid.core.target import Unit
from pellucid.methods.deep_lift import DeepLift, DeepLiftShap
from pellucid.methods.rect_grad import RectGrad


def lift(model: nn.Module, x: Tensor, method: Any, target: Any = 0, **more: Any) -> Explanation:
    return explain(wrap(model, emits="logits", evaluate="plain"), x, method, target=target, **more)[0]


def layer(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    made = nn.Linear(len(weight[0]), len(weight), bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(weight))
        if bias is not None:
            made.bias.copy_(torch.tensor(bias))
    return made


ZERO = {"baseline": "zero"}


class Minimum(nn.Module):
    """min(a, b) = a − max(a − b, 0): the paper's example of what rescaling gets wrong, section 3.5.2."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layer([[1.0, -1.0]]), layer([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([x, self.first(x).relu()], 1))


@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (0.5, 10.0)])
def test_reveal_cancel_shares_a_minimum_between_both(a: float, b: float):
    x, least = torch.tensor([[a, b]], dtype=torch.float64), min(a, b)
    rescaled = lift(Minimum(), x, DeepLift(**ZERO)).values[0]
    revealed = lift(Minimum(), x, DeepLift(rule="reveal_cancel", **ZERO)).values[0]
    assert torch.allclose(rescaled, torch.tensor([0.0, least] if a > b else [least, 0.0], dtype=torch.float64))
    assert torch.allclose(revealed, torch.tensor([least / 2, least / 2], dtype=torch.float64))


def test_saturated_units_get_their_part():
    """y = 1 − max(1 − a − b, 0) at (1, 1): the gradient is zero, section 2.2."""
    model = nn.Sequential(layer([[-1.0, -1.0]], [1.0]), nn.ReLU(), layer([[-1.0], [0.0]], [1.0, 0.0]))
    x = torch.ones(1, 2, dtype=torch.float64)
    for rule in ("rescale", "reveal_cancel"):
        assert torch.allclose(lift(model, x, DeepLift(rule=rule, **ZERO)).values, torch.full_like(x, 0.5))


def test_a_threshold_is_shared_by_what_reaches_it():
    """y = max(x − 10, 0) at 10 + ε: the gradient jumps, the contribution grows from zero, section 2.2."""
    model = nn.Sequential(layer([[1.0]], [-10.0]), nn.ReLU(), layer([[1.0], [0.0]]))
    for x in (9.0, 10.0, 10.5, 14.0):
        got = lift(model, torch.tensor([[x]], dtype=torch.float64), DeepLift(**ZERO)).values
        assert float(got) == pytest.approx(max(x - 10, 0))


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_linear_models_have_a_closed_form(rule: str):
    model, x = layer(numbers(3, 4).tolist(), [0.1, 0.2, 0.3]), numbers(5, 4, seed=1)
    got = lift(model, x, DeepLift(rule=rule, baseline=numbers(4, seed=2)), target=1).values
    assert torch.allclose(got, model.weight[1].detach() * (x - numbers(4, seed=2)), rtol=1e-12)


def slope(f: nn.Module, z: Tensor) -> float:
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        return float(torch.autograd.grad(f(z), z)[0])


def by_units(model: nn.Sequential, x: Tensor, r: Tensor, rule: str, target: int) -> Tensor:
    """The paper's rules for linear layer, activation, linear layer, activation, linear layer, in plain loops."""
    f = model[1]
    activations, given = [(x, r)], (x, r)
    for part in model:
        given = (part(given[0]), part(given[1]))
        activations.append(given)
    m = [float(v) for v in model[4].weight[target]]
    for at in (3, 1):
        (z, z0), (a, a0), w = activations[at], activations[at - 1], model[at - 1].weight
        below = [0.0] * len(a)
        for j in range(len(z)):
            parts = [float(w[j, i] * (a[i] - a0[i])) for i in range(len(a))]
            up, down = sum(p for p in parts if p > 0), sum(p for p in parts if p < 0)
            rate = float((f(z[j]) - f(z0[j])) / (z[j] - z0[j]))
            plus = minus = rate
            if rule == "reveal_cancel":
                rise = (f(z0[j] + up) - f(z0[j]) + f(z0[j] + up + down) - f(z0[j] + down)) / 2
                fall = (f(z0[j] + down) - f(z0[j]) + f(z0[j] + up + down) - f(z0[j] + up)) / 2
                plus = float(rise) / up if up else (slope(f, z0[j]) + slope(f, z0[j] + down)) / 2
                minus = float(fall) / down if down else (slope(f, z0[j]) + slope(f, z0[j] + up)) / 2
            for i, part in enumerate(parts):
                rate = plus if part > 0 else minus if part < 0 else (plus + minus) / 2
                below[i] += m[j] * float(w[j, i]) * rate
        m = below
    return torch.tensor(m, dtype=torch.float64) * (x - r)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.Hardtanh()])
def test_unit_by_unit(rule: str, activation: nn.Module):
    model = filled(nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 5), activation, nn.Linear(5, 3)))
    x, r = numbers(3, 4, seed=1), numbers(4, seed=2)
    got = lift(model, x, DeepLift(rule=rule, baseline=r), target=2).values
    with torch.no_grad():
        wanted = torch.stack([by_units(model, row, r, rule, 2) for row in x])
    assert torch.allclose(got, wanted, rtol=1e-9, atol=1e-12)


def convnet() -> nn.Module:
    return filled(
        nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5)
        )
    )


X = numbers(3, 3, 8, 8, seed=4)


def gap_of(e: Explanation) -> float:
    (check,) = [check for check in e.checks if check.name == "completeness"]
    assert check.limit is not None and check.limit <= 1e-5
    return max(check.value)


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability", "margin"])
@pytest.mark.parametrize("method", [DeepLift(), DeepLift(rule="reveal_cancel", baseline="noise"), DeepLiftShap()])
def test_the_change_of_every_kind_of_score_is_shared_out(output: Any, method: Any):
    assert gap_of(lift(convnet(), X, method, 1, output=output)) <= 1e-9


def test_the_score_of_the_baseline_is_right():
    """The sum is held against a score that does not come from the method itself."""
    model, got = convnet(), lift(convnet(), X, DeepLift(baseline="noise"), 1)
    (noise,) = [lift(model, X, DeepLift(baseline="noise"), 1)]
    with torch.no_grad():
        start = model(X)[:, 1] - got.values.flatten(1).sum(1)
    assert torch.allclose(start, start[:1].expand(3))  # one baseline for all
    assert torch.equal(noise.values, got.values)


def test_shap_is_the_mean_over_backgrounds_with_its_error():
    model, grounds = convnet(), numbers(4, 3, 8, 8, seed=9)
    single = torch.stack([lift(model, X, DeepLift(baseline=g), 2).values for g in grounds])
    for given in (grounds, tuple(grounds)):
        got = lift(model, X, DeepLiftShap(baselines=given), 2)
        assert torch.allclose(got.values, single.mean(0), rtol=1e-9, atol=1e-13)
        assert got.std_error is not None
        assert torch.allclose(got.std_error, single.std(0) / 2, rtol=1e-7, atol=1e-12)
        assert gap_of(got) <= 1e-9


def test_at_a_layer_of_a_chain_the_contributions_add_up_too():
    model = convnet()
    got = lift(model, X, DeepLift(at="3"), 1)
    with torch.no_grad():
        change = model(X)[:, 1] - model(torch.zeros_like(X))[:, 1]
    assert got.values.shape == (3, 4, 1, 1)
    assert torch.allclose(got.values.flatten(1).sum(1), change, rtol=1e-9)


def test_rows_in_any_chunks():
    model = convnet()
    whole = lift(model, X, DeepLiftShap(), 1).values
    few = explain(wrap(model, emits="logits", evaluate="plain", rows=2), X, DeepLiftShap(), target=1)[0].values
    assert torch.allclose(whole, few, rtol=1e-9, atol=1e-13)


class Windows(nn.Module):
    """Two windows of each picture side by side on the axis of the rows, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        windows = torch.cat(x[:, None].split(4, -1), 1).flatten(0, 1) if x.ndim == 4 else x
        inside = self.conv(windows).tanh().amax((2, 3))
        return self.head(inside.unflatten(0, (len(x), 2)).flatten(1))


def test_one_baseline_for_rows_that_become_several():
    got = lift(filled(Windows()), X, DeepLift(), 1)
    assert gap_of(got) <= 1e-9
    alone = torch.cat([lift(filled(Windows()), row[None], DeepLift(), 1).values for row in X])
    assert torch.allclose(got.values, alone, rtol=1e-9)


def test_passes_are_counted_with_those_of_the_reference():
    model = wrap(convnet(), emits="logits", evaluate="plain")
    levels = ("black", "black", "black", "white")  # the first pass also learns the layers' names
    runs = [explain(model, X, DeepLift(baseline=b), target=1)[0].record.passes for b in levels]
    assert {(run.forward, run.backward) for run in runs} == {(3, 3)}
    assert [run.verification for run in runs] == [2, 1, 0, 1]  # one row for all three; the model is looked at once
    shap = lift(convnet(), X, DeepLiftShap(), 1).record.passes
    assert (shap.forward, shap.backward) == (2 * 9 + 3, 9)


class Upto(nn.Sequential):
    """The mean over the places of one channel, or one number, behind the first layers of a net."""

    def __init__(self, net: nn.Module, unit: Unit) -> None:
        super().__init__(*list(net.children())[: int(unit.site.name) + 1])  # pyright: ignore[reportAttributeAccessIssue]
        self.index = unit.index

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)[(slice(None), *self.index)]
        return y.reshape(len(input), -1).mean(1, keepdim=True)


@pytest.mark.parametrize(
    "method",
    [
        DeepLift(),
        DeepLift(rule="reveal_cancel", baseline="noise"),
        DeepLift(precision="double", baseline=X.flip(0)),
        DeepLift(at="1", baseline="white"),
        DeepLiftShap(),
    ],
)
@pytest.mark.parametrize("unit", [Unit("3", 2), Unit("2", (4, 1, 2)), Unit("1", 0)])
def test_a_unit_is_the_only_output_of_the_net_up_to_it(unit: Unit, method: Any):
    net = convnet()
    alone = lift(Upto(net, unit), X, method)
    of_class, of_unit = explain(wrap(net, emits="logits", evaluate="plain"), X, method, target=[1, unit])
    assert torch.allclose(of_unit.values, alone.values, rtol=1e-9, atol=1e-12)
    assert torch.allclose(of_class.values, lift(net, X, method, 1).values, rtol=1e-9, atol=1e-12)
    if method != DeepLift(at="1", baseline="white"):
        assert max(gap_of(of_unit), gap_of(lift(net, X, method, unit))) <= 1e-9


def test_refusals():
    with pytest.raises(PellucidError):
        DeepLift(rule="rescaled")
    with pytest.raises(PellucidError, match="baselines"):
        lift(convnet(), X, DeepLiftShap(baselines=()))
    ordered = nn.Sequential(nn.Flatten(), Sorted(), nn.Linear(192, 2, dtype=torch.float64))
    with pytest.raises(RuleError, match="sort"):
        lift(ordered, X, DeepLift())


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(1).values


# -- RectGrad -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [0.0, 50.0, 90.0, 98.0])
def test_rect_grad_by_hand(percentile: float):
    model = filled(nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 30), nn.ReLU6(), nn.Linear(30, 3)))
    x = numbers(4, 5)
    got = lift(model, x, RectGrad(percentile=percentile), 1).values
    with torch.no_grad():
        for row, mine in zip(x, got, strict=True):
            a = model[1](model[0](row))
            b = model[3](model[2](a))
            signal = model[4].weight[1]
            for act, weight in ((b, model[2].weight), (a, model[0].weight)):
                worth = act * signal
                cut = torch.quantile(worth, percentile / 100, interpolation="lower")
                signal = torch.where(worth > cut, signal, 0.0) @ weight
            assert torch.allclose(mine, signal, rtol=1e-9, atol=1e-12)
