"""Explanations made by hand, and a comparison of everything in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pellucid.core.explanation import Check, Chosen, Explanation, Inputs, Kind, ModelCard, Passes, Prediction, Record


def made(
    batch: int = 2,
    shape: tuple[int, ...] = (3, 4, 5),
    *,
    method: str = "gradient",
    model: str = "net",
    first: int = 0,
    dtype: torch.dtype = torch.float32,
    picture: bool = True,
    classes: tuple[str, ...] = ("cat", "dog"),
    **more: Any,
) -> Explanation:
    """An explanation whose numbers and names tell rows apart; rows are numbered from `first`."""
    rows = range(first, first + batch)
    count = batch
    for n in shape:
        count *= n
    numbers = torch.arange(count, dtype=torch.float64).view(batch, *shape) + 1000 * first
    usual: dict[str, Any] = {
        "values": numbers.to(dtype),
        "dims": ("batch", *("channel", "height", "width")[-len(shape) :]) if shape else ("batch",),
        "kind": Kind.SENSITIVITY,
        "target": Chosen(
            index=tuple(i % len(classes) for i in rows),
            name=tuple(classes[i % len(classes)] for i in rows),
            score=tuple(0.1 * i for i in rows),
            output="logit",
            asked="Top(k=1)",
        ),
        "prediction": Prediction(
            index=tuple((i, i + 1) for i in rows),
            name=tuple((f"class {i}", f"class {i + 1}") for i in rows),
            probability=tuple((0.9, 0.1 / (i + 1)) for i in rows),
        ),
        "inputs": Inputs(
            name=tuple(f"photo {i}" for i in rows),
            picture=torch.full((batch, 4, 5, 3), first, dtype=torch.uint8) if picture else None,
            shape=(3, 4, 5),
            notes=tuple((f"note {i}",) for i in rows),
        ),
        "record": Record(
            method=method,
            title=method.title(),
            params={"at": None, "steps": 3, "window": [2, 3], "inner": {"method": "x"}},
            cite=("a", "b"),
            model=ModelCard(name=model, fingerprint="f", evaluator="plain"),
            passes=Passes(rounds=1, forward=batch),
            seconds=0.5,
            versions={"torch": "2"},
            decisions=("one", "two"),
        ),
        "checks": (
            Check(name="gap", value=tuple(0.1 * i for i in rows), passed=tuple(i != 1 for i in rows), limit=0.05),
        ),
        "outputs": torch.arange(first, first + batch, dtype=torch.float32)[:, None] + torch.tensor([[0.0, 0.5]]),
        "look": "grayscale",
        "extras": {"steps": torch.arange(first, first + batch)},
    }
    return Explanation(**(usual | more))


def tensors(e: Explanation) -> dict[str, Tensor | None]:
    return {"values": e.values, "picture": e.inputs.picture, "std_error": e.std_error, "outputs": e.outputs, **e.extras}


def words(e: Explanation) -> dict[str, Any]:
    """Everything but the numbers, with NaN written out so that it equals itself."""
    inputs = {"name": e.inputs.name, "shape": e.inputs.shape, "notes": e.inputs.notes}
    parts = {"target": asdict(e.target), "prediction": asdict(e.prediction), "record": asdict(e.record)}
    return {
        "dims": e.dims,
        "kind": e.kind,
        "look": e.look,
        "inputs": inputs,
        "checks": repr([asdict(c) for c in e.checks]),
        **parts,
    }


def same(a: Explanation, b: Explanation) -> bool:
    """Whether all is equal, to the last bit."""
    one, other = tensors(a), tensors(b)
    return words(a) == words(b) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.contiguous().flatten().view(torch.uint8), b.contiguous().flatten().view(torch.uint8))
