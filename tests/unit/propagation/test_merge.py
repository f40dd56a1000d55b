"""A batch norm behind a layer is part of it: the same relevance as with the norm folded into the weights."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import row
from torch import Tensor, nn

from pellucid.propagation import Composite, Intercept, Kind, Manner, On, inventory
from pellucid.propagation.lrp.flows import Norm, Pass, Product, Quotient
from pellucid.propagation.lrp.layers import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZPlus

X = row(2, 3, 7, 7, seed=4)
RULES = [Epsilon(0.25), ZPlus(), Gamma(0.3)]


def composite(rule: object, *, merge: bool = True) -> Composite:
    layer = On(rule, kinds=(Kind.CONVOLUTION, Kind.LINEAR))
    others = On(Pass(), kinds=(Kind.RECTIFIER,)), On(Norm(), kinds=(Kind.ADD, Kind.NORM))
    linear = On(None, kinds=(Kind.MULTIPLY, Kind.REDUCE))
    return Composite("test", (layer, *others, linear), Manner(start="score", merge=merge))


class Net(nn.Module):
    """Convolution, norm, transposed convolution, norm, linear layer, norm; what stands for a norm can be said."""

    def __init__(self, norm: Callable[[nn.Module, Tensor], Tensor] | None = None, *, folded: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.m = nn.Conv2d(3, 4, 3, groups=1), nn.BatchNorm2d(4, eps=0.1)
        self.b, self.n = nn.ConvTranspose2d(4, 2, 2, bias=False), nn.BatchNorm2d(2, affine=False, eps=0.2)
        self.c, self.o = nn.Linear(72, 5), nn.BatchNorm1d(5)
        for norm_ in (self.m, self.n, self.o):
            norm_.running_mean.normal_()
            norm_.running_var.uniform_(0.5, 2)
            if norm_.affine:
                nn.init.normal_(norm_.weight)
                nn.init.normal_(norm_.bias)
        self.double().eval()
        self.norm = norm or (lambda module, z: module(z))
        if folded:
            self.fold()

    def fold(self) -> None:
        with torch.no_grad():
            for layer, norm, axis in ((self.a, self.m, 0), (self.b, self.n, 1), (self.c, self.o, 0)):
                zero = torch.zeros(norm.num_features, *[1] * (2 if layer is not self.c else 0), dtype=torch.float64)
                shift = norm(zero[None]).flatten()
                scale = norm(zero[None] + 1).flatten() - shift
                layer.weight.mul_(scale.view(*[-1 if i == axis else 1 for i in range(layer.weight.dim())]))
                bias = 0 if layer.bias is None else layer.bias * scale
                layer.bias = nn.Parameter(bias + shift)
        self.norm = lambda module, z: z

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.m, self.a(x)))
        x = F.relu(self.norm(self.n, self.b(x)))
        return self.norm(self.o, self.c(x.flatten(1)))


def relevance(model: nn.Module, rule: object, *, merge: bool = True) -> tuple[Tensor, Intercept]:
    x = X.clone().requires_grad_()
    with Intercept(model, composite(rule, merge=merge)) as seen:
        y = model(x)
    (found,) = torch.autograd.grad(y, x, torch.eye(5, dtype=y.dtype)[[1, 3]] * y.detach())
    seen.verify()
    return found, seen


def functional(m: nn.Module, z: Tensor) -> Tensor:
    return F.batch_norm(z, m.running_mean, m.running_var, m.weight, m.bias, False, 0.1, m.eps)


def native(m: nn.Module, z: Tensor) -> Tensor:
    return torch.batch_norm(z, m.weight, m.bias, m.running_mean, m.running_var, False, 0.1, m.eps, False)


SPELLINGS = {
    "module": None,
    "function": functional,
    "torch": native,
    "keywords": lambda m, z: F.batch_norm(
        z, running_mean=m.running_mean, running_var=m.running_var, weight=m.weight, bias=m.bias, eps=m.eps
    ),
    "of a copy": lambda m, z: m(F.dropout(z.clone().contiguous(), training=False)),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("norm", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_same_as_folded_weights(norm, rule):
    wanted, _ = relevance(Net(folded=True), rule)
    found, seen = relevance(Net(norm), rule)
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    assert [entry.rule for entry in seen.audit if entry.kind is Kind.NORM] == [
        "merged into conv2d",
        "merged into conv_transpose2d",
        "merged into linear",
    ]


READERS = {
    "before": lambda m, z: _both(z.sum() * 0, m(z)),
    "after": lambda m, z: _both(m(z), z.sum() * 0),
    "in another sum": lambda m, z: m(z) + 0 * z,
    "view": lambda m, z: m(z.view(z.shape)),
    "overwritten before": lambda m, z: m(z.mul_(2)),
}


def _both(a: Tensor, b: Tensor) -> Tensor:
    return a + b


@pytest.mark.parametrize("norm", READERS.values(), ids=READERS.keys())
def test_not_when_somebody_else_reads_between_them(norm):
    wanted, _ = relevance(Net(norm), Epsilon(0.25), merge=False)
    found, seen = relevance(Net(norm), Epsilon(0.25))
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    assert not [entry.rule for entry in seen.audit if "merged" in entry.rule]


def test_not_when_the_layer_is_an_output_too():
    class Two(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z = self.a(x)
            return self.m(z), z

    x = X.clone().requires_grad_()
    with Intercept(model := Two(), composite(Epsilon(0.25))) as seen:
        y, z = model(x)
    assert [entry.rule for entry in seen.audit] == ["epsilon 0.25", "norm"]
    y.sum().backward()
    assert z.requires_grad


def test_not_over_another_axis_and_not_without_a_rule_before():
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.o, self.first = nn.Linear(7, 7), nn.BatchNorm1d(7), nn.BatchNorm2d(3)
            self.double().eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.o(self.c(self.first(x)[:, 0]))

    x = X.clone().requires_grad_()
    with Intercept(model := Sequence(), composite(Epsilon(0.25))) as seen:
        model(x).sum().backward()
    assert [entry.rule for entry in seen.audit if entry.kind is Kind.NORM] == ["norm", "norm"]


def of_the_batch(m: nn.Module, z: Tensor) -> Tensor:
    return F.batch_norm(z, m.running_mean.clone(), m.running_var.clone(), m.weight, m.bias, True, eps=m.eps)


def test_a_norm_without_a_rule_of_its_own_is_merged_too():
    rules = Composite("bare", (On(Epsilon(0.25), kinds=(Kind.CONVOLUTION,)),), Manner(merge=True), "gradient")
    plain = Composite("bare", rules.lines, Manner(), "gradient")
    second, training = Net(READERS["after"]), Net(of_the_batch)
    x = X.clone().requires_grad_()
    maps = []
    pairs = (rules, second), (plain, second), (rules, Net()), (plain, Net(folded=True)), (rules, training)
    for set_of_rules, model in (*pairs, (plain, training)):
        with Intercept(model, set_of_rules):
            y = model(x)
        maps.append(torch.autograd.grad(y[:, 1].sum(), x)[0])
    torch.testing.assert_close(maps[0], maps[1], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(maps[2], maps[3], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(maps[4], maps[5], atol=1e-11, rtol=1e-11)


def test_the_inventory_is_the_same_with_and_without_merging():
    model = Net()
    places = inventory(model, lambda: model(X.clone().requires_grad_()), composite(RULES[0]))
    _, seen = relevance(model, RULES[0])
    assert seen.places == places


# -- into the layer behind ------------------------------------------------------------------------------------------


def drawn(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.weight[0] = 0  # nothing of this channel is left in what the layer reads
    return norm


def folded(norm: nn.Module, layer: nn.Module) -> nn.Module:
    """The layer that does what both do: its weights are what they answer to unit inputs, one after the other."""
    whole = deepcopy(layer)
    if hasattr(whole, "dilation"):
        whole.dilation = (1,) * len(whole.dilation)
    size = [1, norm.num_features, *getattr(layer, "kernel_size", ())]
    count = int(torch.tensor(size).prod())
    with torch.no_grad():
        zero = whole(norm(torch.zeros(size, dtype=torch.float64))).flatten()
        columns = whole(norm(torch.eye(count, dtype=torch.float64).view(count, *size[1:]))).flatten(1) - zero
    found = columns.T.reshape(len(zero), *size[1:])  # [output, channel, ...]
    new: Any = deepcopy(layer)
    inside, each = new.weight.shape[1], len(zero) // getattr(layer, "groups", 1)
    mine = [found[o, o // each * inside : (o // each + 1) * inside] for o in range(len(zero))]
    new.weight, new.bias = nn.Parameter(torch.stack(mine)), nn.Parameter(zero)
    return new


BEHIND: dict[str, tuple[type[nn.Module], Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (nn.BatchNorm1d, lambda: nn.Linear(6, 5), (4, 6)),
    "no bias": (nn.BatchNorm1d, lambda: nn.Linear(6, 5, bias=False), (4, 6)),
    "conv1d": (nn.BatchNorm1d, lambda: nn.Conv1d(6, 5, 3, stride=2), (4, 6, 9)),
    "conv2d": (nn.BatchNorm2d, lambda: nn.Conv2d(6, 5, 3), (2, 6, 7, 7)),
    "said to be valid": (nn.BatchNorm2d, lambda: nn.Conv2d(6, 5, 3, dilation=2, padding="valid"), (2, 6, 7, 7)),
    "groups": (nn.BatchNorm2d, lambda: nn.Conv2d(6, 4, 3, groups=2, bias=False), (2, 6, 7, 7)),
    "conv3d": (nn.BatchNorm3d, lambda: nn.Conv3d(6, 4, 2), (1, 6, 3, 3, 3)),
}


class Behind(nn.Module):
    def __init__(self, parts: list[nn.Module], between: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.parts, self.between = nn.ModuleList(parts), between

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts[:-1]:
            x = self.between(part(x))
        return self.parts[-1](x).relu().flatten(1).sum(1, keepdim=True)


def passed_on(model: nn.Module, x: Tensor, rule: object, *, merge: bool = True) -> tuple[Tensor, Tensor, list[str]]:
    x = x.clone().requires_grad_()
    with Intercept(model, composite(rule, merge=merge)) as seen:
        y = model(x)
    (found,) = torch.autograd.grad(y, x, y.detach())
    seen.verify()
    return found, y.detach(), [entry.rule for entry in seen.audit if entry.kind is Kind.NORM]


def behind(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    norm, layer, shape = BEHIND[name]
    torch.manual_seed(1)
    return drawn(norm(6, eps=0.1).double()).eval(), layer().double(), row(*shape, seed=5)


@pytest.mark.parametrize("rule", [*RULES, WSquare(), Flat(), AlphaBeta(), Epsilon(0.0)], ids=lambda rule: rule.name)
@pytest.mark.parametrize("name", BEHIND)
def test_before_a_layer_the_same_as_one_layer_with_merged_weights(name: str, rule: object):
    norm, layer, x = behind(name)
    wanted, output, _ = passed_on(Behind([folded(norm, layer)]), x, rule)
    found, same, rules = passed_on(Behind([norm, layer]), x, rule)
    torch.testing.assert_close(same, output, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)
    assert rules == [
        f"merged into {'linear' if isinstance(layer, nn.Linear) else type(layer).__name__.lower()} behind it"
    ]
    copied, _, _ = passed_on(Behind([norm, layer], lambda z: F.dropout(z.clone(), training=False)), x, rule)
    torch.testing.assert_close(copied, found, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", BEHIND)
def test_with_it_relevance_is_conserved(name: str):
    """The merged bias takes its share, and is found in the books."""
    norm, layer, x = behind(name)
    rules = composite(Epsilon(0.0))
    rules = Composite("test", rules.lines, Manner(start="score", merge=True, full=True))
    x = x.clone().requires_grad_()
    with Intercept(model := Behind([norm, layer]), rules) as seen:
        y = model(x)
    (found,) = torch.autograd.grad(y, x, y.detach())
    ours = [entry for entry in seen.audit if entry.kind in (Kind.NORM, Kind.LINEAR, Kind.CONVOLUTION)]
    begun = max(abs(entry.relevance_out or entry.relevance_in) for entry in ours)
    assert len(ours) == 2 and all(abs(entry.leak) <= 1e-9 * begun for entry in ours)
    norm_, layer_ = ours
    assert norm_.to_constants == 0 and abs(layer_.to_constants) > 1e-3 * begun
    assert abs(float(found.sum()) + layer_.to_constants - layer_.relevance_in) <= 1e-9 * begun


INEXACT: dict[str, Callable[[], nn.Module]] = {
    "padding": lambda: nn.Conv2d(6, 5, 3, padding=1),
    "padding on one axis": lambda: nn.Conv2d(6, 5, 3, padding=(0, 1)),
    "same": lambda: nn.Conv2d(6, 5, 3, padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(6, 5, 3),
    "another axis": lambda: nn.Linear(7, 5),
}


@pytest.mark.parametrize("name", INEXACT)
def test_where_it_would_be_inexact_it_stays_affine(name: str):
    norm, _, x = behind("conv2d")
    model = Behind([norm, INEXACT[name]().double()])
    found, _, rules = passed_on(model, x, Epsilon(0.25))
    wanted, _, _ = passed_on(model, x, Epsilon(0.25), merge=False)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)
    assert rules == ["norm"]


class Twice(Behind):
    """Somebody else reads the norm too: before the layer, or behind it, or it is an output."""

    def __init__(self, parts: list[nn.Module], when: str) -> None:
        super().__init__(parts)
        self.when = when

    def forward(self, x: Tensor) -> Any:
        norm, layer = self.parts
        z = norm(x)
        first = z.sum() * 0.5 if self.when == "before" else 0
        y = layer(z).flatten(1).sum(1, keepdim=True)
        last = z.sum() * 0.5 if self.when == "behind" else 0
        if self.when == "overwritten":
            return layer(z.relu_()).flatten(1).sum(1, keepdim=True)
        return (y, z) if self.when == "output" else y + first + last


@pytest.mark.parametrize("when", ["before", "behind", "output", "overwritten"])
def test_a_second_reader_undoes_it(when: str):
    norm, layer, x = behind("conv2d")
    maps = []
    for merge in (True, False):
        leaf = x.clone().requires_grad_()
        with Intercept(model := Twice([norm, layer], when), composite(Epsilon(0.25), merge=merge)) as seen:
            y = model(leaf)
        y = y[0] if isinstance(y, tuple) else y
        maps.append(torch.autograd.grad(y, leaf, y.detach())[0])
        assert [entry.rule for entry in seen.audit if entry.kind is Kind.NORM] == ["norm"]
    torch.testing.assert_close(maps[0], maps[1], atol=1e-12, rtol=1e-12)


def test_a_norm_between_two_layers_belongs_to_the_first():
    norm, layer, x = behind("linear")
    model = Behind([nn.Linear(6, 6).double(), norm, layer])
    assert passed_on(model, x, Epsilon(0.25))[2] == ["merged into linear"]


# -- a batch norm by hand: (x − μ) · γ/√(σ² + ε) + β, channels first or last -------------------------------------


def chained(rule: object, *, merge: bool = True) -> Composite:
    """Factors have the rule that they have in the presets."""
    plain = composite(rule, merge=merge)
    factors = On(Product(), kinds=(Kind.MULTIPLY,)), On(Quotient(), kinds=(Kind.DIVIDE,))
    return Composite("test", (*plain.lines, *factors), plain.manner)


def along(relevance_of: Callable[[], nn.Module], rule: object, *, merge: bool = True) -> tuple[Tensor, Intercept]:
    x, model = X.clone().requires_grad_(), relevance_of()
    with Intercept(model, chained(rule, merge=merge)) as seen:
        y = model(x)
    (found,) = torch.autograd.grad(y, x, torch.eye(5, dtype=y.dtype)[[1, 3]] * y.detach())
    seen.verify()
    return found, seen


def pieces(m: nn.Module, dims: int, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = [1] * dims
    shape[axis] = -1
    weight, bias = (m.weight, m.bias) if m.affine else (torch.ones(2).double(), torch.zeros(2).double())
    inverse = (m.running_var.view(shape) + m.eps).rsqrt() * weight.view(shape)
    return m.running_mean.view(shape), inverse, bias.view(shape)


def first(m: nn.Module, z: Tensor) -> Tensor:
    mean, inverse, bias = pieces(m, z.dim(), 1)
    return (z - mean) * inverse + bias


def last(m: nn.Module, z: Tensor) -> Tensor:
    """As Keras computes it on torch: channels last, in place."""
    order = (0, *range(2, z.dim()), 1)
    mean, inverse, bias = pieces(m, z.dim(), z.dim() - 1)
    y = torch.permute(z, order).subtract(mean).mul_(inverse).add_(bias)
    return y.permute(0, y.dim() - 1, *range(1, y.dim() - 1))


def divided(m: nn.Module, z: Tensor) -> Tensor:
    mean, inverse, bias = pieces(m, z.dim(), 1)
    return bias + (z - mean) / (1 / inverse)


def frozen(m: nn.Module, z: Tensor) -> Tensor:
    """As torchvision's FrozenBatchNorm2d: one factor, one sum."""
    mean, inverse, bias = pieces(m, z.dim(), 1)
    return z * inverse + (bias - mean * inverse)


BY_HAND = {"first": first, "last": last, "divided": divided, "frozen": frozen}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("norm", BY_HAND.values(), ids=BY_HAND.keys())
def test_a_norm_by_hand_is_the_same_as_folded_weights(norm, rule):
    wanted, _ = along(lambda: Net(folded=True), rule)
    found, seen = along(lambda: Net(norm), rule)
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    merged = [entry.rule for entry in seen.audit if "merged" in entry.rule]
    assert len(merged) == (6 if norm is frozen else 9) and len(set(merged)) == 3


BETWEEN = {
    "the layer and the difference": lambda mean, inverse, bias, z: (z - mean) * inverse + bias + 0 * z,
    "a factor and its sum": lambda mean, inverse, bias, z: _twice(z * inverse, lambda y: y + bias),
}


def _twice(y: Tensor, go_on: Callable[[Tensor], Tensor]) -> Tensor:
    return go_on(y) + 0 * y


@pytest.mark.parametrize("norm", BETWEEN.values(), ids=BETWEEN.keys())
def test_no_part_of_a_chain_is_merged_behind_a_second_reader(norm):
    def spelled(m: nn.Module, z: Tensor) -> Tensor:
        return norm(*pieces(m, z.dim(), 1), z)

    wanted, _ = along(lambda: Net(spelled), Epsilon(0.25), merge=False)
    found, seen = along(lambda: Net(spelled), Epsilon(0.25))
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    assert not [entry.rule for entry in seen.audit if "merged" in entry.rule]


def test_what_was_merged_before_a_second_reader_stays():
    def spelled(m: nn.Module, z: Tensor) -> Tensor:
        mean, inverse, bias = pieces(m, z.dim(), 1)
        return _twice((z - mean) * inverse, lambda y: y + bias)

    _, seen = along(lambda: Net(spelled), Epsilon(0.25))
    assert [e.operator for e in seen.audit if "merged" in e.rule] == ["sub", "mul"] * 3


def test_a_factor_alone_has_its_own_rule():
    wanted, _ = along(lambda: Net(lambda m, z: z * pieces(m, z.dim(), 1)[1]), Epsilon(0.25), merge=False)
    found, seen = along(lambda: Net(lambda m, z: z * pieces(m, z.dim(), 1)[1]), Epsilon(0.25))
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    assert not [entry.rule for entry in seen.audit if "merged" in entry.rule]
