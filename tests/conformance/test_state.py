"""Nothing of the caller's changes: on every model, after success, after an error at any pass, after Ctrl-C."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from pathlib import Path

import pytest
import torch

from pellucid import api
from pellucid.methods.cam import GradCAM
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.guided import GuidedBackprop
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.testing import Snapshot, tiny
from pellucid.testing.answers import explained
from pellucid.testing.promises import fails_cleanly, in_two_threads, unchanged, with_gradients


def methods_for(name: str) -> list[object]:
    """Methods of every kind that can explain a model: gradients, draws, rules, sites, scores."""
    entry = tiny.ZOO[name]
    found: list[object] = [Gradient(), SmoothGrad(samples=2), IntegratedGradients(steps=2)]
    if entry.site is not None:
        found.append(GradCAM())
    if "relu" in entry.traits:
        found.append(GuidedBackprop())
    return found


@pytest.mark.parametrize("name", tiny.names())
def test_success_changes_nothing(name: str) -> None:
    model = tiny.make(name)
    with_gradients(model.module)
    handle = api.wrap(model.module)
    with unchanged(model.module, model.x):
        api.explain(handle, model.x, methods_for(name), top_k=1)
        api.plan(handle, model.x, methods_for(name))
        if model.site is not None:
            api.layers(handle, model.x)


@pytest.mark.parametrize("error", [RuntimeError("broken on purpose"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("name", tiny.names())
def test_failures_change_nothing(name: str, error: BaseException) -> None:
    assert fails_cleanly(methods_for(name), tiny.make(name), error, rows=7) > 1


@pytest.mark.parametrize("name", tiny.names())
def test_other_modes_stay_as_they_are(name: str) -> None:
    model = tiny.make(name)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), unchanged(model.module):
        explained(SmoothGrad(samples=2), model)
    with torch.no_grad(), unchanged(model.module):
        explained(SmoothGrad(samples=2), model)


@pytest.mark.parametrize("name", ["convnet_training", "convnet_uncopyable", "stochastic"])
def test_training_goes_on_as_without_us(name: str) -> None:
    """Two optimiser steps with and without explanations in between give the same weights, bit by bit."""

    def trained(look: bool) -> list[torch.Tensor]:
        model = tiny.make(name)
        model.module.train()
        handle = api.wrap(model.module)
        optimiser = torch.optim.Adam(model.module.parameters(), lr=0.1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            for _ in range(3):
                model.module(model.x).square().sum().backward()
                if look:
                    api.explain(handle, model.x, methods_for(name), target=0)
                optimiser.step()
                optimiser.zero_grad()
        return [t.detach().clone() for t in model.module.state_dict().values()]

    for with_us, without in zip(trained(True), trained(False), strict=True):
        assert torch.equal(with_us, without)


def test_the_snapshot_sees_what_it_should() -> None:
    """A guard that sees nothing would pass everything."""
    model = tiny.make("convnet")
    net, x = with_gradients(model.module), model.x
    before = Snapshot.of(net, x)
    assert before.changes() == ()
    threads = torch.get_num_threads()
    deeds = {
        "bn1": lambda: net.bn1.eval(),
        "grad": lambda: net.conv1.weight.grad.add_(1),
        "weight": lambda: net.fc.weight.data.add_(1),
        "running_mean": lambda: net.bn2.running_mean.add_(1),
        "_forward_hooks": lambda: net.relu1.register_forward_hook(lambda *_: None),
        "attributes": lambda: setattr(net, "extra", 1),
        "relu2": lambda: setattr(net, "relu2", torch.nn.ReLU()),
        "tensor 0": lambda: x.add_(1),
        "threads": lambda: torch.set_num_threads(threads + 1),
        "torch random state": lambda: torch.rand(1),
    }
    net.train()
    for word, deed in deeds.items():
        before = Snapshot.of(net, x)
        deed()
        assert any(word in change for change in before.changes()), word
    torch.set_num_threads(threads)


# -- threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convnet_inplace", "convnet_shared", "convnet_uncopyable", "convnet_training"])
def test_two_threads_on_one_model(name: str) -> None:
    """Guided backpropagation in one thread leaves the gradient in the other alone, and the other way round."""
    model = tiny.make(name)
    handle = api.wrap(model.module)
    wanted = [explained(method, model).values for method in (GuidedBackprop(), Gradient())]
    assert not torch.allclose(*wanted)
    with unchanged(model.module, model.x):
        found = in_two_threads(
            lambda: api.explain(handle, model.x, GuidedBackprop(), target=0)[0].values,
            lambda: api.explain(handle, model.x, Gradient(), target=0)[0].values,
            times=15,
        )
    for got, right in zip(found, wanted, strict=True):
        for values in got:
            assert isinstance(values, torch.Tensor), values
            torch.testing.assert_close(values, right, rtol=1e-9, atol=1e-12)


def test_a_thread_that_only_runs_the_model_sees_nothing() -> None:
    """While one thread explains by rules, another that uses the model gets its ordinary outputs and gradients."""
    model = tiny.make("convnet_inplace")
    model.module.eval()
    with torch.no_grad():
        plain = model.module(model.x)

    def use() -> torch.Tensor:
        return model.module(model.x).detach()

    _, outputs = in_two_threads(lambda: explained(GuidedBackprop(), model), use, times=15)
    assert all(torch.equal(out, plain) for out in outputs)


# -- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convnet", "convnet_uncopyable", "vit", "weight_norm", "convnet_rebinding"])
def test_a_module_dies_when_its_owner_lets_go(name: str) -> None:
    model = tiny.make(name)
    net = weakref.ref(model.module)
    es = api.explain(model.module, model.x, methods_for(name))
    assert len(es) == len(methods_for(name))
    del model
    gc.collect()
    assert net() is None


def test_threads_keep_no_module_alive() -> None:
    model = tiny.make("convnet")
    net = weakref.ref(model.module)
    handle = api.wrap(model.module)
    worker = threading.Thread(target=api.explain, args=(handle, model.x, "gradient"))
    worker.start()
    worker.join()
    del model, handle, worker
    gc.collect()
    assert net() is None


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_number_of_calls() -> None:
    model = tiny.make("convnet")
    handle = api.wrap(model.module)
    methods = [Gradient(), InputXGradient(), GradCAM()]

    def calls(count: int) -> None:
        for i in range(count):
            api.explain(handle if i % 4 else model.module, model.x, methods, target=0)

    calls(60)
    gc.collect()
    before = _resident()
    calls(200)
    gc.collect()
    assert _resident() - before < 6 * 2**20
