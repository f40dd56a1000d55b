"""What is handed around is a value: frozen, and never compared tensor by tensor as if that had one answer."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

from pellucid import registry

PARTS = ("core", "engine", "metrics")
FILLED = {"Answer", "Rows", "Taker", "Group", "Share", "Result", "Outcome"}
"""Written to while passes run, by the engine and the adapters alone."""
NAMED = {
    *("Attribution", "RowCheck", "About", "AboutMetric", "Map", "Curve", "Reading", "Read", "Plan", "Player"),
    *("Chosen", "Prediction", "Inputs", "Passes", "ModelCard", "Record", "Check", "Explanation", "Preset"),
    *("Judged", "Measurement", "Test", "Verdict", "Sanity", "Cell", "Column", "Line", "Advice", "Scorecard"),
    *("Finding", "Diagnosis", "Tolerances", "Difference", "Differences"),
}
"""With so many fields that they are given by name alone: no call breaks when one is added."""


def found() -> dict[str, Any]:
    all_of_them: dict[str, Any] = {}
    for part in PARTS:
        package = importlib.import_module(f"pellucid.{part}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            here = vars(importlib.import_module(module.name)).values()
            mine = [c for c in here if isinstance(c, type) and is_dataclass(c) and c.__module__ == module.name]
            all_of_them |= {f"{module.name.removeprefix('pellucid.')}.{c.__name__}": c for c in mine}
    return all_of_them


CLASSES = found()


@pytest.mark.parametrize("name", CLASSES)
def test_values_are_frozen(name: str) -> None:
    cls = CLASSES[name]
    blank = object.__new__(cls)
    if cls.__name__ in FILLED:
        setattr(blank, fields(cls)[0].name, None)
        return
    with pytest.raises(FrozenInstanceError):
        setattr(blank, fields(cls)[0].name, None)


@pytest.mark.parametrize("name", CLASSES)
def test_tensors_are_not_compared_as_if_they_were_one_number(name: str) -> None:
    """A comparison that dataclasses write would ask a tensor for its truth, which it does not have."""
    cls = CLASSES[name]
    if any("Tensor" in str(f.type) and "Callable" not in str(f.type) for f in fields(cls)):
        assert cls.__eq__ is object.__eq__ or cls.__eq__.__code__.co_filename != "<string>"


@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if cls.__name__ in NAMED])
def test_fields_are_given_by_name(name: str) -> None:
    assert all(f.kw_only for f in fields(CLASSES[name]))


@pytest.mark.parametrize("name", [*registry.names(), *registry.metrics()])
def test_parameters_are_given_by_name(name: str) -> None:
    for f in fields(registry.find_any(name)):
        assert f.kw_only or f.name == "method", "a method in a method is the only thing that may stand there bare"
