"""The model under examination, and the few things that several examinations look at."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters import FunctionModel, Handle, TorchModel
from pellucid.adapters.torch.outputs import scores as scores_of
from pellucid.adapters.torch.session import TorchSession
from pellucid.adapters.torch.watch import Randomness
from pellucid.api.models import as_model
from pellucid.api.waves import example_of, waves_of
from pellucid.core.errors import InputError, PellucidError
from pellucid.core.explanation import Inputs
from pellucid.core.target import Labels, converted

SEED = 7


class NotExamined(Exception):
    """An examination that says nothing about this model; why, or nothing where it plainly does not apply."""


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """What is examined.

    handle  the model, without its class names, so that wrong ones do not end the examination
    names   these names
    x       rows to look with, or None
    inputs  what they are; None where a grey picture stands in
    given   what the user passed as inputs
    why     why there are no rows
    """

    handle: Handle
    names: tuple[str, ...] | None
    x: Tensor | None
    inputs: Inputs | None
    given: Any = None
    why: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        """The torch module itself. Raises NotExamined where there is none."""
        if isinstance(self.handle, FunctionModel):
            raise NotExamined
        return self.handle.module

    @property
    def rows(self) -> Tensor:
        """Rows to look with. Raises NotExamined where there are none."""
        if self.x is None:
            raise NotExamined(self.why)
        return self.x

    @property
    def real(self) -> Tensor:
        """Rows that the user gave."""
        if self.inputs is None:
            raise NotExamined("needs an input whose answer is known")
        return self.rows

    @property
    def pictures(self) -> bool:
        return self.x is not None and self.x.ndim == 4 and self.x.is_floating_point()

    @contextmanager
    def session(self) -> Generator[TorchSession]:
        """The model ready for the rows. Raises NotExamined where it does not run; `runs` says why."""
        if isinstance(self.handle, FunctionModel):
            raise NotExamined
        if "fails" in self.seen:
            raise NotExamined("the model does not run")
        with self.handle.ready(self.rows) as session:
            yield session

    def raw(self, x: Tensor) -> Tensor:
        """The model's outputs in eval mode, as it gives them: float64 [rows, outputs]."""
        if isinstance(self.handle, FunctionModel):
            return self.handle.scores(x)
        with self.session() as session:
            before = Randomness.now()
            try:
                with torch.no_grad():
                    return scores_of(session.ready.twin(x.clone()), self.handle.outputs).double()
            finally:
                before.restore()

    def probabilities(self, x: Tensor) -> Tensor | None:
        """Of the classes, [rows, outputs]; None where the outputs are plain values."""
        emits, headed = self.emits()
        if emits == "values":
            return None
        raw = self.raw(x)
        return raw if headed else converted(raw, "probability", emits)

    def emits(self) -> tuple[str, bool]:
        """What the outputs are once a trailing softmax is off, and whether there is one."""
        if isinstance(self.handle, TorchModel):
            with self.session() as session:
                return session.emits, session.ready.facts.head is not None
        with self.handle.ready(self.rows) as session:
            return session.emits, False


def admitted(model: Any, inputs: Any) -> Patient:
    """A patient, from what users pass. Raises InputError for what is no model, and for inputs that cannot be read."""
    given = as_model(model)
    names = given.labels.names
    handle = given.but(emits=given.emits)
    handle.labels = Labels(None)
    if inputs is not None:
        wave = next(iter(waves_of(handle, inputs, [])))
        return Patient(handle, names, wave.x, wave.inputs, inputs)
    try:
        x = example_of(handle) if not isinstance(handle, FunctionModel) else None
        return Patient(handle, names, x, None, why="needs an input")
    except InputError as error:
        return Patient(handle, names, None, None, why=f"needs an input: {error.got}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    text = error.got if isinstance(error, PellucidError) else str(error)
    return f"{type(error).__name__}: {text}".partition("\n")[0][:200]
