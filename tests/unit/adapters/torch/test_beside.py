"""Where backward passes start under rules that compare: a probability's change shared out among the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.adapters.torch.beside import starts
from pellucid.adapters.torch.ready import Met
from pellucid.core.site import Site
from pellucid.propagation.deeplift import Multipliers

OUTPUTS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]], dtype=torch.float64)
REFERENCE = torch.zeros(1, 3, dtype=torch.float64)


INNER, THERE = torch.tensor([[1.0, 2.0], [0.5, -3.0]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
SITE = Site("hidden")


def scores(outputs: Tensor, seen: Mapping[Site, Tensor]) -> Tensor:
    return torch.stack([*outputs.softmax(1).T[:2], seen[SITE].softmax(1)[:, 0]])


@pytest.mark.parametrize("graded", [1, 2, 3])
def test_only_graded_scores_are_differentiated(graded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[Any] = []
    real = torch.autograd.grad

    def counted(*args: Any, **more: Any) -> Any:
        passes.append(args)
        return real(*args, **more)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    rules: Any = Multipliers("rescale", "error")
    nothing: Any = None
    met = Met(nothing, nothing, nothing, REFERENCE, {SITE: THERE})
    found = starts(rules, scores, OUTPUTS, {SITE: INNER}, met, graded)
    assert len(found) == len(passes) == graded
    changes = scores(OUTPUTS, {SITE: INNER}) - scores(REFERENCE, {SITE: THERE})
    for (at_outputs, inside), change in zip(found, changes, strict=False):
        assert at_outputs is not None and inside is not None
        shared = (at_outputs * (OUTPUTS - REFERENCE)).sum(1) + (inside * (INNER - THERE)).sum(1)
        torch.testing.assert_close(shared, change, rtol=1e-12, atol=1e-12)


def test_where_a_score_does_not_look_nothing_starts() -> None:
    nothing: Any = None
    met = Met(nothing, nothing, nothing, REFERENCE, {SITE: THERE})
    rules: Any = Multipliers("rescale", "error")
    [(at_outputs, inside)] = starts(rules, lambda _, seen: seen[SITE].T[:1], OUTPUTS, {SITE: INNER}, met, 1)
    assert at_outputs is None
    assert inside is not None
    assert inside.tolist() == [[1, 0], [1, 0]]
