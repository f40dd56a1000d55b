"""What is explained of the outputs, under rules that compare: its own multipliers."""

# The switch of torch functions is private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pellucid.propagation import Intercept
from pellucid.propagation.rules import RuleSet


class _Scores(nn.Module):
    """The scores [t, rows] as a model of the outputs [rows, outputs]."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, outputs: Tensor) -> Tensor:
        return self.score(outputs)


def starts(
    rules: RuleSet, score: Callable[[Tensor], Tensor], outputs: Tensor, reference: Tensor, graded: int
) -> list[Tensor]:
    """Where the backward pass of every graded score starts: Δ score / Δ outputs, [rows, outputs] each.

    The first `graded` of the scores are graded; nothing comes back from the others.

    A probability is a softmax of the outputs, so that its change is shared out among them like any other.
    """
    model = _Scores(score)
    with torch._C._EnableTorchFunction(), torch.enable_grad():
        before = Intercept(model, rules)
        with before:
            model(reference.expand_as(outputs).clone().requires_grad_())
        leaf = outputs.clone().requires_grad_()
        with Intercept(model, rules, against=before.reference):
            scores = model(leaf)
        slopes = [
            torch.autograd.grad(one.sum(), leaf, retain_graph=True, materialize_grads=True) for one in scores[:graded]
        ]
    return [slope for (slope,) in slopes]
