"""The doctor: is this model what its owner thinks it is, before anything about it is explained?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from pellucid.adapters import Handle
from pellucid.adapters.torch.watch import Randomness
from pellucid.api.checkup import behaviour, module, names, pixels
from pellucid.api.checkup.patient import NotExamined, Patient, admitted
from pellucid.core.diagnosis import Diagnosis, Finding, ordered
from pellucid.core.errors import PellucidError

Examination = Callable[[Patient], Iterator[Finding]]

EXAMINATIONS: dict[str, Examination] = {
    "mode": module.mode,
    "wrappers": module.wrappers,
    "precision": module.precision,
    "frozen": module.frozen,
    "copies": module.copies,
    "weights": module.weights,
    "runs": behaviour.runs,
    "head": behaviour.head,
    "randomness": behaviour.randomness,
    "rows": behaviour.rows_apart,
    "input": behaviour.reads_its_input,
    "activations": module.activations,
    "unused": module.unused,
    "layers": behaviour.layers,
    "labels": names.labels,
    "config": pixels.config,
    "channels": pixels.channels,
    "answer": names.answer,
    "table": names.table,
    "texts": names.texts,
}
"""Every examination by name, in the order in which they are made."""


def doctor(model: Handle | nn.Module | str, inputs: Any = None) -> Diagnosis:
    """Is the model fit to be explained? Findings with their evidence and the fix; the model is not changed.

    Looks for train mode, a softmax at the end, preprocessing that disagrees with the model's own configuration, other
    orders and ranges of the channels that fit the photo better, activations in place and functional ones, frozen,
    wrapped, compiled, scripted or quantised models, the layer that `auto` takes, class names that do not fit, answers
    that are random, not finite, or depend on the other rows, weights that are not used or are there twice.

    model   as in `explain`
    inputs  a photo, text, table or rows, as in `explain`, best one whose answer you know; without it a grey picture
            of the model's own size stands in, where there is one, and what needs a real input is not examined
    Returns a Diagnosis: `print` it. Raises InputError for what is no model, and for inputs that cannot be read.
    """
    before = Randomness.now()
    try:
        return _examined(admitted(model, inputs))
    finally:
        if before.moved():
            before.restore()


def _examined(patient: Patient) -> Diagnosis:
    findings: list[Finding] = []
    looked: list[str] = []
    skipped: dict[str, str] = {}
    for name, examination in EXAMINATIONS.items():
        try:
            found = list(examination(patient))
        except NotExamined as why:
            if str(why):
                skipped[name] = str(why)
            continue
        except PellucidError as error:
            skipped[name] = error.got
            continue
        looked.append(name)
        findings += found
    return Diagnosis(model=patient.handle.name, findings=ordered(findings), looked=tuple(looked), skipped=skipped)


__all__ = ["EXAMINATIONS", "doctor"]
