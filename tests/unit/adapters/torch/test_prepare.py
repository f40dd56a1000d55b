"""The prepared form: norms are folded where that is exact, and it is used only where it agrees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.models import Calls, net, pictures
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pellucid import wrap
from pellucid.adapters.torch.prepare import disagreement, fold
from pellucid.adapters.torch.watch import watch
from pellucid.api import explain
from pellucid.core.errors import UnsupportedModel
from pellucid.methods.gradient import Gradient


def folds(module: nn.Module, x: Tensor) -> tuple[tuple[str, str], ...]:
    return watch(module, x, None, None).folds


PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 6), lambda: nn.BatchNorm1d(6), (5,)),
    "conv1d": (lambda: nn.Conv1d(3, 6, 3), lambda: nn.BatchNorm1d(6), (3, 7)),
    "conv2d": (lambda: nn.Conv2d(3, 6, 3, stride=2), lambda: nn.BatchNorm2d(6), (3, 7, 7)),
    "conv3d": (lambda: nn.Conv3d(2, 6, 2), lambda: nn.BatchNorm3d(6), (2, 4, 4, 4)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), lambda: nn.BatchNorm2d(6), (4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(3, 6, 3, groups=3, padding=1), lambda: nn.BatchNorm2d(6), (3, 5, 5)),
    "norm without weights": (lambda: nn.Conv2d(3, 6, 3), lambda: nn.BatchNorm2d(6, affine=False), (3, 5, 5)),
    "large epsilon": (lambda: nn.Conv2d(3, 6, 3), lambda: nn.BatchNorm2d(6, eps=0.5), (3, 5, 5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_folded_norm_changes_nothing(name: str) -> None:
    layer, norm, shape = PAIRS[name]
    module = net(nn.Sequential(layer(), norm(), nn.ReLU(), nn.Flatten()))
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert folds(module, x[:1]) == (("0", "1"),)
    folded, changed = fold(module, folds(module, x[:1]))
    assert changed == ("0",)
    assert isinstance(folded[1], nn.Identity)
    with torch.no_grad():
        assert disagreement(folded(x), module(x)) <= 1e-10


def test_folding_leaves_the_twin_as_it_was() -> None:
    module = net(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fold(module, (("0", "1"),))
    assert type(module[1]) is nn.BatchNorm2d
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def conv(a: int = 3, b: int = 4) -> nn.Module:
    return nn.Conv2d(a, b, 3, padding=1)


READ_ELSEWHERE: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], int]] = {
    "a residual sum": (lambda m, x: (y := m.conv(x)) + m.norm(y), 4),
    "side by side, as in DenseNet": (lambda m, x: torch.cat([y := m.conv(x), m.norm(y)], 1), 8),
    "side by side, by keyword": (lambda m, x: torch.cat(tensors=[y := m.conv(x), m.norm(y)], dim=1), 8),
    "cut into pieces": (lambda m, x: m.norm(y := m.conv(x)) * y.chunk(2, 1)[0].repeat(1, 2, 1, 1), 4),
    "its maximum with the place": (lambda m, x: m.norm(y := m.conv(x)) + y.max(1, keepdim=True)[0], 4),
    "a view by attribute": (lambda m, x: m.norm(y := m.conv(x)) + y.mT, 4),
    "the convolution runs twice": (lambda m, x: m.norm(m.conv(x)) + m.conv(x), 4),
    "the norm runs twice": (lambda m, x: m.norm(m.norm(m.conv(x))), 4),
    "the norm comes first": (lambda m, x: m.conv(F.relu(m.norm(F.pad(x, (0, 0, 0, 0, 0, 1))))[:, :3]), 4),
    "something in between": (lambda m, x: m.norm(F.relu(m.conv(x))), 4),
}


@pytest.mark.parametrize("name", READ_ELSEWHERE)
def test_no_norm_is_folded_where_the_convolution_is_read_elsewhere(name: str) -> None:
    way, width = READ_ELSEWHERE[name]
    module = net(
        Calls(lambda m, x: m.fc(way(m, x).mean((2, 3))), conv=conv(), norm=nn.BatchNorm2d(4), fc=nn.Linear(width, 3))
    )
    assert folds(module, pictures(1)) == ()


def test_a_norm_over_another_axis_than_the_linear_layers_is_not_folded() -> None:
    module = net(Calls(lambda m, x: m.norm(m.fc(x)).mean(1), fc=nn.Linear(5, 4), norm=nn.BatchNorm1d(4)))
    assert folds(module, torch.rand(1, 4, 5, dtype=torch.float64)) == ()


def old_weight_norm(layer: nn.Module) -> nn.Module:
    """As torch.nn.utils.weight_norm did it: a hook computes the weight before every call."""
    layer.weight_v = nn.Parameter(layer.weight.detach().clone())
    del layer.weight
    layer.register_forward_pre_hook(lambda m, _: setattr(m, "weight", m.weight_v * 2))
    layer.weight = layer.weight_v * 2
    return layer


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "weights by a hook": old_weight_norm,
}


def three_convolutions(first: nn.Module) -> nn.Module:
    """Enough of them for the prepared form to pay."""
    return nn.Sequential(
        *(first, nn.BatchNorm2d(4), nn.ReLU()),
        *(conv(4, 4), nn.BatchNorm2d(4), nn.ReLU()),
        *(conv(4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )


@pytest.mark.parametrize("how", COMPUTED)
def test_weights_that_are_computed_are_not_folded_and_explained_rightly(how: str) -> None:
    module = net(three_convolutions(COMPUTED[how](conv())), torch.float32)
    x = pictures(1, 64, dtype=torch.float32)
    got = explain(module, x, Gradient(), target=0)[0]
    leaf = x.clone().requires_grad_()
    wanted = torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)[0]
    assert got.record.model.evaluator.startswith("prepared: 1 batch-norms folded")
    assert float((got.values - wanted).norm() / wanted.norm()) < 1e-2


def flattened_by_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.body(x)
    return m.fc(y.view(y.shape[0], -1))


def test_a_model_that_demands_another_memory_layout_is_run_plainly_and_the_record_says_so() -> None:
    body = nn.Sequential(conv(), conv(4, 4), conv(4, 2))
    module = net(Calls(flattened_by_view, body=body, fc=nn.Linear(2 * 64 * 64, 3)), torch.float32)
    got = explain(module, pictures(1, 64, dtype=torch.float32), Gradient())[0]
    assert got.record.model.evaluator.startswith("plain: the prepared form did not run (view size")


class Unlike(nn.Conv2d):
    """A convolution that is not what its weight says."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std(), self.bias, padding=1)


def test_a_prepared_form_that_disagrees_is_not_used_and_the_record_says_so() -> None:
    module = net(three_convolutions(Unlike(3, 4, 3)), torch.float32)
    got = explain(module, pictures(1, 64, dtype=torch.float32), Gradient())[0]
    assert got.record.model.evaluator.startswith("plain: the prepared form differed by")


def test_a_prepared_form_that_is_insisted_on_and_disagrees_is_refused() -> None:
    module = net(three_convolutions(Unlike(3, 4, 3)), torch.float32)
    with pytest.raises(UnsupportedModel, match="differed by"):
        explain(wrap(module, evaluate="prepared"), pictures(1, 64, dtype=torch.float32), Gradient())


def test_prepared_and_plain_agree() -> None:
    module = net(three_convolutions(conv()))
    x = pictures(2, 16)
    plain, prepared = (explain(wrap(module, evaluate=e), x, Gradient())[0] for e in ("plain", "prepared"))
    assert prepared.record.model.evaluator.startswith("prepared: 2 batch-norms folded")
    torch.testing.assert_close(prepared.values, plain.values, rtol=1e-9, atol=1e-12)


def test_a_convolution_whose_norm_was_folded_can_still_be_explained_itself() -> None:
    module = net(three_convolutions(conv()))
    x = pictures(2, 16)
    plain, prepared = (explain(wrap(module, evaluate=e), x, Gradient(at="0"))[0] for e in ("plain", "prepared"))
    torch.testing.assert_close(prepared.values, plain.values, rtol=1e-9, atol=1e-12)


class BatchNormAct2d(nn.BatchNorm2d):
    """A norm that holds its activation, as timm's."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


@pytest.mark.parametrize("site", ["1", "1.act"])
def test_the_activation_inside_a_folded_norm_keeps_its_name(site: str) -> None:
    module = net(nn.Sequential(conv(), BatchNormAct2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
    x = pictures(2, 16)
    plain, prepared = (explain(wrap(module, evaluate=e), x, Gradient(at=site))[0] for e in ("plain", "prepared"))
    assert "1 batch-norms folded" in prepared.record.model.evaluator
    torch.testing.assert_close(prepared.values, plain.values, rtol=1e-9, atol=1e-12)
