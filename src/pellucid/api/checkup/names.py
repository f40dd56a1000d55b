"""Examinations of what the outputs are called, of the answer itself, and of tables and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from pellucid import zoo
from pellucid.api.checkup.patient import NotExamined, Patient
from pellucid.core.diagnosis import Finding
from pellucid.core.target import ranked
from pellucid.preprocess import Table, Tokens

BACKGROUND = {"background", "__background__", "_background_", "n/a", "none", "unknown", "dummy"}
"""Names of a class that is none, as some models have in front."""

UNDECIDED = 0.95
"""Entropy of the answer, as a share of the largest there is, above which the model says nothing."""


def labels(patient: Patient) -> Iterator[Finding]:
    """Do the class names fit the outputs?"""
    names = patient.names
    outputs = patient.raw(patient.rows[:1]).shape[1]
    if names is None:
        if outputs == 1:
            return  # a value, or the score of the only class that there is
        yield Finding(
            name="no_labels",
            severity="note",
            says="the classes have no names: targets are numbers, and so are figures",
            evidence={"outputs": outputs},
            fix="wrap(model, ..., labels=[...])",
        )
        return
    if len(names) != outputs:
        off = outputs - len(names)
        hint = "; one more output than names: often a background class in front" if off == 1 else ""
        yield Finding(
            name="label_count",
            severity="error",
            says=f"there are not as many names as outputs{hint}",
            evidence={"names": len(names), "outputs": outputs},
            fix='labels=["background", *labels]' if off == 1 else "one name for every output, in their order",
        )
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice or "" in counts:
        yield Finding(
            name="label_duplicates",
            severity="warning",
            says="names belong to several outputs, or are empty; such targets must be given by number",
            evidence={"names used twice": len(twice), "empty": counts[""], "first": twice[0] if twice else ""},
            fix="tell them apart: 'crane (bird)', 'crane (machine)'",
        )
    if names and names[0].strip().lower() in BACKGROUND:
        yield Finding(
            name="label_background",
            severity="note",
            says=f"the first class is {names[0]!r}: numbers are one higher than in lists without it",
            evidence={"outputs": outputs},
            fix="take class numbers from this model's own list",
        )
    yield from _shifted(patient, names)


def _shifted(patient: Patient, names: Sequence[str]) -> Iterator[Finding]:
    for whose, known in _lists(patient):
        agree = {shift: _agreement(names, known, shift) for shift in (-1, 0, 1)}
        best = max(agree, key=lambda shift: agree[shift])
        if best and agree[best] > 0.5 and agree[best] > 2 * agree[0]:
            yield Finding(
                name="label_shift",
                severity="error",
                says=f"the names are those of {whose}, moved by one place",
                evidence={f"share that agrees, moved by {shift:+d}": share for shift, share in agree.items()},
                fix="add or remove the background class in front of the names",
            )
            return


def _lists(patient: Patient) -> Iterator[tuple[str, Sequence[str]]]:
    """Lists of classes that the outputs may be."""
    held = getattr(getattr(patient.handle, "module", None), "config", None)
    own = getattr(held, "id2label", None)
    if isinstance(own, dict) and not all(str(name).startswith("LABEL_") for name in own.values()):
        yield "the model's own configuration", [str(own[key]) for key in sorted(own)]
    yield "ImageNet-1k", zoo.imagenet1k()


def _agreement(names: Sequence[str], known: Sequence[str], shift: int) -> float:
    """The share of names that are those of a list, `shift` places further on."""
    pairs = [(name, known[i + shift]) for i, name in enumerate(names) if 0 <= i + shift < len(known)]
    return sum(_plain(a) == _plain(b) for a, b in pairs) / max(len(names), 1)


def _plain(name: str) -> str:
    return name.partition(",")[0].strip().lower().replace("_", " ")


def answer(patient: Patient) -> Iterator[Finding]:
    """What does the model say of the input? People can see whether that is right."""
    x = patient.real[:1]
    found = patient.probabilities(x)
    if found is None or found.shape[1] < 2:
        raise NotExamined
    names = patient.names
    best = ranked(found, min(5, found.shape[1]))[0].tolist()
    told = {names[i] if names and i < len(names) else f"class {i}": float(found[0, i]) for i in best}
    share = float(-(found[0] * found[0].clamp_min(1e-30).log()).sum() / torch.tensor(float(found.shape[1])).log())
    undecided = share > UNDECIDED and patient.emits()[0] != "sigmoid_logits"
    yield Finding(
        name="undecided" if undecided else "answer",
        severity="warning" if undecided else "note",
        says="the model says next to nothing: all classes are about as likely"
        if undecided
        else f"the model takes it for {next(iter(told))}",
        evidence={"best classes": told, "entropy, of the largest there is": share},
        fix="check the preprocessing and that the weights were loaded" if undecided else "is that right? If not, stop",
    )


def table(patient: Patient) -> Iterator[Finding]:
    """Are the rows like those of the table that the model knows?"""
    front = patient.handle.preprocess
    if not isinstance(front, Table):
        raise NotExamined
    constant = [c.name for c, v in zip(front.columns, front.training.T, strict=True) if len(v) > 1 and _constant(v)]
    if constant:
        yield Finding(
            name="constant_columns",
            severity="note",
            says="columns never vary in the table: nothing that varies them can say what they count",
            evidence={"columns": len(constant), "first": constant[0]},
            fix="a table of more rows, or without these columns",
        )
    x = patient.real.double().cpu()
    low = torch.nan_to_num(front.training, torch.inf).amin(0)
    high = torch.nan_to_num(front.training, -torch.inf).amax(0)
    outside = ((x < low) | (x > high)).any(0) & (high > low)
    far = [c.name for c, out in zip(front.columns, outside.tolist(), strict=True) if out and not c.coded]
    if far:
        i = [c.name for c in front.columns].index(far[0])
        at = float(x[:, i][(x[:, i] < low[i]) | (x[:, i] > high[i])][0])
        yield Finding(
            name="outside_the_table",
            severity="warning",
            says="values lie outside the range of the table: the model extrapolates",
            evidence={"columns": len(far), far[0]: at, "lowest": float(low[i]), "highest": float(high[i])},
            fix="check units and coding of these columns",
        )


def _constant(values: torch.Tensor) -> bool:
    return bool((values == values[0]).all())


def texts(patient: Patient) -> Iterator[Finding]:
    """Does the tokenizer know the words, and does all of a text fit?"""
    front = patient.handle.preprocess
    if not isinstance(front, Tokens):
        raise NotExamined
    ids = patient.real
    unknown = getattr(front.tokenizer, "unk_token_id", None)
    count = 0 if unknown is None else int((ids == unknown).sum())
    total = int((ids != front.pad).sum()) if front.pad is not None else ids.numel()
    if count > 0.1 * total:
        yield Finding(
            name="unknown_tokens",
            severity="warning",
            says="many tokens are unknown to the tokenizer: the model cannot read these words",
            evidence={"unknown tokens": count, "of": total},
            fix="check that tokenizer and model belong together, and the language and case of the text",
        )
    notes = [note for one in (patient.inputs.notes if patient.inputs else ()) for note in one if note.startswith("cut")]
    if notes:
        yield Finding(
            name="cut",
            severity="warning",
            says="texts are longer than the model reads",
            evidence={"texts": len(notes), "first": notes[0]},
            fix="explain shorter pieces",
        )
    module = getattr(patient.handle, "module", None)
    tables = [m.num_embeddings for m in module.modules() if isinstance(m, torch.nn.Embedding)] if module else []
    words = len(front.tokenizer) if hasattr(front.tokenizer, "__len__") else 0
    if tables and words > max(tables):
        yield Finding(
            name="vocabulary",
            severity="error",
            says="the tokenizer has more tokens than the model has vectors",
            evidence={"tokens": words, "vectors": max(tables)},
            fix="load model and tokenizer of the same name",
        )
