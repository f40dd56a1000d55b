"""What comes out: signed numbers with named axes, what they mean, and how they came about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import index
from typing import Any, cast

import torch
from torch import Tensor

from pellucid.core.errors import InputError, nearest

BATCH, CHANNEL, HEIGHT, WIDTH, TOKEN = "batch", "channel", "height", "width", "token"


class Kind(Enum):
    """What the numbers of an explanation mean. Drawing and metrics are chosen by it, numbers never are."""

    SENSITIVITY = "sensitivity"
    """Change of the score per change of the input. Signed; does not sum to anything."""
    CONTRIBUTION = "contribution"
    """Part of the score that an input is held responsible for. Signed; sums to a difference of scores, or an effect."""
    CAM = "cam"
    """How much a place of an inner feature map counted for the score; on the map's own grid."""
    SPREAD = "spread"
    """A second moment or variance. Never negative."""
    PART = "part"
    """How far each place belongs to the part that was found, 0 … 1. An empty part is an answer too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The output that was explained, one entry per row."""

    index: tuple[int | None, ...]
    """Class number, or None where the score is not one class (a unit, a function)."""
    name: tuple[str, ...]
    """Readable: `tabby`, `tabby − Egyptian cat`, `unit 5 of layer4`."""
    score: tuple[float, ...]
    """The number that was explained, at the clean input."""
    output: str
    """`logit`, `probability`, `log_probability` or `margin`."""
    asked: str
    """What the user asked for: `Top(1)`, `Class('tabby')`."""
    rank: int = 0
    """Place among the targets of the same call (0 for the first of Top(3))."""
    pair: tuple[tuple[int, int], ...] = ()
    """Class numbers of a contrast, the second being the one subtracted; empty for other targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The model's best classes for each row, best first."""

    index: tuple[tuple[int, ...], ...]
    name: tuple[tuple[str, ...], ...]
    probability: tuple[tuple[float, ...], ...]
    """Probabilities, or raw outputs where the model has none (`is_probability` False)."""
    is_probability: bool = True


Cell = str | int | float
"""The value of a column in a row."""


def written(cell: Cell) -> str:
    """A value as people read it: `53`, `7.25`, `yes`."""
    if isinstance(cell, str):
        return cell
    return f"{int(cell)}" if float(cell).is_integer() and abs(cell) < 1e15 else f"{cell:.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """A reference to what was explained: names, and the pictures as the model saw them."""

    name: tuple[str, ...]
    picture: Tensor | None
    """uint8 [batch, height, width, 3], the model's view in pixels; None when rows are not pictures."""
    shape: tuple[int, ...]
    """Shape of one row of the model's input, e.g. (3, 224, 224)."""
    notes: tuple[tuple[str, ...], ...] = ()
    """Per row, what the front door decided (EXIF turned, alpha over white ...)."""
    tokens: tuple[tuple[str, ...], ...] = ()
    """Per row, the pieces of text behind its token ids, without padding; empty where rows are no text."""
    features: tuple[str, ...] = ()
    """Names of the columns of a table; empty where rows are none."""
    cells: tuple[tuple[Cell, ...], ...] = ()
    """Per row, the value of every column: numbers as they are, all else as people read it: `yes`, `missing`."""

    def __eq__(self, other: object) -> bool:
        """Names and all else alike, and the pictures pixel by pixel."""
        if not isinstance(other, Inputs):
            return NotImplemented
        mine, theirs = self.picture, other.picture
        alike = mine is theirs or (mine is not None and theirs is not None and torch.equal(mine, theirs))
        return alike and all(getattr(self, f) == getattr(other, f) for f in self.__slots__ if f != "picture")

    def __hash__(self) -> int:
        return hash((self.name, self.shape))

    def __getitem__(self, row: slice) -> Inputs:
        """Some rows."""
        return replace(
            self,
            name=self.name[row],
            picture=None if self.picture is None else self.picture[row],
            notes=self.notes[row],
            tokens=self.tokens[row],
            cells=self.cells[row],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Work that was done, in model rows. Shared work is counted once for the whole call."""

    rounds: int = 0
    forward: int = 0
    backward: int = 0
    calls: int = 0
    """Calls of the model, each with one or more rows."""
    verification: int = 0
    """Rows spent on looking at the model and on verifying its prepared form; zero when cached."""
    retried: int = 0
    """Rows computed again after running out of memory."""
    tails: int = 0
    """Rows that ran only what lies behind an edited site, or behind the first weight in which variants of the model
    differ; they are not among those of `forward`."""
    known: int = 0
    """Rows that a session had the answer to, from other calls or from others in this one: the model did not run."""

    @property
    def work(self) -> int:
        """Rows forward and backward of what was asked, by itself: those that a session knew are among them."""
        return self.forward + self.known + self.backward + self.tails

    def __add__(self, other: Passes) -> Passes:
        return Passes(**{f: getattr(self, f) + getattr(other, f) for f in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Which model, in a way that can be compared later."""

    name: str
    fingerprint: str
    """Hash of all weights and buffers."""
    evaluator: str
    """`plain` or `prepared`, with the reason."""
    framework: str = "torch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How an explanation came about: enough to do it again."""

    method: str
    """Registry name: `integrated_gradients`."""
    title: str
    """Name in the literature: `Integrated Gradients`."""
    params: Mapping[str, Any]
    """Every parameter, JSON-able, defaults included."""
    cite: tuple[str, ...]
    model: ModelCard
    at: str | None = None
    """Site where the numbers live, with commas between several; None for the input."""
    seed: int | None = None
    passes: Passes = Passes()
    seconds: float = 0.0
    rows: int = 0
    """Model rows at once, at most."""
    versions: Mapping[str, str] = field(default_factory=dict)
    decisions: tuple[str, ...] = ()
    """What was decided automatically: layer, stripped softmax, prepared evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One self-check, a value per row. It turns red where `passed` is False; a number to know is not judged at all."""

    name: str
    """`completeness`, `degenerate`, `std_error` ..."""
    value: tuple[float, ...]
    passed: tuple[bool, ...]
    limit: float | None = None
    says: str = ""
    """One sentence on what is measured, for people."""
    judged: bool = True
    """False for a number to know: it is shown without a verdict, and `passed` is True."""
    share: bool = False
    """Whether values are shares of one, to be shown in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why one model gave one output, for a batch of inputs, by one method. A frozen value.

    `values[i]` belongs to `inputs.name[i]`; the first axis is always the batch. Numbers are signed and
    raw: reduction over channels, clipping and colour belong to `pellucid.views`. Two explanations are equal when they
    are the same object; tensors have no single answer to "equal?".
    """

    values: Tensor
    dims: tuple[str, ...]
    kind: Kind
    target: Chosen
    prediction: Prediction
    inputs: Inputs
    record: Record
    checks: tuple[Check, ...] = ()
    std_error: Tensor | None = None
    """Standard error of `values` for sampled methods, same shape."""
    outputs: Tensor | None = None
    """The model's raw outputs at the clean input, [batch, outputs]."""
    look: str | None = None
    """Name of the look it is drawn with (`pellucid.views.LOOKS`); None is the one of its kind."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors with the batch as first axis."""

    def __post_init__(self) -> None:
        if len(self.dims) != self.values.ndim or self.dims[0] != BATCH:
            raise InputError(
                f"dims {self.dims} do not name the axes of values with shape {tuple(self.values.shape)}",
                "one name per axis, the first being 'batch'",
            )
        t, p, n = self.target, self.prediction, self.inputs
        lists = [t.index, t.name, t.score, t.pair or t.name, p.index, p.name, p.probability, n.name, n.notes or n.name]
        lists += [n.tokens or n.name, n.cells or n.name]
        lists += [each for check in self.checks for each in (check.value, check.passed)]
        tensors = [
            each for each in (n.picture, self.std_error, self.outputs, *self.extras.values()) if each is not None
        ]
        counts = {len(each) for each in lists} | {each.shape[0] if each.ndim else 0 for each in tensors}
        if counts != {self.values.shape[0]}:
            raise InputError(
                f"values of {self.values.shape[0]} rows, and entries for {sorted(counts)} beside them",
                "one entry for every row",
            )

    def __len__(self) -> int:
        return self.values.shape[0]

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, row: int | slice) -> Explanation:
        """The explanation of one row (still with a batch axis, of length one) or of a slice of rows."""
        if not isinstance(row, slice):
            row = index(row)
            if not -len(self) <= row < len(self):
                raise IndexError(f"row {row} of an explanation with {len(self)} rows")
            row = slice(row % len(self), row % len(self) + 1)
        t, p, n = self.target, self.prediction, self.inputs
        return replace(
            self,
            values=self.values[row],
            target=replace(t, index=t.index[row], name=t.name[row], score=t.score[row], pair=t.pair[row]),
            prediction=replace(p, index=p.index[row], name=p.name[row], probability=p.probability[row]),
            inputs=n[row],
            checks=tuple(replace(c, value=c.value[row], passed=c.passed[row]) for c in self.checks),
            std_error=None if self.std_error is None else self.std_error[row],
            outputs=None if self.outputs is None else self.outputs[row],
            extras={key: tensor[row] for key, tensor in self.extras.items()},
        )

    @property
    def title(self) -> str:
        return self.record.title

    def check(self, name: str) -> Check | None:
        """The self-check of that name, or None."""
        return next((c for c in self.checks if c.name == name), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line per failed check and row."""
        return tuple(
            f"{who}: {c.name} {v:.3g}" + ("" if c.limit is None else f" (limit {c.limit:.3g})")
            for c in self.checks
            for who, v, ok in zip(self.inputs.name, c.value, c.passed, strict=True)
            if not ok
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """A table with one line per row and feature: the 13 columns of R's lime in its order, then std_error,
        n_evaluations (model rows of the whole call), seed and method.

        feature is a superpixel's number, a column's name or a word; feature_value the numbers of a superpixel's pixels
        (row × width + column, from 0), a column's value or a word's place; feature_desc a superpixel's columns and rows
        `[0-31], [40-71]`, `age = 53`, or the word. Features that a method of a few left out have no line.

        backend  `pandas` or `polars`, which must be installed
        Raises InputError for maps of single pixels.
        """
        from pellucid.core.frame import frame  # it is made of explanations

        return frame((self,), backend)

    def get_image_and_mask(
        self,
        label: int | str | None = None,
        positive_only: bool = True,
        negative_only: bool = False,
        hide_rest: bool = False,
        num_features: int = 5,
        min_weight: float = 0.0,
    ) -> tuple[Any, Any]:
        """The picture and its superpixels that count most, as the `lime` of Python gives them.

        label          a class number or name: refused if it is not the one explained; None takes what there is
        positive_only  superpixels that count for the label
        negative_only  those that count against it; not both. With neither, both are marked in the picture: what counts
                       for it becomes green, what counts against it red
        hide_rest      everything else is black
        num_features   how many superpixels at most
        min_weight     only those whose weight's magnitude is larger
        Gives the picture, uint8 [height, width, 3], and where the superpixels are, int64 [height, width]: 1, or −1
        where they count against with neither. Raises InputError for what is no picture of regions.
        """
        from pellucid.core.masks import image_and_mask

        return image_and_mask(self, label, positive_only, negative_only, hide_rest, num_features, min_weight)

    def __repr__(self) -> str:
        shape = " × ".join(f"{d} {n}" for d, n in zip(self.dims, self.values.shape, strict=True))
        red = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"Explanation({self.title} of {', '.join(dict.fromkeys(self.target.name))!s}: {shape}{red})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return display(Explanations((self,)))


@dataclass(frozen=True, slots=True)
class Explanations(Sequence[Explanation]):
    """Many explanations, addressed by model, method, target and image.

    The order is models, then methods, then targets; every entry holds the whole batch of images.
    """

    entries: Sequence[Explanation] = ()
    """A tuple; or, for results in a folder, a sequence that reads an entry when it is asked for."""

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, which: Any) -> Any:
        """One entry, or several by a slice."""
        return Explanations(tuple(self.entries[which])) if isinstance(which, slice) else self.entries[which]

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e.record.method for e in self.entries))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e.record.model.name for e in self.entries))

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for e in self.entries for name in e.inputs.name))

    def sel(
        self,
        *,
        method: str | None = None,
        target: str | int | None = None,
        model: str | None = None,
        image: str | int | None = None,
    ) -> Explanations:
        """The entries that match all that is given; images are selected inside the entries.

        Parameters
        ----------
        method: registry name or title. target: class name, class number or the name of a contrast.
        model: name of the model. image: name of the image, or its place in the batch.
        Raises InputError with the nearest names when nothing matches.
        """

        def fits(row: Explanation) -> bool:
            return (target is None or target in (row.target.name[0], row.target.index[0])) and (
                not isinstance(image, str) or image == row.inputs.name[0]
            )

        whole = [
            e
            for e in self.entries
            if method in (None, e.record.method, e.record.title) and model in (None, e.record.model.name)
        ]
        if target is None and image is None:
            hits = whole
        else:
            places = [image] if isinstance(image, int) else None
            rows = (e[i] for e in whole for i in places or range(len(e)) if -len(e) <= i < len(e))
            hits = [row for row in rows if fits(row)]
        if not hits:
            targets = tuple(dict.fromkeys(name for e in self.entries for name in e.target.name))
            known = [*self.methods, *self.models, *self.images, *targets]
            asked = [a for a in (method, target, model, image) if isinstance(a, str)]
            near = nearest(next((a for a in asked if a not in known), ""), known)
            raise InputError(
                f"no explanation matches method={method!r}, target={target!r}, model={model!r}, image={image!r}",
                f"one of methods {self.methods}, targets {targets}, models {self.models}, images {self.images}",
                f"perhaps {near}" if near else "",
            )
        return Explanations(tuple(hits))

    def to_frame(self, backend: str = "pandas") -> Any:
        """One table of all entries; see `Explanation.to_frame`."""
        from pellucid.core.frame import frame

        return frame(self, backend)

    def get_image_and_mask(
        self,
        label: int | str | None = None,
        positive_only: bool = True,
        negative_only: bool = False,
        hide_rest: bool = False,
        num_features: int = 5,
        min_weight: float = 0.0,
    ) -> tuple[Any, Any]:
        """The same of the first entry, or of the one that explains the label; see `core.masks`."""
        one = self.entries[0] if label is None and len(self) else self.sel(target=label)[0]
        return one.get_image_and_mask(label, positive_only, negative_only, hide_rest, num_features, min_weight)

    def __add__(self, other: Explanations) -> Explanations:
        return Explanations((*self.entries, *other.entries))

    def __repr__(self) -> str:
        if not isinstance(self.entries, tuple):
            return f"Explanations({len(self)} entries, {self.entries!r})"
        return "Explanations(\n" + "".join(f"  {e!r},\n" for e in self.entries) + ")"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return display(self)


def display(them: Explanations) -> dict[str, object]:
    """What a notebook shows. `pellucid.views` puts pictures here when it is imported; alone it is text."""
    return {"text/plain": repr(them)} if _display is None else _display(them)


_display: Callable[[Explanations], dict[str, object]] | None = None


def show_with(renderer: Callable[[Explanations], dict[str, object]]) -> None:
    """Let `renderer(explanations) -> mime bundle` draw explanations in notebooks."""
    global _display
    _display = renderer


def cat(parts: Sequence[Explanation]) -> Explanation:
    """Join explanations of the same method and target over further images of the same shape into one batch."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def chained(get: Callable[[Explanation], Sequence[Any]]) -> tuple[Any, ...]:
        return tuple(item for part in parts for item in get(part))

    pictures = [p.inputs.picture for p in parts]
    return replace(
        first,
        values=torch.cat([p.values for p in parts]),
        target=replace(
            first.target,
            index=chained(lambda p: p.target.index),
            name=chained(lambda p: p.target.name),
            score=chained(lambda p: p.target.score),
            pair=chained(lambda p: p.target.pair),
        ),
        prediction=replace(
            first.prediction,
            index=chained(lambda p: p.prediction.index),
            name=chained(lambda p: p.prediction.name),
            probability=chained(lambda p: p.prediction.probability),
        ),
        inputs=replace(
            first.inputs,
            name=chained(lambda p: p.inputs.name),
            notes=chained(lambda p: p.inputs.notes),
            tokens=chained(lambda p: p.inputs.tokens),
            cells=chained(lambda p: p.inputs.cells),
            picture=None if any(p is None for p in pictures) else torch.cat([p for p in pictures if p is not None]),
        ),
        record=replace(
            first.record,
            passes=sum((p.record.passes for p in parts), Passes()),
            seconds=sum(p.record.seconds for p in parts),
        ),
        checks=tuple(
            replace(
                c,
                value=chained(lambda p, i=i: p.checks[i].value),
                passed=chained(lambda p, i=i: p.checks[i].passed),
            )
            for i, c in enumerate(first.checks)
        ),
        std_error=None if first.std_error is None else torch.cat([p.std_error for p in parts]),  # pyright: ignore
        outputs=None if first.outputs is None else torch.cat([p.outputs for p in parts]),  # pyright: ignore
        extras={k: _ragged([p.extras[k] for p in parts]) for k in first.extras},
    )


def _ragged(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the first axis, and others filled up with zeros: pictures differ in their number of regions."""
    most = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    room = [[n for m, k in zip(most, t.shape[1:], strict=True) for n in (m - k, 0)][::-1] for t in tensors]
    return torch.cat([torch.nn.functional.pad(t, pad) if any(pad) else t for t, pad in zip(tensors, room, strict=True)])


def listed(what: Explanation | Iterable[Explanation]) -> list[Explanation]:
    """What `explain` gave, one or many, as a list. Raises InputError for anything else."""
    if isinstance(what, Explanation):
        return [what]
    given: object = what
    found = list(what) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else None
    if found is None or not all(isinstance(one, Explanation) for one in cast("list[object]", found)):
        holds = isinstance(getattr(given, "explanations", None), Explanations)
        raise InputError(
            f"a {type(given).__name__} in the place of explanations",
            "explanations, as `explain` gives them",
            "it has them: .explanations" if holds else "",
        )
    return found
