"""What a model decides, rather than by how much: for methods that ask whether an answer holds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from pellucid.core.target import Pick, Score, Unit


@dataclass(frozen=True, slots=True, eq=False)
class Decision(Pick):
    """1 where the model's answer is the target, −1 where it is not; the plain number of a target that is no answer.

    Of several classes, the answer is the highest, the first one among equals; of classes that exclude nothing
    (`sigmoid_logits`) and of a single probability, it is what is more likely than not; of a contrast, the higher side.
    """

    def value(self, outputs: Tensor, rows: Tensor, emits: str, inner: Tensor | None = None) -> Tensor:
        if not _decides(self, outputs, emits):
            return Pick.value(self, outputs, rows, emits, inner)
        mine = outputs.gather(1, self.index[rows, None])[:, 0]  # pyright: ignore[reportOptionalSubscript]
        if self.minus is not None:
            yes = mine > outputs.gather(1, self.minus[rows, None])[:, 0]
        elif outputs.shape[1] > 1 and emits != "sigmoid_logits":
            yes = outputs.argmax(1) == self.index[rows]  # pyright: ignore[reportOptionalSubscript]
        else:
            yes = mine > (0.5 if emits == "probabilities" else 0.0)
        return 2 * yes.to(outputs.dtype) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Decides(Pick):
    """1 where `Decision` is an answer, 0 where it is a plain number: a unit, a function of the outputs, one value."""

    def value(self, outputs: Tensor, rows: Tensor, emits: str, inner: Tensor | None = None) -> Tensor:
        return outputs.new_full((len(outputs),), float(_decides(self, outputs, emits)))


def _decides(pick: Pick, outputs: Tensor, emits: str) -> bool:
    number = isinstance(pick.target, (Unit, Score)) or pick.index is None
    return not number and (outputs.shape[1] > 1 or emits != "values")


def decision(pick: Pick) -> Pick:
    """Ask for the decision about a target: `Ask(What.SCORE, points, fold, of=decision)`."""
    return Decision(**{f.name: getattr(pick, f.name) for f in fields(pick)})


def decides(pick: Pick) -> Pick:
    """Ask whether there is a decision about a target."""
    return Decides(**{f.name: getattr(pick, f.name) for f in fields(pick)})
