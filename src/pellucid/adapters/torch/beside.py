"""What is explained of the outputs, under rules that compare: its own multipliers."""

# The switch of torch functions is private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.ready import Met
from pellucid.core.site import Site
from pellucid.propagation import Intercept
from pellucid.propagation.rules import RuleSet

Score = Callable[[Tensor, Mapping[Site, Tensor]], Tensor]


class _Scores(nn.Module):
    """The scores [t, rows] as a model of the outputs [rows, outputs], and of the activations of sites."""

    def __init__(self, score: Score, sites: Iterable[Site]) -> None:
        super().__init__()
        self.score, self.sites = score, tuple(sites)

    def forward(self, outputs: Tensor, *inner: Tensor) -> Tensor:
        return self.score(outputs, dict(zip(self.sites, inner, strict=True)))


def starts(
    rules: RuleSet, score: Score, outputs: Tensor, seen: Mapping[Site, Tensor], met: Met, graded: int
) -> list[tuple[Tensor | None, ...]]:
    """Where the backward pass of every graded score starts: Δ score / Δ outputs, and / Δ the activations seen at sites.

    The first `graded` of the scores are graded; nothing comes back from the others. None where a score does not look.

    A probability is a softmax of the outputs, so that its change is shared out among them like any other.
    """
    model = _Scores(score, seen)
    ends = (outputs, *seen.values())
    theirs = (met.out, *(met.seen[site] for site in seen))
    with torch._C._EnableTorchFunction(), torch.enable_grad():
        before = Intercept(model, rules)
        with before:
            model(*(_leaf(r.expand_as(y)) for r, y in zip(theirs, ends, strict=True)))
        leaves = [_leaf(y) for y in ends]
        with Intercept(model, rules, against=before.reference):
            scores = model(*leaves)
        return [torch.autograd.grad(one.sum(), leaves, retain_graph=True, allow_unused=True) for one in scores[:graded]]


def _leaf(y: Tensor) -> Tensor:
    return y.clone().requires_grad_()
