"""Where interception cannot work it says so, and it leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.unit.propagation.nets import Net, plain, row, saliency
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pellucid.core.errors import RuleError
from pellucid.propagation import Guided, Intercept

X = row(2, 2, 5, 5, seed=7)


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.relu(x)

    @staticmethod
    def backward(ctx, r):
        (x,) = ctx.saved_tensors
        return r * (F.relu(x) > 0)


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OwnReLU.apply(x)


def test_a_function_with_its_own_backward_is_refused_by_name():
    with pytest.raises(RuleError, match=r"OwnReLU in layer 'act'"):
        saliency(Net(Own()), X, Guided())


def test_it_is_refused_even_among_rectifiers_that_are_served():
    with pytest.raises(RuleError, match="OwnReLU"):
        saliency(Net(lambda x: F.relu(OwnReLU.apply(x))), X, Guided())


def test_it_is_harmless_off_the_path():
    class Two(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(x), OwnReLU.apply(x)

    x = X.clone().requires_grad_()
    with Intercept(net := Two(F.relu), Guided()) as seen:
        y, own = net(x)
    torch.autograd.grad(y[:, 1].sum(), x)
    seen.verify()
    torch.autograd.grad(own.sum(), x)
    with pytest.raises(RuleError, match="OwnReLU"):
        seen.verify()


def test_what_came_before_the_model_is_not_its_business():
    x = X.clone().requires_grad_()
    net = Net(F.relu)
    with Intercept(net, Guided()) as seen:
        y = net(OwnReLU.apply(x.relu()))
    torch.autograd.grad(y[:, 1].sum(), x)
    seen.verify()


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_is_refused(reentrant):
    class Checkpointed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(checkpoint(self.block, x, use_reentrant=reentrant).flatten(1))

        def block(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(x))

    with pytest.raises(RuleError, match="checkpointing"):
        saliency(Checkpointed(F.relu), X, Guided())


@pytest.mark.parametrize("make", [lambda: torch.jit.script(nn.ReLU()), lambda: torch.jit.trace(nn.ReLU(), X)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_submodules_are_refused_before_anything_runs(make):
    net = Net(make())
    with pytest.raises(RuleError, match="'act' is scripted"), Intercept(net, Guided()):
        pytest.fail("it ran")
    assert not net._forward_hooks


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_functions_are_refused_as_attributes_and_found_in_the_graph():
    scripted = torch.jit.script(_scripted)
    with pytest.raises(RuleError, match="scripted"):
        saliency(Net(scripted), X, Guided())
    with pytest.raises(RuleError, match=r"(?s)came past the mode.*ordinary Python"):
        saliency(Net(lambda x: F.relu(scripted(x))), X, Guided())


def _scripted(x: Tensor) -> Tensor:
    return torch.relu(x)


def test_compiled_submodules_are_refused():
    with pytest.raises(RuleError, match="'act' is compiled"), Intercept(Net(torch.compile(nn.ReLU())), Guided()):
        pytest.fail("it ran")
    act = nn.ReLU()
    act.compile()
    with pytest.raises(RuleError, match="'act' is compiled"), Intercept(Net(act), Guided()):
        pytest.fail("it ran")


def test_a_disabled_mode_does_not_escape():
    def hidden(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return F.relu(x)

    with pytest.raises(RuleError, match="came past the mode"):
        saliency(Net(lambda x: F.relu(hidden(x))), X, Guided())


@pytest.mark.parametrize("layer", [nn.LSTM(3, 3), nn.GRU(3, 3), nn.RNN(3, 3, nonlinearity="relu")])
def test_recurrent_layers_are_refused(layer):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = layer

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.memory(x)[0])

    with pytest.raises(RuleError, match="layer 'memory'"):
        saliency(Recurrent(), torch.randn(4, 3), Guided())


def test_a_model_without_rectifiers_is_an_error_that_names_its_activations():
    with pytest.raises(RuleError, match=r"met no operator.*activations are gelu"):
        saliency(Net(F.gelu), X, Guided())


def test_rectifiers_that_did_not_run_backwards_do_not_count():
    net, x = Net(F.relu), X.clone().requires_grad_()
    with Intercept(net, Guided()) as seen:
        net(x)
    with pytest.raises(RuleError, match=r"None of the 2 .* ran in the backward pass; the first is relu"):
        seen.verify()


def test_without_gradients_there_is_nothing_to_serve():
    net = Net(F.relu)
    with torch.no_grad(), Intercept(net, Guided()) as seen:
        net(X)
    with pytest.raises(RuleError, match="under gradients"):
        seen.verify()
    assert len(seen.audit) == 0


def test_random_slopes_are_refused():
    with pytest.raises(RuleError, match="at random"):
        saliency(Net(lambda x: F.rrelu(x, training=True)), X, Guided())


def test_a_tensor_that_computes_in_a_way_of_its_own_is_refused():
    from torch.testing._internal.two_tensor import TwoTensor

    with pytest.raises(RuleError, match="TwoTensor"):
        saliency(Net(F.relu), TwoTensor(X, X), Guided())


def state(model: nn.Module) -> list[tuple[str, dict[str, object]]]:
    """All that hangs on a model's modules, containers by their contents."""
    return [
        (name, {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for name, module in model.named_modules()
    ]


def test_nothing_is_left_behind_after_success():
    net = Net(nn.ReLU())
    before, shown = state(net), plain(net, X)
    saliency(net, X, Guided())
    assert state(net) == before
    assert torch.equal(plain(net, X), shown)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind_after_exceptions(error):
    def fails(x: Tensor) -> Tensor:
        raise error

    net = Net(fails)
    before = state(net)
    with pytest.raises(error):
        saliency(net, X, Guided())
    assert state(net) == before and torch.overrides._get_current_function_mode() is None


def test_an_error_that_the_model_catches_does_not_lose_the_layer():
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    class Tries(Net):
        def forward(self, x: Tensor) -> Tensor:
            try:
                self.act(x)
            except ValueError:
                return self.head(F.relu(self.conv(x)).flatten(1))
            return x

    _, seen = saliency(Tries(Fails()), X, Guided())
    assert [(e.operator, e.layer) for e in seen.audit.served] == [("relu", "")]


def test_one_block_for_each():
    net = Net(F.relu)
    _, seen = saliency(net, X, Guided())
    with pytest.raises(RuleError, match="entered before"), seen:
        pytest.fail("it ran")


def test_another_thread_sees_ordinary_gradients():
    net, found = Net(nn.ReLU()), []
    wanted = plain(net, X)

    def elsewhere() -> None:
        found.append(plain(net, X))

    x = X.clone().requires_grad_()
    with Intercept(net, Guided()) as seen:
        y = net(x)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    torch.autograd.grad(y[:, 1].sum(), x)
    seen.verify()
    assert torch.equal(found[0], wanted) and len(seen.audit.served) == 2


def test_the_graph_does_not_outlive_its_tensors():
    import gc
    import weakref

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            seen_tensors.append(weakref.ref(y))
            return F.relu(y).sum(1, keepdim=True)

    seen_tensors: list[Callable[[], object]] = []
    gc.disable()
    try:
        _, seen = saliency(Watched(), row(2, 3), Guided(), target=0)
        assert seen_tensors[0]() is None and len(seen.audit) > 0
    finally:
        gc.enable()
