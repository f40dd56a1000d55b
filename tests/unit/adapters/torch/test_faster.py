"""A faster twin answers questions about scores, is seen to agree, and is told of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid import LIME, Gradient
from pellucid.adapters.torch import faster as module
from pellucid.testing import state

pytestmark = pytest.mark.skipif(not module.installed(), reason="no onnxruntime")


class Net(nn.Module):
    """Convolutions and a head, with a softmax on request."""

    def __init__(self, softmax: bool = False) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU6(), nn.Conv2d(6, 8, 3), nn.Hardswish()
        )
        self.head, self.softmax = nn.Linear(8, 4), softmax
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw) / 3

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.body(x).mean((2, 3)))
        return out.softmax(1) if self.softmax else out


X = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))
MANY = LIME(regions="cells(4, 4)", samples=300)


def told(e: Any) -> list[str]:
    return [line for line in e.record.decisions if "ONNX" in line or "faster twin" in line]


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_the_values_are_those_of_the_plain_model_and_the_record_says_who_answered(softmax: bool, output: Any) -> None:
    net = Net(softmax)
    before = state.Snapshot.of(net)
    fast = pellucid.explain(net, X, MANY, target=1, output=output)[0]
    plain = pellucid.explain(pellucid.wrap(net, evaluate="plain"), X, MANY, target=1, output=output)[0]
    assert torch.allclose(fast.values, plain.values, atol=1e-4 * float(plain.values.abs().max()))
    assert "agrees to" in told(fast)[0]
    assert told(plain) == []
    assert before.changes() == ()


def test_few_rows_and_gradients_are_answered_by_torch() -> None:
    net = Net()
    few, gradient = pellucid.explain(net, X, [LIME(regions="cells(2, 2)", samples=20), Gradient()])
    assert told(few) == told(gradient) == []


def test_a_model_that_cannot_be_exported_runs_as_ever_and_says_why() -> None:
    class Odd(Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                weight = torch.linalg.matrix_exp(self.head.weight @ self.head.weight.T)
            return super().forward(x) @ weight

    got = pellucid.explain(Odd(), X, MANY, target=1)[0]
    assert told(got)[0].startswith("no faster twin")
    assert bool(got.values.isfinite().all())


def test_a_twin_that_disagrees_on_the_rows_at_hand_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    plain = pellucid.explain(pellucid.wrap(net, evaluate="plain"), X, MANY, target=1)[0]
    real = module.Faster.__call__
    model = pellucid.wrap(net)
    pellucid.explain(model, X, MANY, target=1)  # it is there now, and agrees
    monkeypatch.setattr(module.Faster, "__call__", lambda self, x: real(self, x) + 0.01)
    got = pellucid.explain(model, X, MANY, target=1)[0]
    assert told(got) == ["no faster twin: it differs on these rows"]
    assert torch.allclose(got.values, plain.values, atol=1e-4)
