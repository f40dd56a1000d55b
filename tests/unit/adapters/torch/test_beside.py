"""Where backward passes start under rules that compare: a probability's change shared out among the outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.adapters.torch.beside import starts
from pellucid.propagation.deeplift import Multipliers

OUTPUTS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]], dtype=torch.float64)
REFERENCE = torch.zeros(1, 3, dtype=torch.float64)


def scores(outputs: Tensor) -> Tensor:
    return outputs.softmax(1).T


@pytest.mark.parametrize("graded", [1, 2, 3])
def test_only_graded_scores_are_differentiated(graded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[Any] = []
    real = torch.autograd.grad

    def counted(*args: Any, **more: Any) -> Any:
        passes.append(args)
        return real(*args, **more)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    rules: Any = Multipliers("rescale", "error")
    found = starts(rules, scores, OUTPUTS, REFERENCE, graded)
    assert len(found) == len(passes) == graded
    for multipliers, target in zip(found, range(graded), strict=True):
        change = scores(OUTPUTS)[target] - scores(REFERENCE)[target]
        torch.testing.assert_close((multipliers * (OUTPUTS - REFERENCE)).sum(1), change, rtol=1e-12, atol=1e-12)
