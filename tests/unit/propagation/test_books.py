"""The books: at every operator, what comes in goes on to inputs, to constants, or is told as a leak."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn

import pellucid
from pellucid.core.errors import InputError
from pellucid.propagation import Audit, Booked, Composite, Intercept, Kind, Manner, On
from pellucid.propagation.lrp.flows import Norm, Pass
from pellucid.propagation.lrp.layers import Epsilon

X = row(1, 3, 6, 6, seed=4)


def composite(epsilon: float = 0.0) -> Composite:
    lines = (
        On(Pass(), kinds=(Kind.RECTIFIER,)),
        On(Norm(0.0), kinds=(Kind.ADD, Kind.MEAN_POOL)),
        On(Epsilon(epsilon), kinds=(Kind.LINEAR, Kind.CONVOLUTION)),
    )
    return Composite("books", lines, Manner(start="score"))


class Net(nn.Module):
    """Convolution with a bias, rectifier, residual sum, class token, linear layer with a bias."""

    def __init__(self, spelling: str = "modules") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.again = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
        self.head = nn.Linear(4, 5)
        self.token = nn.Parameter(torch.rand(1, 4, 1, 1))
        self.act, self.spelling = nn.ReLU(), spelling
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "functions":
            a = torch.relu(F.conv2d(x, self.conv.weight, self.conv.bias, padding=1))
            b = a + F.conv2d(a, self.again.weight)
            b = F.conv2d(b, self.again.weight).clamp(min=0)
        elif self.spelling == "in place":
            a = self.conv(x)
            F.relu_(a)
            b = self.again(a).add_(a)
            b = self.again(b).relu_()
        else:
            a = self.act(self.conv(x))
            b = self.act(self.again(a + self.again(a)))
        tokens = torch.cat([self.token.expand(len(x), 4, 1, 6), b], 2)
        return self.head(tokens.mean((2, 3)))


def books(model: nn.Module, rules: Composite, x: Tensor = X, target: int = 1) -> tuple[Audit, Tensor, Tensor]:
    """The audit, the map and the score."""
    leaf, told = x.clone().requires_grad_(), list[Audit]()
    with Intercept(model, Booked(rules, told)) as seen:
        y = model(leaf)
    (found,) = torch.autograd.grad(y[:, target], leaf, y[:, target].detach())
    seen.verify()
    return told[0], found, y[:, target].detach()


def test_a_bias_takes_its_share():
    linear = nn.Linear(4, 3).double()
    x = row(1, 4, seed=2)
    audit, found, score = books(linear, composite(), x)
    (entry,) = audit
    torch.testing.assert_close(torch.tensor(entry.relevance_in), score.float()[0])
    torch.testing.assert_close(torch.tensor(entry.relevance_out), (linear.weight[1] @ x[0]).float())
    torch.testing.assert_close(torch.tensor(entry.to_constants), linear.bias[1].float())
    assert entry.relevance_out == pytest.approx(float(found.sum()))
    assert entry.leak == pytest.approx(0, abs=1e-12)


def test_epsilon_leaks_what_it_says():
    linear = nn.Linear(4, 3).double()
    audit, _, score = books(linear, composite(0.5), row(1, 4, seed=2))
    z = float(score)
    assert audit.entries[0].leak == pytest.approx(z - z * z / (z + (0.5 if z >= 0 else -0.5)))


@pytest.mark.parametrize("spelling", ["modules", "functions", "in place"])
def test_all_relevance_is_found_in_any_spelling(spelling):
    audit, found, score = books(Net(spelling), composite(1e-3))
    wanted, *_ = books(Net(), composite(1e-3))
    assert (
        audit.full
        and audit.started == pytest.approx(float(score))
        and audit.arrived == pytest.approx(float(found.sum()))
    )
    assert audit.started == pytest.approx(audit.arrived + audit.to_constants + audit.leaked, abs=1e-9)
    for entry, other in zip(audit, wanted, strict=True):
        assert (entry.kind, entry.rule) == (other.kind, other.rule)
        for name in ("relevance_in", "relevance_out", "to_constants", "leak"):
            assert getattr(entry, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-9)


def test_a_class_token_is_a_constant():
    audit, _, _ = books(Net(), composite())
    joined = next(entry for entry in audit if entry.operator == "cat")
    assert abs(joined.to_constants) > 1e-6 and joined.leak == 0
    assert joined.relevance_in == pytest.approx(joined.relevance_out + joined.to_constants)


SUMS = {
    "a number": lambda a: a + 0.7,
    "a number, minus": lambda a: 1.5 - a,
    "a number, by name": lambda a: torch.add(a, other=1, alpha=2),
    "a number, in place": lambda a: a.clone().sub_(0.3),
    "a tensor": lambda a: a + torch.full((4, 1, 1), 0.7, dtype=a.dtype),
}


@pytest.mark.parametrize("name", SUMS)
def test_numbers_in_sums_are_constants(name):
    function = SUMS[name]
    model = Called(function)
    audit, found, score = books(model, composite())
    (entry,) = [entry for entry in audit if entry.kind is Kind.ADD]
    zeros = function(torch.zeros(1, 4, 1, 1, dtype=torch.float64)).flatten()[0]
    z = model.conv(X)
    out = function(z)
    share = zeros / out * model.head.weight[1].view(1, 4, 1, 1) * out / out[0, 0].numel()
    assert entry.to_constants == pytest.approx(float(share.sum().detach())) and entry.leak == pytest.approx(0, abs=1e-9)
    assert audit.started == pytest.approx(audit.arrived + audit.to_constants, abs=1e-9)
    assert audit.arrived == pytest.approx(float(found.sum())) and audit.started == pytest.approx(float(score))


def buffered(a: Tensor) -> Tensor:
    whole = torch.full_like(a, 0.5)
    whole[:, 1:] = a[:, 1:]
    return whole


def filled(a: Tensor) -> Tensor:
    a = a.clone()
    a[:, 0] = 2.0
    return a


@pytest.mark.parametrize("function", [buffered, filled])
def test_what_is_assigned_into_constants_is_found(function):
    model = Called(function)
    audit, *_ = books(model, composite())
    (entry,) = [entry for entry in audit if entry.operator == "setitem"]
    constant = 0.5 if function is buffered else 2.0
    assert entry.to_constants == pytest.approx(constant * float(model.head.weight[1, 0].detach())) and entry.leak == 0
    assert audit.started == pytest.approx(audit.arrived + audit.to_constants, abs=1e-9)


class Called(nn.Module):
    """Convolution, a function of its output, mean, linear layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.function = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5), function
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.conv(x)).mean((2, 3)))


def test_the_worst_stand_first():
    audit, _, _ = books(Net(), composite(0.1))
    leaks = [abs(entry.leak) for entry in audit.worst]
    assert leaks == sorted(leaks, reverse=True) and set(audit.worst) == set(audit)
    lines = audit.table(2).splitlines()
    assert "relevance in  relevance out  to constants  leak" in lines[0]
    assert lines[3] == f"… and {len(audit) - 2} more calls" and len(lines) == 6
    assert f"relevance: {audit.started:.4g} at the output, {audit.arrived:.4g} at the input" in lines[-1]


def test_nothing_is_counted_for_gradients():
    audit = pellucid.audit(Net(), X, "guided_backprop", target=1)
    assert not audit.full and audit.started is None and all(entry.leak is None for entry in audit)
    assert {(e.operator, e.layer, e.rule) for e in audit.served} == {("relu", "act", "guided")}
    assert "ran in backward" in str(audit)


@pytest.mark.parametrize("method", ["lrp", pellucid.LRP(composite="zero"), pellucid.LRP(at="again[0]")])
def test_the_verb_keeps_the_books_of_a_method(method):
    model = Net()
    audit = pellucid.audit(model, X.float(), method, target=1)
    explained = pellucid.explain(model, X.float(), method, target=1)[0]
    assert [entry.layer for entry in audit if entry.operator == "conv2d"] == ["conv", "again", "again"]
    assert audit.started == pytest.approx(explained.target.score[0], rel=1e-4)
    if getattr(method, "at", None) is None:
        assert audit.arrived == pytest.approx(float(explained.values.sum()), rel=1e-4, abs=1e-5)


def test_the_verb_refuses_what_has_no_books():
    with pytest.raises(InputError, match="leaves the backward pass as it is"):
        pellucid.audit(Net(), X, "gradient")
    with pytest.raises(InputError, match="2 photos for an audit"):
        pellucid.audit(Net(), X.repeat(2, 1, 1, 1))
    with pytest.raises(InputError, match="2 targets for an audit"):
        pellucid.audit(Net(), X, target=[0, 1])


def test_a_second_audit_names_layers_again():
    model = Net()
    first, second = (pellucid.audit(model, X, "lrp", target=1) for _ in range(2))
    assert first == second and "conv" in {entry.layer for entry in second}
