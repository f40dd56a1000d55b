"""The same weights, the rectifier spelt in every way there is: one map."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import Net, row, saliency
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.propagation import Deconv, Guided

X = row(2, 2, 5, 5, seed=7)


def ignoring(act: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """Overwrite in place and go on with the old name, the result ignored."""

    def call(x: Tensor) -> Tensor:
        act(x)
        return x

    return call


def on_a_view(x: Tensor) -> Tensor:
    F.relu_(x.view(len(x), -1))
    return x


def set_item(x: Tensor) -> None:
    x[x < 0] = 0


class Passing(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def under_a_mode(x: Tensor) -> Tensor:
    with Passing():
        return F.relu(x)


def with_out_of_place_later(x: Tensor) -> Tensor:
    y = torch.clamp(x, min=0)
    x.add_(1)  # the input of the rectifier is overwritten afterwards
    return y


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU inplace": nn.ReLU(inplace=True),
    "F.relu inplace": lambda x: F.relu(x, inplace=True),
    "F.relu positional": lambda x: F.relu(x, True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu by keyword": lambda x: torch.relu(input=x),
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "relu_ ignored": ignoring(F.relu_),
    "nn.ReLU inplace ignored": ignoring(nn.ReLU(inplace=True)),
    "relu_ of a view": on_a_view,
    "clamp": lambda x: torch.clamp(x, min=0),
    "clamp by keyword": lambda x: torch.clamp(input=x, min=0),
    "clamp tensor": lambda x: torch.clamp(x, torch.tensor(0.0)),
    "Tensor.clamp": lambda x: x.clamp(0.0, None),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "clamp_": ignoring(lambda x: x.clamp_(min=0)),
    "clamp_min_": ignoring(lambda x: x.clamp_min_(0)),
    "clip": lambda x: x.clip(0),
    "clamp, input overwritten": with_out_of_place_later,
    "maximum": lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)),
    "maximum, reversed": lambda x: torch.maximum(torch.zeros_like(x), x),
    "max": lambda x: torch.max(x, torch.zeros_like(x)),
    "fmax": lambda x: x.fmax(torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "nn.Threshold inplace": nn.Threshold(0.0, 0.0, inplace=True),
    "threshold_": ignoring(lambda x: torch.threshold_(x, 0.0, 0.0)),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 1e9),
    "hardtanh_": ignoring(lambda x: F.hardtanh_(x, 0.0, 1e9)),
    "leaky without leak": lambda x: F.leaky_relu(x, 0.0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where ge": lambda x: torch.where(x.ge(0), x, torch.zeros_like(x)),
    "where lt": lambda x: torch.where(x <= 0, 0.0, x),
    "Tensor.where": lambda x: x.where(x > 0, 0.0),
    "mask": lambda x: x * (x > 0),
    "mask first": lambda x: (x > 0) * x,
    "mask as number": lambda x: x * (x > 0).to(x.dtype),
    "mask in place": lambda x: operator.imul(x, (x > 0).double()),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "masked_fill_": ignoring(lambda x: x.masked_fill_(x <= 0, 0)),
    "setitem": ignoring(set_item),
    "aten": torch.ops.aten.relu,
    "aten overload": torch.ops.aten.relu.default,
    "aten in place": torch.ops.aten.relu_,
    "under another mode": under_a_mode,
}


@pytest.mark.parametrize("rules", [Guided(), Deconv()])
@pytest.mark.parametrize("act", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_one_map_for_all_spellings(act, rules):
    wanted, _ = saliency(Net(F.relu), X, rules)
    found, seen = saliency(Net(act), X, rules)
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)
    assert len(seen.audit.served) == 2 and all(entry.ran for entry in seen.audit.served)


def test_residual_sums_in_place_whose_result_is_ignored():
    class InPlace(Net):
        def forward(self, x: Tensor) -> Tensor:
            a = F.relu(self.conv(x))
            b = self.skip(a)
            b.add_(a)
            b += 0
            F.relu_(b)
            return self.head(b.flatten(1))

    torch.testing.assert_close(saliency(InPlace(F.relu), X, Guided())[0], saliency(Net(F.relu), X, Guided())[0])


def test_a_rectifier_in_place_on_the_input_itself():
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            F.relu_(x)
            return x * torch.tensor([1.0, -1.0])

    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    found, _ = saliency(First(), x, Guided(), target=0)
    assert found.tolist() == [[1.0, 0.0]] and x.tolist() == [[1.0, 2.0]]


def test_relu6_as_module_function_and_clamp():
    acts = (nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: x.clamp(0, 6), lambda x: F.hardtanh_(x, 0.0, 6.0))
    maps = [saliency(Net(act), 9 * X, Guided())[0] for act in acts]
    for found in maps[1:]:
        torch.testing.assert_close(found, maps[0], atol=1e-9, rtol=1e-9)
    assert not torch.allclose(maps[0], saliency(Net(F.relu), 9 * X, Guided())[0])


def test_a_shared_module_has_two_calls_and_the_layer_is_named():
    _, seen = saliency(Net(nn.ReLU()), X, Guided())
    assert [(e.operator, e.layer, e.call, e.rule, e.ran) for e in seen.audit.served] == [
        ("relu", "act", 1, "guided", True),
        ("relu", "act", 2, "guided", True),
    ]
    assert [e.operator for e in seen.audit] == ["conv2d", "relu", "conv2d", "add", "relu", "flatten", "linear"]
    assert [e.layer for e in seen.audit] == ["conv", "act", "skip", "", "act", "", "head"]


def test_a_guard_of_a_division_is_no_rectifier():
    class Guarded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x) / x.abs().sum(1, keepdim=True).clamp(min=1e-6)

    _, seen = saliency(Guarded(), row(2, 3, seed=5), Guided())
    assert [(e.operator, e.rule) for e in seen.audit if e.operator in ("clamp", "relu")] == [
        ("relu", "guided"),
        ("clamp", "plain gradient"),
    ]


def test_other_products_and_maxima_are_left_alone():
    class Others(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(x)
            return torch.maximum(y * (x > 0), 0.3 * y) * (x > 0.5) + torch.where(x > 0, 2 * x, x)

    _, seen = saliency(Others(), row(2, 3, seed=5), Guided())
    assert [e.operator for e in seen.audit.served] == ["relu"]


def test_the_sign_of_a_tensor_that_was_changed_since_is_not_its_sign():
    class Changed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(x) * 1
            mask = y > 0
            y.sub_(1)
            return y * mask

    _, seen = saliency(Changed(), row(2, 3, seed=5), Guided())
    assert [e.operator for e in seen.audit.served] == ["relu"]


def test_unscripted_multi_head_attention_and_its_feed_forward_net():
    class Functional(nn.Module):
        def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            of = self.layer
            x = of.norm1(x + of.self_attn(x, x, x, need_weights=False)[0])
            return of.norm2(x + of.linear2(torch.relu(of.linear1(x))))

    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double().eval()
    x = row(1, 3, 4, seed=8)
    found, seen = saliency(layer, x, Guided())
    torch.testing.assert_close(found, saliency(Functional(layer), x, Guided())[0], atol=1e-9, rtol=1e-9)
    rules = {e.operator: e.rule for e in seen.audit}
    assert rules["multi_head_attention_forward"] == "plain gradient" and rules["dropout"] == "passes through"


def test_dropout_that_draws_is_told():
    class Drops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(F.relu(x))

    _, seen = saliency(Drops(), row(2, 3), Guided())
    assert [e.rule for e in seen.audit] == ["guided", "random: plain gradient"]


def test_a_subclass_of_tensor_enters_as_a_tensor():
    class Photo(Tensor):
        pass

    x = X.clone().as_subclass(Photo).requires_grad_()
    net = Net(F.relu)
    found, _ = saliency(net, x, Guided())
    torch.testing.assert_close(found.as_subclass(Tensor), saliency(net, X, Guided())[0])
