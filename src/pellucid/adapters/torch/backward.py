"""The backward pass: from scores to what methods asked for, at the points and at sites."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.adapters.torch.tape import Tape
from pellucid.core.ask import Answer, Lane, Rows
from pellucid.core.errors import UnsupportedModel
from pellucid.core.site import Site

Found = Sequence[tuple[Tensor | None, ...]]
"""Per score, the gradients of everything asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """The scores [target, rows], and for each of those differentiated where its backward pass starts, with what."""

    scores: Tensor
    roots: list[list[Tensor]]
    values: list[list[Tensor] | None]


def answered(rows: Rows, out: Tensor, leaf: Tensor, tape: Tape, lane: Lane, model: str, again: bool = False) -> Answer:
    """What one pass gives, the graph of which leads from leaf and the tape's sites to out.

    again: parts of the graph are wanted once more.
    Raises UnsupportedModel where the scores do not depend on the points in a way that can be differentiated.
    """
    with torch._C.DisableTorchFunction():  # what is explained of the outputs is no operator of the model
        begin = starts(rows, out, tape, lane)
    if not (begin.roots and begin.roots[0] and begin.roots[0][0].requires_grad):
        raise UnsupportedModel(
            f"the score of {model} does not depend on {_whereon(lane)} in a way that can be differentiated",
            "a score behind it, in a model with gradients",
            "use a method that only needs scores, such as Occlusion; quantised models have no gradient",
        )
    inputs = ([leaf] if lane.gradient else []) + [tape.raw[s] for s in lane.slopes]
    found: list[tuple[Tensor | None, ...]] = [
        torch.autograd.grad(root, inputs, value, retain_graph=again or t < rows.graded - 1, allow_unused=True)
        for t, (root, value) in enumerate(zip(begin.roots, begin.values, strict=True))
    ]
    seen = {site: tensor.detach() for site, tensor in tape.seen.items()}
    gradient = _stacked([_there(grads[0]) for grads in found]) if lane.gradient else None
    slopes = {site: _slopes(site, i + int(lane.gradient), found, tape) for i, site in enumerate(lane.slopes)}
    return Answer(out.detach(), begin.scores.detach(), gradient, seen, slopes)


def starts(rows: Rows, out: Tensor, tape: Tape, lane: Lane) -> Starts:
    """Where the backward passes start: at the scores; at the outputs, where the scores are outputs or relevance runs.

    Relevance begins as y · ∂s/∂y, at the outputs y and at the inner units that scores are made of. Under rules that
    compare, the change of a score has been shared out among the same.
    """
    rule: Any = lane.where.rule
    relevance = rule is not None and rule.manner.start == "score"
    if rows.start is not None and out.requires_grad:
        scores = rows.objective(out.detach(), tape.seen)
        values = [[out.detach() * slope if relevance else slope] for slope in rows.start(out.detach())]
        return Starts(scores, [[out]] * rows.graded, list(values))
    if not relevance and rows.slopes is None:
        scores = rows.objective(out, tape.seen)
        return Starts(scores, [[score.sum()] for score in scores[: rows.graded]], [None] * rows.graded)
    ends = [out, *tape.seen.values()]
    cut = [end.detach().requires_grad_(relevance) for end in ends]
    seen = dict(zip(tape.seen, cut[1:], strict=True))
    scores = rows.objective(cut[0], seen)
    slopes = _sloped(scores[: rows.graded], cut) if rows.slopes is None else rows.slopes(cut[0], seen)
    begun = [
        [(end, y.detach() * g if relevance else g) for end, y, g in zip(ends, cut, one, strict=True) if g is not None]
        for one in slopes
    ]  # no relevance begins, and meets operators without a rule, where a score does not look
    return Starts(scores.detach(), [[end for end, _ in one] for one in begun], [[r for _, r in one] for one in begun])


def _sloped(scores: Iterable[Tensor], ends: list[Tensor]) -> list[tuple[Tensor | None, ...]]:
    nowhere = (None,) * len(ends)
    return [
        torch.autograd.grad(score.sum(), ends, retain_graph=True, allow_unused=True) if score.requires_grad else nowhere
        for score in scores
    ]


def _slopes(site: Site, place: int, found: Found, tape: Tape) -> Tensor:
    """The gradients at one site, as it is read; zero where the score does not depend on it."""
    take, raw = tape.sites.plan(site).take, tape.raw[site]
    return _stacked([take(torch.zeros_like(raw) if (g := grads[place]) is None else g) for grads in found])


def _whereon(lane: Lane) -> str:
    return "its input" if lane.gradient or not lane.slopes else f"layer {', '.join(map(str, lane.slopes))}"


def _there(gradient: Tensor | None) -> Tensor:
    if gradient is None:
        raise UnsupportedModel("the score does not depend on the input", "a score that the input can change")
    return gradient.contiguous()


def _stacked(per_score: list[Tensor]) -> Tensor:
    return per_score[0][None] if len(per_score) == 1 else torch.stack(per_score)
