"""The twin shares the weights and nothing else; the watch notices every change of the original."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pellucid.adapters.torch import TorchModel
from pellucid.adapters.torch import twin as twin_module
from pellucid.adapters.torch.twin import Watch, make, scripted, unwrap, varied
from pellucid.api import explain
from pellucid.core.ask import Variant
from pellucid.methods.gradient import Gradient
from pellucid.preprocess import Preprocess

# -- the copy ----------------------------------------------------------------------------------------------------


def test_parameters_share_their_storage_and_buffers_are_copied() -> None:
    module = net(Convnet())
    twin = make(module)
    for name, parameter in module.named_parameters():
        assert twin.get_parameter(name).data_ptr() == parameter.data_ptr()
        assert not twin.get_parameter(name).requires_grad
    for name, buffer in module.named_buffers():
        assert twin.get_buffer(name).data_ptr() != buffer.data_ptr()


def test_the_twin_is_in_eval_mode_and_the_original_stays_in_its_own() -> None:
    module = net(Convnet()).train()
    module.bn1.eval()
    flags = [each.training for each in module.modules()]
    assert not any(each.training for each in make(module).modules())
    assert [each.training for each in module.modules()] == flags


def test_tied_weights_stay_tied() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    twin: Any = make(module)
    assert twin[0].weight is twin[1].weight


def test_a_layer_that_is_held_under_two_names_stays_one_layer() -> None:
    module = nn.ModuleDict({"a": (layer := nn.Linear(2, 2)), "b": layer})
    twin: Any = make(module)
    assert twin["a"] is twin["b"]


@pytest.mark.parametrize("how", [parametrizations.weight_norm, parametrizations.orthogonal])
def test_a_parametrised_layer_shares_what_its_weight_is_computed_from(how: Callable[..., nn.Module]) -> None:
    module = how(nn.Linear(4, 4))
    twin: Any = make(module)
    torch.testing.assert_close(twin.weight, module.weight, check_stride=False)
    ours = {p.data_ptr() for p in module.parameters()}
    assert {p.data_ptr() for p in twin.parameters()} == ours


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_variant_of_a_recurrent_layer_has_the_weights_of_the_variant(kind: Any) -> None:
    module, x = net(kind(3, 4)), torch.rand(5, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = varied(make(module), Variant("twice", lambda weights: {name: 2 * t for name, t in weights.items()}), "net")
    wanted = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in wanted.parameters():
            parameter.mul_(2)
        torch.testing.assert_close(other(x)[0], wanted(x)[0])
        assert not torch.allclose(other(x)[0], module(x)[0])


def test_a_variant_forgets_what_was_worked_out_of_the_old_weights() -> None:
    """LeViT's attention keeps its biases by place as soon as it has run in eval mode."""
    timm = pytest.importorskip("timm")
    module = timm.create_model("levit_128s", num_classes=3).eval()
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 224, 224, generator=draw)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1, generator=draw)
        before = module(x)
        twin = make(module)
        twin(x)
        biases = [name for name, _ in twin.named_parameters() if name.endswith("attention_biases")]
        shifts = {name: torch.arange(float(twin.get_parameter(name).shape[1])) for name in biases}
        other = varied(twin, Variant("moved", lambda weights: {n: weights[n] + shifts[n] for n in biases}), "net")
        wanted = timm.create_model("levit_128s", num_classes=3).eval()
        wanted.load_state_dict(module.state_dict())
        for name in biases:
            wanted.get_parameter(name).add_(shifts[name])
        torch.testing.assert_close(other(x), wanted(x), rtol=1e-4, atol=1e-4)
        assert (other(x) - before).abs().max() > 1e-2
        assert torch.equal(module(x), before) and torch.equal(twin(x), before) and not other.training


def test_checkpointing_is_off_on_the_twin_alone() -> None:
    module: Any = net(Convnet())
    module.gradient_checkpointing = True
    twin: Any = make(module)
    assert (module.gradient_checkpointing, twin.gradient_checkpointing) == (True, False)


def test_a_parameter_with_a_gradient_keeps_it_to_itself() -> None:
    module = net(Convnet())
    module(pictures()).sum().backward()
    twin = make(module)
    assert all(p.grad is None for p in twin.parameters())
    assert all(p.grad is not None for p in module.parameters())


def test_scripted_parts_are_listed() -> None:
    module = nn.Sequential(nn.Linear(2, 2), torch.jit.script(nn.Linear(2, 2)))
    assert scripted(module) == ["1"]


# -- wrappers ----------------------------------------------------------------------------------------------------


def test_data_parallel_is_unwrapped() -> None:
    inside = nn.Linear(2, 2)
    assert unwrap(nn.DataParallel(inside)) == (inside, ("unwrapped DataParallel",))


def never(*_: Any) -> Any:
    raise AssertionError("compiled")


def test_a_compiled_model_is_unwrapped_without_being_compiled() -> None:
    inside = net(Convnet())
    compiled: Any = torch.compile(inside, backend=never)
    assert unwrap(compiled) == (inside, ("ran the compiled model eagerly",))
    wanted = explain(inside, pictures(), Gradient())[0]
    got = explain(compiled, pictures(), Gradient())[0]
    assert torch.equal(got.values, wanted.values)
    assert "ran the compiled model eagerly" in got.record.decisions


def test_a_model_compiled_in_place_runs_eagerly() -> None:
    module = net(Convnet())
    module.compile(backend=never)
    wanted = explain(net(Convnet()), pictures(), Gradient())[0]
    assert torch.equal(explain(module, pictures(), Gradient())[0].values, wanted.values)


# -- changes -----------------------------------------------------------------------------------------------------


class Changing(Convnet):
    """With attributes of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.factor, self.sizes, self.table = F.relu, 1.0, (1, 2), torch.ones(3)


def step(m: Any) -> None:
    for parameter in m.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(m.parameters(), lr=0.1).step()


def trained(m: Any) -> None:
    m.train()(pictures())


def load(m: Any) -> None:
    m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()})


def rehook(m: Any) -> None:
    m.conv2._forward_hooks.clear()
    m.conv2.register_forward_hook(lambda *_: None)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "an optimiser's step": step,
    "a forward pass in train mode moves the running statistics": trained,
    "load_state_dict": load,
    "a weight filled in place": lambda m: nn.init.zeros_(m.conv1.weight),
    "the data of a weight replaced": lambda m: setattr(m.conv1.weight, "data", torch.zeros(4, 3, 3, 3)),
    "a parameter replaced": lambda m: setattr(m.conv1, "weight", nn.Parameter(m.conv1.weight.detach().clone())),
    "a parameter taken away": lambda m: setattr(m.conv1, "bias", None),
    "a parameter where there was none": lambda m: m.relu1.register_parameter("slope", nn.Parameter(torch.ones(1))),
    "a buffer replaced": lambda m: setattr(m.bn1, "running_mean", torch.zeros(4, dtype=torch.float64)),
    "a buffer where there was none": lambda m: m.register_buffer("mask", torch.ones(3)),
    "a module replaced": lambda m: setattr(m, "relu1", nn.Tanh()),
    "a module added": lambda m: m.add_module("extra", nn.Tanh()),
    "a module taken away": lambda m: delattr(m, "relu2"),
    "a number": lambda m: setattr(m, "factor", 2.0),
    "a setting of a layer": lambda m: setattr(m.conv1, "stride", (2, 2)),
    "a function": lambda m: setattr(m, "act", F.gelu),
    "a tensor that is neither parameter nor buffer replaced": lambda m: setattr(m, "table", torch.zeros(3)),
    "a tensor that is neither parameter nor buffer in place": lambda m: m.table.zero_(),
    "an attribute taken away": lambda m: delattr(m, "factor"),
    "a hook": lambda m: m.conv1.register_forward_hook(lambda *_: None),
    "a hook before": lambda m: m.conv1.register_forward_pre_hook(lambda *_: None),
    "a hook backwards": lambda m: m.conv1.register_full_backward_hook(lambda *_: None),
    "a hook in place of another": rehook,
    "another dtype": lambda m: m.float(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_watch_notices(name: str) -> None:
    module = net(Changing())
    module.conv2.register_forward_hook(lambda *_: None)
    watch = Watch(module)
    assert watch.same()
    CHANGES[name](module)
    assert not watch.same()


QUIET: dict[str, Callable[[Any], Any]] = {
    "a forward pass in eval mode": lambda m: m(pictures()),
    "a backward pass": lambda m: m(pictures()).sum().backward(),
    "train mode": lambda m: m.train(),
    "gradients cleared": lambda m: m.zero_grad(),
    "frozen parameters": lambda m: m.requires_grad_(False),
    "a copy": copy.deepcopy,
    "an explanation": lambda m: explain(m, pictures(), [Gradient(), Gradient(at="conv2")]),
}


@pytest.mark.parametrize("name", QUIET)
def test_the_watch_is_quiet_about(name: str) -> None:
    module = net(Changing())
    watch = Watch(module)
    QUIET[name](module)
    assert watch.same()


def test_explanations_follow_the_weights() -> None:
    module = net(Convnet())
    model = TorchModel(module, Preprocess.identity())
    before = explain(model, pictures(), Gradient(), target=0)[0]
    with torch.no_grad():
        module.fc.weight.mul_(2)
    after = explain(model, pictures(), Gradient(), target=0)[0]
    torch.testing.assert_close(after.values, 2 * before.values)
    assert after.record.model.fingerprint != before.record.model.fingerprint


# -- modules that refuse to be copied ----------------------------------------------------------------------------


class Locked(Convnet):
    """A lock cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.register_buffer("calls", torch.zeros(()))
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.fails and len(x) > 1:
            raise KeyError("the model's own error")
        return super().forward(x)


def locked() -> Locked:
    module: Any = net(Locked()).train()
    module.bn2.eval()
    return module


def state(module: nn.Module) -> tuple[Any, ...]:
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    hooks = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules()]
    return tensors, [each.training for each in module.modules()], hooks


def same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return a[1:] == b[1:] and all(torch.equal(a[0][name], b[0][name]) for name in a[0])


def test_a_model_that_cannot_be_copied_is_used_in_place_and_put_back() -> None:
    module = locked()
    before = state(module)
    got = explain(module, pictures(), [Gradient(), Gradient(at="conv2")])
    assert same(state(module), before)
    assert any("used in place" in said for said in got[0].record.decisions)


def test_it_is_put_back_when_the_model_fails() -> None:
    module = locked()
    module.fails = True
    before = state(module)
    with pytest.raises(KeyError, match="own error"):
        explain(module, pictures(), Gradient())
    assert same(state(module), before)


def test_a_failing_model_fails_with_its_own_error_which_says_on_what_rows() -> None:
    with pytest.raises(RuntimeError, match="to have 3 channels") as raised:
        explain(net(Convnet()), torch.zeros(1, 2, 8, 8), Gradient())
    assert raised.value.__notes__ == ["Convnet fails on a row of shape (2, 8, 8), the first it was given"]


def test_it_gives_the_same_explanation_as_a_copy() -> None:
    module = locked()
    torch.testing.assert_close(
        explain(module, pictures(), Gradient())[0].values, explain(net(Convnet()), pictures(), Gradient())[0].values
    )


def test_nobody_looks_at_a_module_that_another_thread_has_borrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be copied runs itself, in eval mode and with what it leaves in its attributes while it runs."""
    looks: list[bool] = []  # whether it ran when somebody looked
    inside = threading.Event()

    class Alone(nn.Linear):
        runs = False

        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("one of a kind")

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            Alone.runs = True
            inside.set()
            time.sleep(0.1)
            Alone.runs = False
            return super().forward(input)

    def looked(module: nn.Module) -> Watch:
        looks.append(Alone.runs)
        return Watch(module)

    monkeypatch.setattr(twin_module, "Watch", looked)
    model = TorchModel(Alone(3, 2).train(), Preprocess.identity())
    x = torch.rand(1, 3, generator=torch.Generator().manual_seed(0))
    first, second = (threading.Thread(target=explain, args=(model, x, Gradient())) for _ in range(2))
    first.start()
    assert inside.wait(30)
    second.start()
    first.join()
    second.join()
    assert looks and True not in looks and model.module.training
