"""Models that can only be asked for scores: a function, somebody's `predict_proba`, another framework."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from hashlib import blake2b
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from pellucid.adapters.processes import Workers, parts
from pellucid.core.ask import PLAIN, SCORES, Answer, Can, Lane, Pixels, Rows
from pellucid.core.errors import NonFinite, ParameterError, SiteError, UnsupportedModel
from pellucid.core.explanation import ModelCard
from pellucid.core.site import Attention, Site, Stream
from pellucid.core.target import CLASSES, EMITS, Labels

AT_ONCE = 64 * 2**20
"""Bytes of rows that are given to a function at once."""
TIMED = 64
"""Rows with which a function is timed."""
MOST = 8192
"""Rows that are given to a function at once, at most."""


class Decodes(Pixels, Protocol):
    """A front whose rows are made back into what a function takes: frames, texts, arrays."""

    def decoded(self, rows: Tensor) -> Any:
        """Rows [count, ...] as somebody's function takes them."""
        ...


class FunctionModel:
    """Anything that scores rows. Made by `pellucid.wrap`.

    fn      what `front.decoded(rows)` gives -> scores, [rows, outputs] or [rows], of numpy, torch, or lists
    front   how somebody's inputs become rows, and rows what the function takes
    labels  class names, in the order of the outputs
    emits   what the scores are; found out by looking at the first rows when not given
    rows    rows at once; `auto` as many as take 64 MB, at most 8,192
    source  what was wrapped, for the name and the fingerprint; the function itself by default
    processes  in which the function runs at once, for functions that hold Python's lock; 1 for this one. The function
               must be one that can be pickled. They end with `close()`, or with the handle
    """

    can = frozenset({Can.SCORE})
    evaluate: str = "plain"
    """There is one way to run it."""

    def __init__(
        self,
        fn: Callable[[Any], Any],
        front: Decodes,
        labels: Sequence[str] | None = None,
        *,
        name: str | None = None,
        emits: str | None = None,
        rows: int | Literal["auto"] = "auto",
        framework: str = "function",
        source: object = None,
        processes: int = 1,
    ) -> None:
        if emits is not None and emits not in EMITS:
            raise ParameterError(f"emits={emits!r}", f"one of {', '.join(EMITS)}")
        if rows != "auto" and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            raise ParameterError(f"rows={rows!r}", "a whole number of rows, 1 or more, or 'auto'")
        self.fn, self.preprocess, self.labels = fn, front, Labels(None if labels is None else tuple(labels))
        self.source = fn if source is None else source
        self.name = name or getattr(self.source, "__name__", type(self.source).__name__)
        self.emits, self.most_rows, self.framework = emits, rows, framework
        self.dtype: torch.dtype = getattr(front, "dtype", torch.float32)
        self.device = torch.device("cpu")
        self._outputs: tuple[int, str] | None = None
        self._local = threading.local()
        workers = None if processes == 1 and not isinstance(processes, bool) else Workers(fn, processes)
        self.workers: Workers | None = workers

    def close(self) -> None:
        """End the processes, if there are any; they start again when the model is asked again."""
        if self.workers is not None:
            self.workers.close()

    def __repr__(self) -> str:
        known = "no class names" if self.labels.names is None else f"{len(self.labels.names)} class names"
        return f"FunctionModel({self.name}, {known})"

    def but(self, *, emits: str | None, labels: Sequence[str] | None = None) -> FunctionModel:
        """The same model with another word on what its scores are, and other class names if given."""
        other = copy(self)
        other.emits, other._outputs = emits, None
        other.labels = self.labels if labels is None else Labels(tuple(labels))
        return other

    def forget(self) -> None:
        """Look again at what it gives."""
        self._outputs = None

    def _emitted(self, scores: Tensor) -> str:
        known = self.emits is not None and self.emits != CLASSES
        return self.emits if known and self.emits else emitted(scores, self.emits == CLASSES)

    def given(self, inputs: Any) -> Any:
        """What a user passes, as photos, tables, texts or rows [batch, ...]; here as it is."""
        return inputs

    def scores(self, rows: Tensor) -> Tensor:
        """Scores [rows, outputs], float64. Raises UnsupportedModel for answers that are no matrix of numbers."""
        if self.workers is None or len(rows) == 1:
            return self._table(self.fn(self.preprocess.decoded(rows)), len(rows))
        each = parts(len(rows), self.workers.count)
        answers = self.workers([self.preprocess.decoded(rows[some]) for some in each])
        return torch.cat([self._table(raw, some.stop - some.start) for raw, some in zip(answers, each, strict=True)])

    def _table(self, raw: Any, count: int) -> Tensor:
        found = raw.detach().cpu() if isinstance(raw, Tensor) else torch.as_tensor(_numbers(raw, self.name))
        found = found[:, None] if found.ndim == 1 else found
        if found.ndim != 2 or len(found) != count:
            raise UnsupportedModel(
                f"{self.name} gave scores of shape {tuple(found.shape)} for {count} rows",
                "one row of scores for every row: [rows, outputs], or [rows]",
                "of several answers choose one: wrap(model, table, outputs=lambda answers: answers[0])",
            )
        return found.double()

    @property
    def evaluator(self) -> str:
        """How it runs, for the record."""
        return "plain: a function" + ("" if self.workers is None else f" in {self.workers.count} processes")

    def emitted(self, rows: Tensor) -> str:
        """What its scores are, as told or by these rows."""
        return self._emitted(self.scores(rows[:8]))

    def fingerprint(self) -> str:
        """Hash of what was wrapped, as far as it can be written down; else of its name."""
        if not getattr(self._local, "still", 0):
            return self._hashed()
        if self._local.hashed is None:
            self._local.hashed = self._hashed()
        return self._local.hashed

    @contextmanager
    def still(self) -> Generator[None]:
        """For the length of one call, in this thread: what was wrapped stays as it is, and is hashed once.

        Not longer: an estimator that is fitted again is another one, and nothing but its hash would tell.
        """
        depth = getattr(self._local, "still", 0)
        if not depth:
            self._local.hashed = None
        self._local.still = depth + 1
        try:
            yield
        finally:
            self._local.still = depth

    def _hashed(self) -> str:
        import pickle  # noqa: TID251 - written to be hashed, never read

        try:
            written = pickle.dumps(self.source)
        except Exception:  # noqa: BLE001 - lambdas, closures, handles: whatever a stranger's __reduce__ raises
            written = repr((self.name, type(self.source).__qualname__)).encode()
        return blake2b(written, digest_size=8).hexdigest()

    @contextmanager
    def ready(self, x: Tensor) -> Generator[FunctionSession]:
        """A session for rows like x."""
        first = 0
        if self._outputs is None:
            looked = self.scores(x[:8])
            self._outputs, first = (looked.shape[1], self._emitted(looked)), len(looked)
            if self.labels.names is not None and len(self.labels.names) != looked.shape[1]:
                raise ParameterError(
                    f"{len(self.labels.names)} class names for a model with {looked.shape[1]} outputs",
                    "one name per output",
                )
        yield FunctionSession(self, x, *self._outputs, first)


class FunctionSession:
    """Answers for rows of one shape."""

    def __init__(self, model: FunctionModel, x: Tensor, outputs: int, emits: str, verification: int) -> None:
        self.model, self.x, self.outputs, self.emits = model, x, outputs, emits
        self.labels, self.verification, self.time = model.labels, verification, 0.0
        self._card: ModelCard | None = None

    @property
    def card(self) -> ModelCard:
        """Written when it is first asked for: many questions leave no record, and hashing a model takes time."""
        if self._card is None:
            m = self.model
            self._card = ModelCard(
                name=m.name, fingerprint=m.fingerprint(), evaluator=m.evaluator, framework=m.framework
            )
        return self._card

    @property
    def decisions(self) -> tuple[str, ...]:
        probable = self.emits == "probabilities"
        return ("the outputs are probabilities: their logarithm stands for the logit",) if probable else ()

    @property
    def layers(self) -> tuple[Site, ...]:
        return ()

    @property
    def every_layer(self) -> tuple[Site, ...]:
        return ()

    @property
    def attentions(self) -> tuple[Attention, ...]:
        return ()

    @property
    def stream(self) -> Stream:
        raise SiteError(f"tokens of {self.model.name}", "a torch model: this one can only be asked for scores")

    @property
    def weighted(self) -> tuple[str, ...]:
        return ()

    @property
    def doubles(self) -> bool:
        return False

    def measure(self) -> None:
        """Time one row among others, for plans: a call may cost as much as many rows."""
        many = min(TIMED, self.rows(SCORES, 0))
        rows = self.x[:1].expand(many, *self.x.shape[1:])
        start = time.perf_counter()
        self.model.scores(rows)
        self.time = (time.perf_counter() - start) / many
        self.verification += many

    def enter(self, x: Tensor) -> Tensor:
        return x

    def about(self, site: Site) -> tuple[str, ...]:
        return ()

    def site(self, site: Site) -> Site:
        raise SiteError(f"layer {site} of {self.model.name}", "a torch model: this one can only be asked for scores")

    def site_shape(self, site: Site) -> tuple[int, ...]:
        return self.site(site) and ()

    def rows(self, lane: Lane, graded: int, many: int = 0) -> int:
        most = self.model.most_rows
        if isinstance(most, int):
            return most * (1 if self.model.workers is None else self.model.workers.count)
        return max(1, min(MOST, AT_ONCE // max(1, self.bytes(lane))))

    def bytes(self, lane: Lane) -> int:
        return self.x[0].numel() * self.x.element_size()

    def seconds(self, lane: Lane, graded: int, tail: bool = False) -> float:
        return self.time

    def whole(self, rows: Rows, lane: Lane) -> int:
        return rows.count

    def replaying(self, lanes: Sequence[Lane]) -> AbstractContextManager[bool]:
        return nullcontext(False)

    def expect(self, lane: Lane, rows: Rows, many: int) -> None:
        """There is one way to run it."""

    def run(self, rows: Rows, lane: Lane) -> Answer:
        if lane.backward or lane.sites or lane.where != PLAIN:
            raise UnsupportedModel(f"{self.model.name} can only be asked for scores", "a torch model")
        with torch.no_grad():
            outputs = self.model.scores(rows.build())
            if outputs.shape[1] != self.outputs:
                self.model.forget()
                raise UnsupportedModel(
                    f"{self.model.name} gives {outputs.shape[1]} scores, and gave {self.outputs} before",
                    "a model that stays what it is",
                    "where it was fitted again, to other classes: wrap it again, or ask once more",
                )
            if not bool(outputs.isfinite().all()):
                raise NonFinite(f"{self.model.name} gives NaN or infinity", "finite scores")
            return Answer(outputs, rows.objective(outputs, {}))


def emitted(scores: Tensor, classes: bool = False) -> str:
    """What scores are, by what they do: rows of several that sum to one are probabilities, whatever made them.

    classes: they are known to belong to classes; a single one between 0 and 1 is then a probability, else a logit.
    """
    one = (scores.sum(1) - 1).abs().max() < 1e-3
    if scores.shape[1] > 1:
        return "probabilities" if bool(one) and float(scores.min()) >= 0 else "logits"
    if classes:
        return "probabilities" if bool(((scores >= 0) & (scores <= 1)).all()) else "sigmoid_logits"
    return "values"


def _numbers(raw: Any, name: str) -> Any:
    import numpy as np

    try:
        found = np.asarray(raw)
        numbers = found if found.dtype.kind in "fiub" else found.astype(np.float64)
        return numbers if numbers.flags.writeable else numbers.copy()  # torch warns of what may not be written
    except (TypeError, ValueError) as error:
        raise UnsupportedModel(f"{name} gave a {type(raw).__name__}, no table of numbers: {error}", "scores") from error
