"""What a rule is told of a call: its place, which inputs a signal can flow to, which are gates, what is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn

from pellucid.core.errors import RuleError
from pellucid.propagation import Call, Intercept, Kind, Manner, Place, Rule
from pellucid.propagation.operators import operator_of


@dataclass(frozen=True)
class Gradient(Rule):
    """The plain gradient by another way, from inputs and output as they were; `calls` remembers what it saw."""

    calls: list[Call] = field(default_factory=list, compare=False)
    name: str = "gradient"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.calls.append(call)
        return inputs

    def borrows_output(self, call: Call) -> bool:
        return True

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, output = kept[: len(call.tracked)], kept[len(call.tracked)]
        with torch.enable_grad():
            leaves = [t.detach().clone().requires_grad_(flag) for t, flag in zip(inputs, call.tracked, strict=True)]
            again = call.run(tuple(leaf.clone() if call.inplace else leaf for leaf in leaves))
            again = again if isinstance(again, Tensor) else again[0]
            torch.testing.assert_close(again.detach(), output)
            found = iter(torch.autograd.grad(again, [leaf for leaf in leaves if leaf.requires_grad], upstream[0]))
        return tuple(next(found) if flag else None for flag in call.tracked)


@dataclass(frozen=True)
class Every:
    """One rule for all calls of some kinds."""

    rule: Rule
    kinds: frozenset[Kind] = frozenset(Kind) - {Kind.SHAPE, Kind.JOIN, Kind.CAST, Kind.DROPOUT}
    manner: Manner = Manner()  # noqa: RUF009 - frozen
    name: str = "every"

    def rule_for(self, place: Place) -> Rule | None:
        return self.rule if place.kind in self.kinds else None


class Of(nn.Module):
    """A model that is a function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def seen_by(function: Callable[[Tensor], Tensor], x: Tensor, rule: Gradient | None = None) -> tuple[Gradient, Tensor]:
    """Run forwards and backwards with the gradient by rules, which must be that of torch."""
    rule = rule or Gradient()
    leaf, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    with Intercept(model := Of(function), Every(rule)) as seen:
        y = model(leaf)
    signal = row(*y.shape, seed=99)
    (found,) = torch.autograd.grad(y, leaf, signal)
    seen.verify()
    (wanted,) = torch.autograd.grad(function(plain * 1), plain, signal)
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)
    return rule, found


X = row(2, 4, 6, 6, seed=1)
WEIGHT = row(4, 4, 3, 3, seed=2)

GATED: dict[str, tuple[Callable[[Tensor], Tensor], tuple[bool, ...]]] = {
    "sigmoid": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), (False, True)),
    "gate first": (lambda x: torch.sigmoid(x) * x, (True, False)),
    "hardsigmoid": (lambda x: x * F.hardsigmoid(x), (False, True)),
    "hardsigmoid as relu6": (lambda x: x * (F.relu6(x + 3) / 6), (False, True)),
    "hardsigmoid as clamp": (lambda x: x.mul((0.2 * x + 0.5).clamp(0, 1)), (False, True)),
    "in place": (lambda x: x * x.mean((2, 3), True).add_(3).clamp_(0, 6).div_(6), (False, True)),
    "moved": (lambda x: x * F.dropout(x.sigmoid().flip(2), training=False).view(2, 4, 6, 6), (False, True)),
    "chunk of it": (lambda x: x[:, :2] * x.softmax(1).chunk(2, 1)[1], (False, True)),
    "in part": (lambda x: x * (1 - x.sigmoid()), (False, True)),
    "expanded": (lambda x: x * x.mean((2, 3), True).sigmoid().expand_as(x), (False, True)),
    "overwritten": (lambda x: x * (x * 1).sigmoid_(), (False, True)),
    "no gate": (lambda x: x * x.tanh(), ()),
    "no gate any more": (lambda x: x * x.sigmoid().view(-1).mul(2).view(2, 4, 6, 6), (False, False)),
    "more than a gate": (lambda x: x * F.relu6(x), (False, False)),
    "no gate since": (lambda x: x * F.hardsigmoid(x).mul_(2), (False, False)),
    "logarithm": (lambda x: x * x.log_softmax(1), ()),
    "attention": (lambda x: (x @ x.transpose(2, 3)).softmax(3) @ x, (True, False)),
}


@pytest.mark.parametrize(("function", "gates"), GATED.values(), ids=GATED.keys())
def test_gates_are_known_in_any_spelling(function, gates):
    rule, _ = seen_by(function, X)
    last = [call for call in rule.calls if call.place.kind in (Kind.MULTIPLY, Kind.MATMUL)][-1]
    assert last.gates == gates


def test_only_what_depends_on_the_input_is_tracked():
    weight, place = nn.Parameter(WEIGHT), nn.Parameter(row(4, 1, 1, seed=3))
    rule, _ = seen_by(lambda x: F.conv2d(x, weight * 2, place.flatten()) + place * torch.ones(4, 6, 6)[:, :4, :4], X)
    assert [(call.operator.name, call.tracked) for call in rule.calls] == [
        ("conv2d", (True, False, False)),
        ("add", (True, False)),
    ]


def test_places_number_calls_in_order():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.GELU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(x + 1)
            index = y.argmax()  # no signal comes back through it
            return self.act(torch.sub(y, x).add(index * 0)).view(-1) + x.reshape(-1)

    rule = Gradient()
    with Intercept(net := Two().double(), Every(rule)) as seen:
        for _ in range(2):
            net(X.clone().requires_grad_())
    assert [(p.operator, p.layer, p.call, p.order) for p in seen.places] == [
        ("add", "", 1, 0),
        ("gelu", "act", 1, 1),
        ("sub", "", 1, 2),
        ("add", "", 2, 3),
        ("gelu", "act", 2, 4),
        ("view", "", 1, 5),
        ("reshape", "", 1, 6),
        ("add", "", 3, 7),
    ]
    served = [call.place for call in rule.calls if call.operator.name != "argmax"]
    assert served == 2 * [place for place in seen.places if place.kind is not Kind.SHAPE]


def overwriting(x: Tensor) -> Tensor:
    """Every value that a rule keeps is overwritten afterwards: the input of a mean, of a sum, and an output."""
    z = F.conv2d(x, WEIGHT)
    small, more = z.mean((2, 3), keepdim=True), z + 1
    double = F.interpolate(z, scale_factor=2)
    z.view(2, -1).mul_(2)
    F.relu_(z)
    more += z
    more[:, 0] = 3
    small.sigmoid_()
    return (z * small + more).sum((2, 3)) + double.sum((2, 3))


def test_what_the_model_overwrites_is_kept_as_it_was():
    rule, _ = seen_by(overwriting, X)
    names = "conv2d mean add interpolate mul relu add sigmoid mul add sum sum add"
    assert " ".join(call.operator.name for call in rule.calls) == names


@pytest.mark.parametrize(
    "positional", [lambda x: F.relu(x, True), lambda x: F.hardtanh(x, -1, 1, True), lambda x: F.elu(x, 1.0, True)]
)
def test_in_place_by_position(positional):
    def function(x: Tensor) -> Tensor:
        z = x * 2
        mean = z.mean(1)
        positional(z)
        return z.sum(1) + mean

    rule, _ = seen_by(function, X)
    assert [call.inplace for call in rule.calls] == [False, False, True, False, False]


def test_maxima_of_one_and_of_two():
    rule, _ = seen_by(lambda x: torch.max(x, x.flip(1)).max(2).values + x.amin(2) + torch.min(x, dim=2)[0], X)
    names = [(call.operator.name, call.place.kind) for call in rule.calls if call.place.kind is Kind.MAX_POOL]
    assert [name for name, _ in names] == ["maximum", "max", "amin", "min"]


@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        (Tensor.__rsub__, "rsub", Kind.ADD),
        (Tensor.__rtruediv__, "rdiv", Kind.DIVIDE),
        (Tensor.__rpow__, "rpow", Kind.ELEMENTWISE),
        (Tensor.__rmatmul__, "rmatmul", Kind.MATMUL),
        (Tensor.__itruediv__, "div", Kind.DIVIDE),
        (Tensor.T.__get__, "T", Kind.SHAPE),
        (torch.special.expit, "sigmoid", Kind.ACTIVATION),
        (torch.concat, "cat", Kind.JOIN),
        (torch.linalg.vector_norm, "norm", Kind.NORM),
        (torch.ops.aten.upsample_nearest2d.vec, "upsample_nearest2d", Kind.RESAMPLE),
        (torch.ops.aten.add_.Tensor, "add", Kind.ADD),
        (torch.cdist, "cdist", Kind.OTHER),
    ],
)
def test_spellings(function, name, kind):
    row = operator_of(function)
    assert (row.name, row.kind) == (name, kind)


def test_calls_are_freed_with_the_graph():
    import gc
    import weakref

    met: list[weakref.ref[Tensor]] = []

    def function(x: Tensor) -> Tensor:
        y = x * 2
        met.append(weakref.ref(y))
        z = y.mean(1)
        y.relu_()
        return (y.sum(1) * z).exp_()

    gc.disable()
    try:
        seen_by(function, X, Forgetful())
        assert met[0]() is None
    finally:
        gc.enable()


class Forgetful(Gradient):
    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs


@dataclass(frozen=True)
class Secant(Rule):
    """(f(x) − f(r)) / (x − r) of one number."""

    name: str = "secant"

    def serves(self, call: Call) -> bool:
        return call.operator.name != "exp"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (was,), became, _ = call.reference
        copy = inputs[0].detach().clone()
        return ((call.run((copy.clone(),)) - became) / (copy - was),)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (kept[0] * upstream[0],)


def test_a_pass_of_the_reference_input_is_there_to_be_compared_with():
    def function(x: Tensor) -> Tensor:
        z = F.conv2d(x, WEIGHT)
        return F.relu_(z.tanh_()).sum((2, 3)) + x.sigmoid().mean((2, 3))

    rules = Every(Secant(), frozenset((Kind.RECTIFIER, Kind.ACTIVATION, Kind.ELEMENTWISE)), Manner(pairs=True))
    x, r, model = X.clone().requires_grad_(), (X / 2 + 0.3).requires_grad_(), Of(function)
    with Intercept(model, rules) as before:
        from_ = model(r)
    with Intercept(model, rules, against=before.reference) as seen:
        y = model(x)
    (m,) = torch.autograd.grad(y.sum(), x)
    seen.verify()
    torch.testing.assert_close((m * (x - r)).sum(), (y - from_).sum())

    other = Of(lambda x: x.relu())
    unlike = Intercept(other, rules, against=before.reference)
    with pytest.raises(RuleError, match=r"relu in layer ''.* not for the reference"), unlike:
        other(x)
    with pytest.raises(RuleError, match="no pass of a reference"):
        _ = seen.reference
