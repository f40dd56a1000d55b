"""The zoo is what it says it is."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from pellucid import api
from pellucid.core.errors import InputError
from pellucid.methods.gradient import Gradient
from pellucid.testing import Snapshot, tiny
from pellucid.testing.answers import explained
from pellucid.testing.state import process


@pytest.mark.parametrize("name", tiny.names())
def test_making_one_moves_nothing_and_repeats(name: str) -> None:
    before = process()
    one, two = (tiny.make(name) for _ in range(2))
    assert {k: repr(v) for k, v in process().items()} == {k: repr(v) for k, v in before.items()}
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    for a, b in zip(one.module.state_dict().values(), two.module.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(one.x, two.x) and one.x.dtype == torch.float64
    assert not torch.equal(tiny.make(name, seed=1).x, one.x)
    assert Snapshot.of(one.module, one.x).changes() == ()


@pytest.mark.parametrize("group", sorted({entry.group for entry in tiny.ZOO.values()} - {""}))
def test_models_of_a_group_are_one_function(group: str) -> None:
    outputs = {}
    for name in tiny.names(group=group):
        model = tiny.make(name)
        outputs[name] = api.explain(model.module, model.x, Gradient(), target=0)[0]
    first, *others = outputs.values()
    assert len(others) >= 1
    for e in others:
        assert e.prediction.index == first.prediction.index
        np.testing.assert_allclose(e.target.score, first.target.score, rtol=1e-12)
        np.testing.assert_allclose(e.prediction.probability, first.prediction.probability, rtol=1e-9)


def test_rectifiers_bend_and_ceilings_are_reached() -> None:
    """A zoo in which every unit is on would prove nothing about rectifiers."""
    for name in tiny.names(having="relu", lacking="stochastic"):
        model = tiny.make(name)
        a = explained(Gradient(), model).values
        b = explained(Gradient(), model, 1 - model.x).values
        assert not torch.allclose(a, b), name
    relu6 = tiny.make("relu6")
    with torch.no_grad():
        z = relu6.module.conv(relu6.x)
    assert float((z > 6).double().mean()) > 0.05 and float((z < 0).double().mean()) > 0.05


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="convnet"):
        tiny.make("convnett")


def test_no_test_framework_is_needed() -> None:
    code = (
        "import sys\nfrom pellucid.testing import check_method, checks\n"
        "next(checks('gradient', ('linear_rows',)))()\n"
        "assert not {'pytest', 'hypothesis', '_pytest'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
