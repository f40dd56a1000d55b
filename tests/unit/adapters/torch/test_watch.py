"""What one look at a model finds out: what it gives, how its layers run, whether it draws random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.unit.models import Calls, Convnet, Twice, net, pictures
from torch import Tensor, nn

from pellucid import wrap
from pellucid.adapters.torch.watch import Facts, Randomness, first_tensor, replaced, watch
from pellucid.api import explain
from pellucid.core.errors import NonFinite, UnsupportedModel
from pellucid.methods.gradient import Gradient


def look(way: Callable[[Any, Tensor], Any], emits: str | None = None, **layers: nn.Module) -> Facts:
    layers = {"fc": nn.Linear(12, 4), **layers}
    return watch(net(Calls(way, **layers)), pictures(1, 2), None, emits)


def logits(m: Any, x: Tensor) -> Tensor:
    return m.fc(x.flatten(1))


HEADS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str, int | None]] = {
    "nothing": (logits, "logits", None),
    "a softmax module": (lambda m, x: m.soft(logits(m, x)), "logits", 0),
    "F.softmax": (lambda m, x: F.softmax(logits(m, x), 1), "logits", 0),
    "torch.softmax": (lambda m, x: torch.softmax(logits(m, x), -1), "logits", 0),
    "a softmax method": (lambda m, x: logits(m, x).softmax(dim=1), "logits", 0),
    "the second of two softmaxes": (lambda m, x: (logits(m, x).softmax(1) * 3).softmax(1), "logits", 1),
    "a softmax inside alone": (lambda m, x: logits(m, x.flatten(1).softmax(1)), "logits", None),
    "a softmax over the rows, which is none": (lambda m, x: logits(m, x).softmax(0), "logits", None),
    "log-softmax": (lambda m, x: logits(m, x).log_softmax(1), "logits", None),
    "a softmax by hand": (lambda m, x: (e := logits(m, x).exp()) / e.sum(1, True), "probabilities", None),
    "a softmax, smoothed": (lambda m, x: 0.9 * logits(m, x).softmax(1) + 0.025, "probabilities", None),
    "a sigmoid": (lambda m, x: logits(m, x).sigmoid(), "probabilities", None),
    "F.sigmoid": (lambda m, x: torch.sigmoid(logits(m, x)), "probabilities", None),
    "one number": (lambda m, x: logits(m, x)[:, :1], "values", None),
    "one probability": (lambda m, x: logits(m, x)[:, :1].sigmoid(), "probabilities", None),
}


@pytest.mark.parametrize("end", HEADS)
def test_a_model_that_ends_in(end: str) -> None:
    way, emits, head = HEADS[end]
    facts = look(way, soft=nn.Softmax(1))
    assert (facts.emits, facts.head) == (emits, head)


@pytest.mark.parametrize("end", ["a softmax module", "F.softmax", "a softmax method", "the second of two softmaxes"])
def test_a_softmax_at_the_end_is_taken_off(end: str) -> None:
    way = HEADS[end][0]
    module = net(Calls(way, fc=nn.Linear(12, 4), soft=nn.Softmax(1)))
    bare = {"the second of two softmaxes": lambda m, x: logits(m, x).softmax(1) * 3}.get(end, logits)
    wanted = explain(net(Calls(bare, fc=nn.Linear(12, 4))), pictures(2, 2), Gradient(), target=1)[0]
    got = explain(module, pictures(2, 2), Gradient(), target=1)[0]
    torch.testing.assert_close(got.values, wanted.values)
    assert got.target.score == pytest.approx(wanted.target.score)
    assert any("ends in a softmax" in said for said in got.record.decisions)


def test_predictions_are_the_models_own_probabilities_with_the_softmax_taken_off() -> None:
    module = net(Calls(lambda m, x: m.fc(x.flatten(1)).softmax(1), fc=nn.Linear(12, 4)))
    got = explain(module, pictures(2, 2), Gradient())[0].prediction
    with torch.no_grad():
        wanted = module(pictures(2, 2)).sort(1, descending=True)
    assert got.index == tuple(map(tuple, wanted.indices.tolist()))
    assert got.probability == tuple(pytest.approx(row) for row in wanted.values.tolist())


def test_what_the_user_says_about_the_scores_holds() -> None:
    facts = look(lambda m, x: logits(m, x).softmax(1), emits="probabilities")
    assert (facts.emits, facts.head) == ("probabilities", None)


def test_probabilities_are_explained_by_their_logarithm() -> None:
    module = net(Calls(lambda m, x: (e := m.fc(x.flatten(1)).exp()) / e.sum(1, True), fc=nn.Linear(12, 4)))
    got = explain(module, pictures(1, 2), Gradient(), target=0)[0]
    leaf = pictures(1, 2).requires_grad_()
    torch.testing.assert_close(got.values, torch.autograd.grad(module(leaf).log()[0, 0], leaf)[0])


def test_layers_are_listed_in_the_order_in_which_they_finish_with_every_call() -> None:
    facts = watch(net(Twice()), pictures(1), None, None)
    assert facts.order == (
        *(("stem", 0), ("conv", 0), ("relu", 0), ("conv", 1), ("relu", 1)),
        *(("fc", 0), ("", 0)),
    )
    shapes = {layer.name: layer.shapes for layer in facts.layers}
    assert shapes["conv"] == ((4, 8, 8), (4, 8, 8))


def test_the_memory_of_a_row_is_what_its_operators_made() -> None:
    facts = watch(net(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten())), pictures(1), None, None)
    assert facts.bytes_largest == 4 * 64 * 8
    assert facts.bytes_all == 3 * 64 * 8 + 2 * 4 * 64 * 8  # the row's own copy, two activations; flattening is a view


def test_the_grid_of_patches_is_found() -> None:
    module = net(nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.Flatten()))
    assert watch(module, pictures(1), None, None).patch_grid == (2, 2)


def test_hooks_are_gone_after_a_look_and_after_a_failed_one() -> None:
    module: Any = net(Convnet())
    watch(module, pictures(1), None, None)
    with pytest.raises(RuntimeError):
        watch(module, pictures(1, channels=1), None, None)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


def test_a_model_that_gives_nan_is_refused_with_the_number_of_them() -> None:
    with pytest.raises(NonFinite, match="4 values"):
        look(lambda m, x: logits(m, x) / 0 * 0)


def test_a_model_that_changes_the_number_of_rows_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="one row in, 2 rows out"):
        look(lambda m, x: logits(m, x).repeat(2, 1))


# -- randomness --------------------------------------------------------------------------------------------------

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch": lambda x: x + 0 * torch.rand(1),
    "numpy": lambda x: x + 0 * float(np.random.rand()),
    "python": lambda x: x + 0 * random.random(),
}


@pytest.mark.parametrize("source", DRAWS)
def test_a_model_that_draws_random_numbers_is_found_out(source: str) -> None:
    assert look(lambda m, x: DRAWS[source](logits(m, x))).draws == {source}


@pytest.mark.parametrize("source", DRAWS)
def test_the_global_random_state_stays_where_it_was_from_the_first_call_on(source: str) -> None:
    model = wrap(net(Calls(lambda m, x: DRAWS[source](m.fc(x.flatten(1))), fc=nn.Linear(12, 4))))
    for _ in range(2):
        before = Randomness.now()
        said = explain(model, pictures(2, 2), Gradient())[0].record.decisions
        assert not before.moved()
        assert any("stochastic" in one for one in said)


def test_the_state_of_each_source_is_restored() -> None:
    before = Randomness.now()
    drawn = (random.random(), np.random.rand(), torch.rand(()).item())
    assert before.moved() == {"torch", "numpy", "python"}
    before.restore()
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == drawn
    before.restore()


# -- tensors in containers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda t: t, lambda t: (t, 1), lambda t: [t, 1], lambda t: {"a": t, "b": 1}])
def test_the_first_tensor_of_a_layers_output_is_found_and_replaced(make: Callable[[Tensor], Any]) -> None:
    old, new = torch.zeros(2), torch.ones(2)
    out = make(old)
    assert first_tensor(out) is old
    changed = replaced(out, new)
    assert first_tensor(changed) is new
    assert type(changed) is type(out)
    assert first_tensor(out) is old


@pytest.mark.parametrize("out", [None, 3, (), [], {}, "word"])
def test_there_is_no_tensor_in(out: Any) -> None:
    assert first_tensor(out) is None
