"""What the user changes between two calls on one handle is seen by the second."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid import api
from pellucid.testing import tiny
from pellucid.testing.nets import Modules


class Tunable(Modules):
    """A convnet with attributes of many kinds that its forward pass reads."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.gain, self.sizes, self.act, self.table, self.steps = 1.0, (1, 1), F.relu, {"gain": 1.0}, [1.0]

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x))) * self.gain * self.table["gain"] * self.steps[0]
        x = F.avg_pool2d(x, self.sizes, stride=1)
        return self.fc(self.flat(self.pool(self.relu2(self.kept(self.bn2(self.conv2(x)))))))


class Kept(nn.Module):
    """Hooks of the user's own double what this gives."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def stepped(net: Any) -> None:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    net(torch.ones(2, 3, 8, 8, dtype=torch.float64)).square().sum().backward()
    optimiser.step()


def adam(net: Any) -> None:
    optimiser = torch.optim.Adam(net.parameters(), lr=0.5)
    net(torch.ones(2, 3, 8, 8, dtype=torch.float64)).square().sum().backward()
    optimiser.step()


def loaded(net: Any) -> None:
    net.load_state_dict({k: v * 1.5 if v.is_floating_point() else v for k, v in net.state_dict().items()})


def assigned(net: Any) -> None:
    state = {k: v * 1.5 if v.is_floating_point() else v for k, v in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def replaced_parameter(net: Any) -> None:
    shape = net.fc.weight.shape
    del net.fc.weight
    net.fc.weight = nn.Parameter(torch.full(shape, 0.3, dtype=torch.float64).cumsum(0))


def replaced_module(net: Any) -> None:
    del net.relu2
    net.relu2 = nn.Tanh()


def data(net: Any) -> None:
    net.conv1.weight.data = net.conv1.weight.data * -1


def patched(net: Any) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.fc(self.bn1(self.conv1(x)).mean((2, 3)))

    net.forward = MethodType(forward, net)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "optimiser step": stepped,
    "adam step": adam,
    "load_state_dict": loaded,
    "load_state_dict(assign=True)": assigned,
    "parameter replaced": replaced_parameter,
    "module replaced": replaced_module,
    "module type swapped": lambda net: setattr(net, "relu2", nn.Sigmoid()),
    "weight.data assigned": data,
    "buffer in place": lambda net: net.bn2.running_mean.add_(-1.0),
    "buffer replaced": lambda net: setattr(net.bn2, "running_mean", net.bn2.running_mean - 1),
    "number": lambda net: setattr(net, "gain", 2.0),
    "tuple": lambda net: setattr(net, "sizes", (3, 3)),
    "function": lambda net: setattr(net, "act", torch.tanh),
    "list in place": lambda net: net.steps.__setitem__(0, 2.0),
    "mapping in place": lambda net: net.table.__setitem__("gain", 2.0),
    "stride": lambda net: setattr(net.conv2, "stride", (2, 2)),
    "eps": lambda net: setattr(net.bn1, "eps", 0.5),
    "hook": lambda net: net.kept.register_forward_hook(lambda m, a, out: out * 2),
    "forward": patched,
}
SHAPES = {"plain": (8, "plain"), "prepared": (64, "prepared")}


@pytest.mark.parametrize("evaluate", SHAPES)
@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(change: str, evaluate: str) -> None:
    side, how = SHAPES[evaluate]
    net: Any = tiny.filled(Tunable(), 0).double()
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    handle = api.wrap(net, evaluate=how)  # pyright: ignore[reportArgumentType]
    before = api.explain(handle, x, ["gradient", "grad_cam"], target=0)
    CHANGES[change](net)
    after = api.explain(handle, x, ["gradient", "grad_cam"], target=0)
    net.eval()
    inputs = x.clone().requires_grad_()
    slope = torch.autograd.grad(net(inputs)[:, 0].sum(), inputs)[0]
    torch.testing.assert_close(after[0].values, slope, rtol=1e-8, atol=1e-11)
    assert not torch.allclose(before[0].values, slope, rtol=1e-3, atol=1e-12)
    told = before[0].record.model.fingerprint != after[0].record.model.fingerprint
    weights = ("optimiser", "adam", "load", "parameter", "weight", "buffer")
    assert told == change.startswith(weights)


@pytest.mark.parametrize("evaluate", SHAPES)
def test_what_torch_does_not_count(evaluate: str) -> None:
    """A change through `.data` leaves no trace in torch; moving averages of weights are written so."""
    side, how = SHAPES[evaluate]
    net: Any = tiny.filled(Tunable(), 0).double()
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    handle = api.wrap(net, evaluate=how)  # pyright: ignore[reportArgumentType]
    api.explain(handle, x, "gradient", target=0)
    net.conv1.weight.data.mul_(-1)
    after = api.explain(handle, x, "gradient", target=0)[0].values
    inputs = x.clone().requires_grad_()
    slope = torch.autograd.grad(net.eval()(inputs)[:, 0].sum(), inputs)[0]
    torch.testing.assert_close(after, slope, rtol=1e-8, atol=1e-11)


def test_a_hook_on_a_norm_that_would_be_folded_away_is_kept() -> None:
    net: Any = tiny.filled(Tunable(), 0).double()
    net.bn2.register_forward_hook(lambda module, args, out: out * 2)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, auto = (api.explain(api.wrap(net, evaluate=how), x, "gradient", target=0)[0] for how in ("plain", "auto"))
    torch.testing.assert_close(auto.values, plain.values, rtol=1e-8, atol=1e-11)


def test_nothing_changed_is_not_looked_at_again() -> None:
    model = tiny.make("convnet")
    handle = api.wrap(model.module)
    first, second = (api.explain(handle, model.x, "gradient")[0] for _ in range(2))
    assert (first.record.passes.verification, second.record.passes.verification) == (1, 0)
    assert torch.equal(first.values, second.values)


def test_going_from_eval_to_train_mode_changes_nothing() -> None:
    model = tiny.make("convnet_training")
    handle = api.wrap(model.module)
    wanted = api.explain(handle, model.x, "gradient", target=0)[0]
    for mode in (True, False):
        model.module.train(mode)
        e = api.explain(handle, model.x, "gradient", target=0)[0]
        assert torch.equal(e.values, wanted.values) and e.record.passes.verification == 0
