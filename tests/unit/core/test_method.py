"""What the decorator makes of a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from enum import Enum
from typing import Any

import pytest
import torch

from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.errors import ParameterError, PellucidError, nearest
from pellucid.core.explanation import Kind
from pellucid.core.method import CATALOGUE, at_least, is_method, jsonable, method, param, snake
from pellucid.core.site import Site
from pellucid.methods.combinators import Smooth
from pellucid.methods.gradient import Gradient


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Methods that a test defines are forgotten."""
    before = dict(CATALOGUE)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("SmoothGrad", "smooth_grad"),
        ("GradCAM", "grad_cam"),
        ("GradCAMPlusPlus", "grad_cam_plus_plus"),
        ("InputXGradient", "input_x_gradient"),
        ("LIME", "lime"),
        ("KernelSHAP", "kernel_shap"),
        ("HiResCAM", "hi_res_cam"),
    ],
)
def test_class_names_become_registry_names(name: str, wanted: str) -> None:
    assert snake(name) == wanted


def test_a_class_becomes_a_frozen_dataclass_with_facts_about_itself() -> None:
    @method(kind=Kind.SPREAD, cite="someone2026", needs=(Can.SITES,), keeps={"dummy"})
    class MyOwnThing:
        """What it does.

        And how.
        """

        steps: int = at_least(1, default=4)

        async def explain(self, q: Query) -> Attribution:
            return attribution(q.x[None])

    about = MyOwnThing.about  # pyright: ignore
    assert (about.name, about.title, about.cite, about.summary) == (
        "my_own_thing",
        "My Own Thing",
        ("someone2026",),
        "What it does.",
    )
    assert about.needs == {Can.SCORE, Can.SITES}
    assert CATALOGUE["my_own_thing"] is MyOwnThing
    assert MyOwnThing() == MyOwnThing(steps=4)  # pyright: ignore
    with pytest.raises(FrozenInstanceError):
        MyOwnThing().steps = 5
    with pytest.raises(ParameterError, match=r"my_own_thing\.steps = 0"):
        MyOwnThing(steps=0)  # pyright: ignore


def test_bounds_say_themselves() -> None:
    @method(kind=Kind.SPREAD)
    class Bounded:
        steps: int = at_least(1, default=4)
        level: float = at_least(0.0, default=0.5, above=True, most=1.0)
        top: int | None = at_least(2, default=None)

    good: Any = Bounded
    assert (good(steps=1).steps, good(level=1.0).level, good(top=None).top, good(top=2).top) == (1, 1.0, None, 2)
    for wrong, says in (
        ({"steps": 0}, "at least 1"),
        ({"steps": 1.5}, "a whole number"),
        ({"steps": True}, "a number"),
        ({"steps": None}, "a number"),
        ({"level": 0.0}, "more than 0.0, at most 1.0"),
        ({"level": 1.5}, "more than 0.0, at most 1.0"),
        ({"level": float("nan")}, "more than 0.0, at most 1.0"),
        ({"steps": float("inf")}, "a whole number"),
        ({"level": "much"}, "a number"),
        ({"top": 1}, "at least 2"),
    ):
        with pytest.raises(ParameterError) as error:
            good(**wrong)
        assert error.value.wanted == says


def test_a_parameter_needs_an_entry_in_the_glossary_or_a_word_of_its_own() -> None:
    with pytest.raises(ParameterError, match=r"odd\.wobble is not in the glossary"):

        @method(kind=Kind.SPREAD)
        class Odd:
            wobble: int = param(default=3)

    @method(kind=Kind.SPREAD)
    class Said:
        wobble: int = param(default=3, says="how much it wobbles")

    assert "said" in CATALOGUE


@pytest.mark.parametrize(("it", "is_one"), [(Gradient(), True), (Gradient, False), ("gradient", False), (None, False)])
def test_an_instance_is_a_method_and_its_class_is_not(it: object, is_one: bool) -> None:
    assert is_method(it) is is_one


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        (True, True),
        (0.5, 0.5),
        ("black", "black"),
        (("black", 1), ["black", 1]),
        (Colour.RED, "red"),
        (Site("a", 1), "a[1]"),
        (torch.ones(2, 3), {"tensor": [2, 3], "sum": 6.0}),
        (Smooth(method=Gradient(at="a")).method, {"method": "gradient", "at": "a"}),
        (nearest, "nearest"),
        (torch.nn.ReLU(), "ReLU"),
    ],
)
def test_parameters_are_written_down_as(value: Any, wanted: Any) -> None:
    assert jsonable(value) == wanted


def test_errors_say_what_came_what_was_wanted_and_what_to_do() -> None:
    error = ParameterError("steps=0", "1 or more", "leave it out")
    assert str(error) == "steps=0\n  Wanted: 1 or more\n  Do: leave it out"
    assert (error.got, error.wanted, error.do) == ("steps=0", "1 or more", "leave it out")
    assert str(PellucidError("only this")) == "only this"


def test_the_nearest_names_come_first() -> None:
    assert nearest("taby", ["tabby", "tiger cat", "espresso"]) == "'tabby'"
    assert nearest("CAT", ["tiger cat", "Egyptian cat", "dog"]) in (
        "'tiger cat', 'Egyptian cat'",
        "'Egyptian cat', 'tiger cat'",
    )
    assert nearest("zzz", ["tabby"]) == ""
