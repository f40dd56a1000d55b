"""Names, groups, classes and instances become methods; parameters given as text are read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid import registry
from pellucid.core.errors import ParameterError
from pellucid.core.site import Site
from pellucid.methods.cam import GradCAM, LayerCAM
from pellucid.methods.combinators import Smooth
from pellucid.methods.gradient import Gradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.registry import find, make, make_all, names, parameters

SAURON = ["gradient", "input_x_gradient", "smooth_grad", "smooth_grad", "integrated_gradients", "guided_backprop"]


def listed(what: Any) -> list[str]:
    return [one.about.name for one in make_all(what)]


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("integrated_gradients", IntegratedGradients),
        ("integrated-gradients", IntegratedGradients),
        ("Integrated Gradients", IntegratedGradients),
        ("IntegratedGradients", IntegratedGradients),
        (" ig ", IntegratedGradients),
        ("Grad-CAM", GradCAM),
        ("GradCAM", GradCAM),
        ("LayerCAM", LayerCAM),
        ("saliency", Gradient),
        ("SG", SmoothGrad),
    ],
)
def test_a_method_is_found_by_name_class_name_title_and_short_name(name: str, cls: type) -> None:
    assert find(name) is cls


@pytest.mark.parametrize("name", names())
def test_every_method_is_found_by_its_name_and_title(name: str) -> None:
    cls = registry.CATALOGUE[name]
    assert find(name) is find(cls.about.title) is find(cls.__name__) is cls


@pytest.mark.parametrize(("name", "near"), [("integrated_gradient", "integrated_gradients"), ("gradcan", "grad_cam")])
def test_a_misspelt_method_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ParameterError, match=f"perhaps .*'{near}'"):
        find(name)


@pytest.mark.parametrize("name", ["", "zzzzzz", "²", "_"])
def test_what_is_no_method_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="no method"):
        find(name)


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("grad_cam", ["grad_cam"]),
        ("grad_cam, ig", ["grad_cam", "integrated_gradients"]),
        ("sauron", SAURON),
        (" Sauron ", SAURON),
        ("occ, sauron", ["occlusion", *SAURON]),
        (["occ", " Sauron "], ["occlusion", *SAURON]),
        (Gradient, ["gradient"]),
        (Gradient(), ["gradient"]),
        ([Gradient, "ig", GradCAM(relu=False)], ["gradient", "integrated_gradients", "grad_cam"]),
        ((name for name in ("v", "gi")), ["gradient", "input_x_gradient"]),
    ],
)
def test_several_methods_in_order(what: Any, wanted: list[str]) -> None:
    assert listed(what) == wanted


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("ig, sauron, ig", ["integrated_gradients", *SAURON[:4], SAURON[5]]),
        ([Gradient(), "v", "saliency"], ["gradient"]),
        ([SmoothGrad(seed=1), "sg"], ["smooth_grad"] * 2),
        ([GradCAM(at=Site("a")), "grad_cam"], ["grad_cam"] * 2),
        ([IntegratedGradients(baseline=(torch.zeros(3), 1)), "ig"], ["integrated_gradients"] * 2),
    ],
)
def test_a_name_whose_method_is_there_already_is_left_out(what: Any, wanted: list[str]) -> None:
    assert listed(what) == wanted


@pytest.mark.parametrize("one", [Gradient(), Gradient, Smooth(method=Gradient())])
def test_instances_and_classes_keep_their_places(one: Any) -> None:
    assert len(make_all([one, one])) == 2


@pytest.mark.parametrize("what", ["", " , ", [], ()])
def test_no_method_is_refused(what: Any) -> None:
    with pytest.raises(ParameterError, match="empty list of methods"):
        make_all(what)


@pytest.mark.parametrize("what", [3, None, int, object(), [3], [int], 1.5])
def test_what_is_nothing_like_a_method_is_refused(what: Any) -> None:
    with pytest.raises(ParameterError, match="as a method"):
        make_all(what)


def test_a_short_name_may_stand_for_parameters_that_can_still_be_changed() -> None:
    assert make("sgi") == SmoothGrad(times_input=True)
    assert make("sgi", {"samples": 4}) == SmoothGrad(times_input=True, samples=4)


def test_an_instance_is_taken_as_it_is_or_changed() -> None:
    cam = GradCAM(relu=False)
    assert make(cam) is cam
    assert make(cam, {"at": "conv"}) == GradCAM(relu=False, at="conv")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("ig", {"steps": "8"}, IntegratedGradients(steps=8)),
        ("ig", {"baseline": "0.5"}, IntegratedGradients(baseline=0.5)),
        ("ig", {"baseline": "white"}, IntegratedGradients(baseline="white")),
        ("ig", {"baseline": "('black', 'white')"}, IntegratedGradients(baseline=("black", "white"))),
        ("ig", {"tolerance": "1e-2"}, IntegratedGradients(tolerance=0.01)),
        ("ig", {"tolerance": "none"}, IntegratedGradients()),
        ("grad_cam", {"relu": "false"}, GradCAM(relu=False)),
        ("grad_cam", {"relu": "True"}, GradCAM()),
        ("grad_cam", {"at": "1"}, GradCAM(at="1")),
        ("grad_cam", {"at": "1.0"}, GradCAM(at="1.0")),
        ("grad_cam", {"at": "layer4[1]"}, GradCAM(at="layer4[1]")),
        ("v", {"at": "none"}, Gradient()),
        ("occ", {"window": "(3, 2)"}, Occlusion(window=(3, 2))),
        ("smooth", {"method": "grad_cam"}, Smooth(method=GradCAM())),
    ],
)
def test_parameters_are_read_from_text(name: str, text: dict[str, str], wanted: Any) -> None:
    assert make(name, text) == wanted


@pytest.mark.parametrize("text", ["{[]: 1}", "(", "[" * 5000, "a\0b", "__import__('os')", "9" * 5000])
def test_text_is_never_run_and_never_breaks_the_reading(text: str) -> None:
    """It stays text, or becomes a number, which the method then judges."""
    try:
        made: Any = make("ig", {"baseline": text})
    except ParameterError:
        return
    assert made.baseline == text or isinstance(made.baseline, int)


def test_an_unknown_parameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match="perhaps 'steps'"):
        make("ig", {"step": 3})
    with pytest.raises(ParameterError, match="no parameter 'samples'"):
        make("occ", {"samples": 3})


def test_a_parameter_without_a_default_must_be_given() -> None:
    with pytest.raises(ParameterError, match="smooth without method"):
        make("smooth")


def test_parameters_are_told_with_their_meaning_unit_and_choices() -> None:
    told = {one.name: one for one in parameters("smooth_grad")}
    assert told["samples"].default == 32
    assert told["samples"].unit == "draws"
    assert told["statistic"].choices == ("mean", "square", "variance")
    assert all(one.meaning for name in names() for one in parameters(name))


@pytest.mark.parametrize(
    ("cls", "wrong", "says"),
    [
        (IntegratedGradients, {"steps": 0}, "at least 1"),
        (IntegratedGradients, {"steps": 2.0}, "a whole number"),
        (IntegratedGradients, {"steps": True}, "a number"),
        (IntegratedGradients, {"rule": "gauss"}, "perhaps 'gauss_legendre'"),
        (IntegratedGradients, {"tolerance": -0.1}, "at least 0"),
        (IntegratedGradients, {"tolerance": "small"}, "a number"),
        (IntegratedGradients, {"tolerance": float("nan")}, "at least 0"),
        (SmoothGrad, {"spread": -1}, "at least 0"),
        (SmoothGrad, {"spread": float("inf")}, "at least 0"),
        (SmoothGrad, {"spread": float("nan")}, "at least 0"),
        (SmoothGrad, {"seed": -1}, "a whole number, 0 or more"),
        (SmoothGrad, {"seed": 1.0}, "a whole number, 0 or more"),
        (SmoothGrad, {"times_input": "no"}, "True or False"),
        (GradCAM, {"relu": 0}, "True or False"),
    ],
)
def test_parameters_out_of_range_are_refused(cls: Any, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        cls(**wrong)
