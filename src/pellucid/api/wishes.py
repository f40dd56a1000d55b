"""What a model is wanted to say of a row, and how far it is from saying it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.api.answers import Said
from pellucid.core.errors import TargetError
from pellucid.core.target import converted

CLEAR = 1e-4
"""Part of the row's own margin that a counterfactual must lie beyond the border, so that rounding does not undo it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the model is wanted to say, and how far it is from saying it.

    now     the class of the row; of a single output, 1 above its border and 0 below
    target  the class wanted; None for any other
    ends    where a number is wanted
    """

    now: int
    target: int | None
    ends: tuple[float, float] | None
    was: str
    wanted: str
    clear: float = 0.0

    @staticmethod
    def of(said: Said, target: int | str | tuple[float, float] | None) -> Wish:
        """Raises TargetError for a target that is there already, or of another kind than what the model gives."""
        if isinstance(target, tuple) or (said.classes is None and said.emits == "values"):
            wish = _number(said, target)
        else:
            now = int(_scores(said)[0].argmax())
            which = None if target is None else _class(said, target)
            if which == now:
                raise TargetError(f"{_name(said, now)}, which the model says already", "another class")
            other = "another class" if which is None else _name(said, which)
            wish = Wish(now=now, target=which, ends=None, was=_name(said, now), wanted=other)
        clear = CLEAR * abs(float(wish.margin(said)[0]))
        return replace(wish, clear=clear)

    def margin(self, said: Said) -> Tensor:
        """Above zero where the model says what is wanted, float64 [rows]."""
        if self.ends is not None:
            value = said.outputs[:, 0]
            return (value - self.ends[0]).minimum(self.ends[1] - value)
        scores = _scores(said)
        if self.target is None:
            others = scores.clone()
            others[:, self.now] = -torch.inf
            return others.amax(1) - scores[:, self.now]
        others = scores.clone()
        others[:, self.target] = -torch.inf
        return scores[:, self.target] - others.amax(1)

    def says(self, said: Said, i: int) -> tuple[str, float]:
        """What the model says of a row, and the number behind it."""
        if self.ends is not None:
            return "the number", float(said.outputs[i, 0])
        scores = _scores(said)
        best = int(scores[i].argmax())
        return _name(said, best), float(scores[i].softmax(0)[best])


def _number(said: Said, target: int | str | tuple[float, float] | None) -> Wish:
    if said.outputs.shape[1] != 1 or said.emits != "values":
        raise TargetError(f"target={target!r} of a model with classes", "a class")
    value = float(said.outputs[0, 0])
    if not isinstance(target, tuple) or len(target) != 2 or not target[0] < target[1]:
        raise TargetError(f"target={target!r} of a model that gives a number", "two ends (low, high)")
    if target[0] < value < target[1]:
        raise TargetError(f"a number between {target[0]:g} and {target[1]:g}, which it is already: {value:g}", "others")
    wanted = f"a number between {target[0]:g} and {target[1]:g}"
    return Wish(now=0, target=None, ends=(float(target[0]), float(target[1])), was=f"{value:.4g}", wanted=wanted)


def _scores(said: Said) -> Tensor:
    """Log scores of classes that exclude one another, [rows, classes]; a single output against its border."""
    if said.outputs.shape[1] > 1:
        return converted(said.outputs, "logit", said.emits)
    yes = said.outputs[:, 0]
    if said.emits == "probabilities":
        tiny = torch.finfo(yes.dtype).tiny
        yes = yes.clamp_min(tiny).log() - (1 - yes).clamp_min(tiny).log()
    return torch.stack([torch.zeros_like(yes), yes], 1)


def _name(said: Said, index: int) -> str:
    if said.outputs.shape[1] > 1:
        return said.labels.name(index)
    return said.labels.name(0) if index else f"not {said.labels.name(0)}"


def _class(said: Said, target: int | str) -> int:
    if said.outputs.shape[1] > 1:
        return said.labels.find(target, said.outputs.shape[1])
    return target if isinstance(target, int) and target in (0, 1) else 1 + said.labels.find(target, 1)
