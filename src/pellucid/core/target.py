"""What is explained: which output, and as what kind of number. Targets are values, resolved on the clean input."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError, TargetError, nearest
from pellucid.core.explanation import Chosen
from pellucid.core.site import Site, as_site

Output = Literal["logit", "probability", "log_probability", "margin"]
OUTPUTS: tuple[Output, ...] = ("logit", "probability", "log_probability", "margin")
CLASSES = "classes"
"""Of outputs: they belong to classes; what they are exactly is found out by looking."""
EMITS = ("logits", "sigmoid_logits", "probabilities", "values", CLASSES)
"""What outputs can be: logits of a softmax or of sigmoids, probabilities, or values of any kind."""


@dataclass(frozen=True, slots=True)
class Top:
    """The k classes with the highest score, image by image: k explanations, best first."""

    k: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise TargetError(f"Top({self.k!r})", "a whole number of classes, 1 or more")


@dataclass(frozen=True, slots=True)
class Class:
    """One class for every image, by number or by name."""

    which: int | str

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", _class(self.which))


@dataclass(frozen=True, slots=True)
class Each:
    """One class per image, in order; labels of a data set, for example."""

    which: tuple[int | str, ...]

    def __init__(self, which: Sequence[int | str] | Tensor) -> None:
        object.__setattr__(self, "which", tuple(_class(one) for one in which))


@dataclass(frozen=True, slots=True)
class Contrast:
    """Why this rather than that: the difference of two scores, s(this) − s(that)."""

    this: Top | Class | Each
    that: Top | Class | Each

    def __init__(self, this: Asked, that: Asked) -> None:
        for name, side in (("this", this), ("that", that)):
            one = as_target(side)
            if isinstance(one, tuple) or not isinstance(one, (Top, Class, Each)) or width(one) > 1:
                raise TargetError(f"Contrast of {side!r}", "two single classes", "name one class on each side")
            object.__setattr__(self, name, one)


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit inside the model: a channel of a site (averaged over its places), or one single number of it.

    index: channel number, or a full index such as (5, 3, 3) into the site's [channel, height, width].
    """

    site: Site
    index: tuple[int, ...]

    def __init__(self, site: str | Site | Any, index: int | Sequence[int]) -> None:
        object.__setattr__(self, "site", as_site(site))
        numbers = index if isinstance(index, Sequence) else (index,)
        if not numbers or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers):
            raise TargetError(f"unit {index!r}", "a channel number, or a full index, of whole numbers from 0")
        object.__setattr__(self, "index", tuple(numbers))


@dataclass(frozen=True, slots=True)
class Score:
    """Any scalar of the raw outputs: `fn([rows, outputs]) -> [rows]`, differentiable for gradient methods."""

    fn: Callable[[Tensor], Tensor]
    name: str = "score"


Target = Top | Class | Each | Contrast | Unit | Score
Asked = Target | int | str | Sequence["Asked"] | None


def _class(which: object) -> int | str:
    """A class name, or a class number as Python's own."""
    if isinstance(which, str):
        return which
    number = _whole(which)
    if number is None:
        raise TargetError(
            f"{which!r} of type {type(which).__name__} as a class",
            "a class number or a class name",
            "convert it with int(...)",
        )
    if number < 0:
        raise TargetError(f"class {number}", "a class number, 0 or more", "count from the front")
    return number


def _whole(it: object) -> int | None:
    """The number, where it is whole: an int, or a single one of numpy or torch, such as an argmax gives."""
    if isinstance(it, int):
        return None if isinstance(it, bool) else int(it)
    if getattr(it, "ndim", None) != 0 or "bool" in str(getattr(it, "dtype", "")):
        return None
    try:
        return operator.index(it)  # pyright: ignore[reportArgumentType] - what has no index says so
    except TypeError:
        return None


def as_target(asked: Asked) -> Target | tuple[Target, ...]:
    """What users may write: None is Top(1), a number or name a Class, a list several targets."""
    if asked is None:
        return Top(1)
    if isinstance(asked, (Top, Class, Each, Contrast, Unit, Score)):
        return asked
    if isinstance(asked, (int, str)):
        return Class(asked)
    if isinstance(asked, Sequence):
        return tuple(one for item in asked for one in as_targets(item))
    number = _whole(asked)
    if number is not None:
        return Class(number)
    raise TargetError(
        f"{asked!r} of type {type(asked).__name__}",
        "a class number, a class name, a Target, or a list of them",
        "Each(labels) takes one class per image" if getattr(asked, "ndim", 0) else "",
    )


def as_targets(asked: Asked) -> tuple[Target, ...]:
    """A flat tuple of targets; an empty list is refused."""
    got = as_target(asked)
    targets = got if isinstance(got, tuple) else (got,)
    if not targets:
        raise TargetError("an empty list of targets", "at least one target", "leave it out for the top class")
    return targets


def width(target: Target) -> int:
    """How many explanations one target gives per image."""
    return target.k if isinstance(target, Top) else 1


@dataclass(frozen=True, slots=True)
class Labels:
    """Class names, and the way from what users write to a class number."""

    names: tuple[str, ...] | None = None

    def name(self, index: int) -> str:
        return f"class {index}" if self.names is None or index >= len(self.names) else self.names[index]

    def find(self, which: int | str, outputs: int) -> int:
        """The class number; TargetError with the nearest names, or with all of an ambiguous name's numbers.

        A name goes before a number that is written like it.
        """
        if isinstance(which, int):
            if which >= outputs:
                raise TargetError(f"class {which}", f"a class number below {outputs}, the number of outputs")
            return which
        if which.isascii() and which.isdigit() and which not in (self.names or ()):
            return self.find(int(which), outputs)
        if self.names is None:
            raise TargetError(
                f"class name {which!r}, but the model has no class names",
                "a class number",
                "give names: wrap(model, labels=[...])",
            )
        hits = [i for i, name in enumerate(self.names) if name == which]
        hits = hits or [i for i, name in enumerate(self.names) if name.lower() == which.lower()]
        if len(hits) == 1:
            return self.find(hits[0], outputs)
        if hits:
            raise TargetError(f"class name {which!r} belongs to classes {hits}", "one class", "use the number")
        near = nearest(which, self.names)
        raise TargetError(f"no class {which!r}", "a class name of the model", f"perhaps {near}" if near else "")


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """One target, resolved: for every row, which outputs make up the number explained."""

    target: Target
    output: Output
    index: Tensor | None = None
    """Class per row, int64 [batch]."""
    minus: Tensor | None = None
    """Class subtracted per row, for contrasts."""
    rank: int = 0

    def value(self, outputs: Tensor, rows: Tensor, emits: str, inner: Tensor | None = None) -> Tensor:
        """The scalar per row, [rows], from raw outputs [rows, outputs] of the clean rows numbered `rows`."""
        if isinstance(self.target, Unit):
            return _unit(inner, self.target)
        if isinstance(self.target, Score):
            return _scalar(self.target, outputs)
        scores = converted(outputs, self.output, emits)
        chosen = scores.gather(1, self.index[rows, None])[:, 0]  # pyright: ignore[reportOptionalSubscript]
        if self.minus is not None:
            return chosen - scores.gather(1, self.minus[rows, None])[:, 0]
        if self.output == "margin":
            others = scores.scatter(1, self.index[rows, None], -torch.inf)  # pyright: ignore[reportOptionalSubscript]
            return chosen - others.amax(1) if scores.shape[1] > 1 else chosen
        return chosen

    def plain_logit(self, emits: str) -> bool:
        """Whether the scalar is an output, or a difference of two: its derivative is the same everywhere."""
        return self.index is not None and self.output == "logit" and emits != "probabilities"

    def slope(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """∂ scalar / ∂ outputs of a plain logit, [rows, outputs]: 1 at the class, −1 at the one subtracted."""
        start = torch.zeros_like(outputs)
        if self.index is not None:
            start.scatter_(1, self.index[rows, None], 1.0)
        if self.minus is not None:
            start.scatter_add_(1, self.minus[rows, None], -torch.ones_like(outputs[:, :1]))
        return start

    def chosen(self, scores: Tensor, labels: Labels) -> Chosen:
        """The user-facing description, given the explained score of every clean row."""
        count = len(scores)
        index = [None] * count if self.index is None else self.index.tolist()
        minus = [None] * count if self.minus is None else self.minus.tolist()

        def name(i: int | None, j: int | None) -> str:
            if isinstance(self.target, Unit):
                return f"unit {','.join(map(str, self.target.index))} of {self.target.site}"
            if isinstance(self.target, Score) or i is None:
                return self.target.name if isinstance(self.target, Score) else "score"
            return labels.name(i) if j is None else f"{labels.name(i)} − {labels.name(j)}"

        return Chosen(
            index=tuple(i if j is None else None for i, j in zip(index, minus, strict=True)),
            name=tuple(name(i, j) for i, j in zip(index, minus, strict=True)),
            score=tuple(scores.tolist()),
            output="activation" if isinstance(self.target, Unit) else self.output,
            asked=repr(self.target),
            rank=self.rank,
            pair=tuple((i, j) for i, j in zip(index, minus, strict=True) if i is not None and j is not None),
        )


def resolve(target: Target, outputs: Tensor, output: Output, emits: str, labels: Labels) -> list[Pick]:
    """Turn a target into picks, one per explanation it gives, from the raw outputs of all clean rows.

    Raises TargetError when a class does not exist, when Each has another length than the batch, when Top asks
    for more classes than there are, or when probabilities are asked of a model that has none.
    """
    if isinstance(target, (Unit, Score)):
        return [Pick(target, output)]
    if output in ("probability", "log_probability") and emits == "values":
        raise TargetError(
            f"output={output!r} of a model with {outputs.shape[1]} output(s) and no known probabilities",
            "output='logit'",
            "or say what the outputs are: wrap(model, emits='logits' | 'sigmoid_logits' | 'probabilities')",
        )
    if isinstance(target, Contrast):
        if isinstance(target.this, Class) and isinstance(target.that, Class):
            sides = [labels.find(side.which, outputs.shape[1]) for side in (target.this, target.that)]
            if sides[0] == sides[1]:
                raise TargetError(f"{labels.name(sides[0])} versus itself", "two different classes")
        this, that = (resolve(side, outputs, output, emits, labels)[-1].index for side in (target.this, target.that))
        return [Pick(target, output, this, that)]
    return [Pick(target, output, index, None, rank) for rank, index in enumerate(_indices(target, outputs, labels))]


def follows_outputs(target: Target) -> bool:
    """Whether the classes depend on what the model says."""
    if isinstance(target, Contrast):
        return isinstance(target.this, Top) or isinstance(target.that, Top)
    return isinstance(target, Top)


def part(target: Target, b0: int, b1: int) -> Target:
    """The same target for the rows b0..b1 of its batch."""
    if isinstance(target, Each):
        return Each(target.which[b0:b1])
    if isinstance(target, Contrast):
        return Contrast(part(target.this, b0, b1), part(target.that, b0, b1))
    return target


def _indices(target: Top | Class | Each, outputs: Tensor, labels: Labels) -> list[Tensor]:
    batch, count = outputs.shape
    if isinstance(target, Top):
        if target.k > count:
            raise TargetError(f"Top({target.k}) of a model with {count} outputs", f"at most Top({count})")
        return list(ranked(outputs, target.k).T)
    if isinstance(target, Class):
        return [torch.full((batch,), labels.find(target.which, count), device=outputs.device)]
    if len(target.which) != batch:
        raise TargetError(f"Each of {len(target.which)} classes for {batch} images", "one class per image")
    return [torch.tensor([labels.find(one, count) for one in target.which], device=outputs.device)]


def ranked(outputs: Tensor, k: int) -> Tensor:
    """The k highest outputs per row, best first, the smaller class number first among equals: int64 [rows, k]."""
    return outputs.argsort(dim=1, descending=True, stable=True)[:, :k]


def converted(outputs: Tensor, output: Output, emits: str) -> Tensor:
    """Raw outputs [rows, classes] as the kind of number asked for.

    emits: what the model gives: `logits` (of a softmax), `sigmoid_logits`, `probabilities`, or `values`.
    """
    if output not in OUTPUTS:
        raise ParameterError(f"output={output!r}", f"one of {OUTPUTS}", nearest(str(output), OUTPUTS))
    log = output == "log_probability"
    if output in ("logit", "margin"):
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log() if emits == "probabilities" else outputs
    if emits == "probabilities":
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log() if log else outputs
    if emits == "sigmoid_logits":
        return torch.nn.functional.logsigmoid(outputs) if log else outputs.sigmoid()
    return outputs.log_softmax(1) if log else outputs.softmax(1)


def check_unit(target: Unit, shape: tuple[int, ...]) -> None:
    """Raises TargetError where a site whose rows have this shape has no such unit."""
    if len(target.index) > len(shape) or any(i >= n for i, n in zip(target.index, shape, strict=False)):
        raise TargetError(f"unit {target.index} of {target.site}", f"an index below {shape}")


def _unit(inner: Tensor | None, target: Unit) -> Tensor:
    if inner is None:  # pragma: no cover - the engine always asks for the site of a unit
        raise TargetError(f"{target!r} without its site's activation", "an answer that holds the site")
    check_unit(target, tuple(inner.shape[1:]))
    picked = inner[(slice(None), *target.index)]
    return picked if picked.ndim == 1 else picked.flatten(1).mean(1)


def _scalar(target: Score, outputs: Tensor) -> Tensor:
    got = target.fn(outputs)
    if not isinstance(got, Tensor) or got.shape != outputs.shape[:1]:
        what = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else f"a {type(got).__name__}"
        raise TargetError(f"Score {target.name!r} gave {what}", f"one number per row, ({len(outputs)},)")
    return got
