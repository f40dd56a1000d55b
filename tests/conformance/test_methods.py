"""Every method of the registry keeps every promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid import registry
from pellucid.methods.cam import GradCAM
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.guided import Deconvnet, GuidedBackprop
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.testing import tiny
from pellucid.testing.answers import explained
from pellucid.testing.axioms import agreeing
from pellucid.testing.checks import Check, checks, example, lighter, refusal

MODELS = ("linear_rows", "convnet_inplace", "vit", "convnet_uncopyable")
BUILT_IN = tuple(name for name, cls in registry.CATALOGUE.items() if cls.__module__.startswith("pellucid."))
VARIANTS: dict[str, Any] = {
    "gradient at a layer": Gradient(at="bn2"),
    "input_x_gradient at a layer": InputXGradient(at="bn2"),
    "guided_backprop at a layer": GuidedBackprop(at="bn2"),
    "deconvnet at a layer": Deconvnet(at="bn2"),
    "smooth grad_cam": Smooth(method=GradCAM()),
    "integrated grad_cam": Integrate(method=GradCAM()),
    "smooth guided_backprop, squared": Smooth(method=GuidedBackprop(), statistic="square"),
    "integrated smooth gradient": Integrate(method=SmoothGrad(samples=2), times_input=True),
    "smooth_grad times input": SmoothGrad(times_input=True),
    "smooth_grad squared": SmoothGrad(statistic="square"),
    "integrated_gradients until complete": IntegratedGradients(steps=2, tolerance=1e-2, max_steps=8),
    "integrated_gradients at a layer": IntegratedGradients(at="bn2"),
    "integrated_gradients from several": IntegratedGradients(baseline=("black", "mean", 0.3), rule="trapezoid"),
}
"""Parameters that make another method of a method."""


UNCOPYABLE = "convnet_uncopyable"
ELSEWHERE = (
    "keeps_implementation_invariance",
    *(f"failures_leave_nothing_behind[{m}]" for m in MODELS if m != MODELS[1]),
)
"""Checks that other tests make more thoroughly: below, and in test_state.py on the whole zoo."""


def every() -> list[Any]:
    return [
        pytest.param(check, id=f"{name}-{check.name}")
        for name in BUILT_IN
        for check in checks(name, MODELS)
        if check.name not in ELSEWHERE and not (UNCOPYABLE in check.name and not check.name.startswith("leaves"))
    ]


NESTED = "integrated smooth gradient"
"""Fails at every pass on behalf of the others, which differ in arithmetic only."""


def variants() -> list[Any]:
    return [
        pytest.param(check, id=f"{name}-{check.name}")
        for name, method in VARIANTS.items()
        for check in checks(method, ("convnet_inplace",))
        if "[" in check.name  # axioms are declared for the method as it comes
        and (name == NESTED or not check.name.startswith("failures"))
    ]


@pytest.mark.parametrize("check", every())
def test_built_in(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", variants())
def test_variant(check: Check) -> None:
    result = check()
    assert result.status == "passed", result.why


DIFFERENT = tuple(
    name for name, entry in tiny.ZOO.items() if not entry.group or name == tiny.names(group=entry.group)[0]
)
"""One model of each group, and all that have none."""


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_method_refuses_a_model_that_it_can_explain(name: str) -> None:
    """Checks are skipped where a method refuses; so what is refused has to be said here."""
    cls = registry.find(name)
    wanted = set(DIFFERENT)
    if cls.about.family == "cam" or name in ("conductance", "internal_influence", "crp"):
        wanted = {model for model in wanted if tiny.ZOO[model].site is not None}
    if cls.about.family == "transformer":
        wanted = {"vit"}
    if name == "cam":
        wanted -= {"smooth", "vit", "tied", "parametrised"}  # no layer of theirs is averaged
    if name in ("guided_backprop", "deconvnet", "rect_grad"):
        wanted &= set(tiny.names(having="relu"))
    if name == "guided_grad_cam":
        wanted &= {model for model in tiny.names(having="relu") if tiny.ZOO[model].site is not None}
    if cls.about.family == "perturbation" or name in ("blur_ig", "xrai", "full_grad"):
        wanted = {model for model in wanted if len(tiny.ZOO[model].shape) == 3}
    method = lighter(example(name))
    if name == "tabular_lime":
        wanted = set()  # none of them comes with its training table
    assert {model for model in DIFFERENT if not refusal(method, tiny.make(model))} == wanted


@pytest.mark.parametrize("group", sorted({entry.group for entry in tiny.ZOO.values()} - {""}))
@pytest.mark.parametrize("name", BUILT_IN)
def test_spelling_does_not_matter(name: str, group: str) -> None:
    """The same weights as modules, functions, in place, shared: the same map, also for rules and maps of layers."""
    if name == "cam":
        pytest.skip("the layer that is averaged is no module in every spelling")
    method = lighter(example(name))
    first = tiny.make(tiny.names(group=group)[0])
    if refusal(method, first):
        pytest.skip(refusal(method, first))
    agreeing(method, group)


@pytest.mark.parametrize("name", tiny.names(lacking="stochastic"))
def test_single_precision_is_near_double(name: str) -> None:
    one, two = (tiny.make(name, dtype) for dtype in (torch.float32, torch.float64))
    a, b = explained(Gradient(), one).values, explained(Gradient(), two).values
    assert a.dtype == torch.float32
    assert float((a - b).norm() / b.norm()) < 1e-2
