"""Every method that Captum has too: ours, and theirs brought to the same definition by its own arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from tests.peers.models import Case
from torch import Tensor

from pellucid import registry
from pellucid.core.explanation import Explanation
from pellucid.core.site import Site
from pellucid.core.target import Unit

STEPS = 8
"""Nodes k/8 and weights 1/8 are exact in float32, in which Captum rounds them."""
FILL = (0.1, -0.2, 0.3)
UNIT = (3, 1, 1)
Pair = tuple[int, int]
RULES = {
    "gauss_legendre": "gausslegendre",
    "midpoint": "riemann_middle",
    "left": "riemann_left",
    "right": "riemann_right",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """ours: the method on a case; theirs: the peer's numbers; target: what is explained, else the case's class.

    models: those that are compared; all when there are none. reads: what is compared of our explanation.
    """

    ours: Callable[[Case], Any]
    theirs: Callable[[Case], Tensor]
    target: Callable[[Case], Any] | None = None
    models: tuple[str, ...] = ()
    reads: Callable[[Explanation], Tensor] = attrgetter("values")

    def on(self, model: str) -> bool:
        return not self.models or model in self.models


def attr() -> Any:
    import captum.attr

    return captum.attr


def fill(x: Tensor) -> Tensor:
    """One colour, in the units of the rows."""
    return torch.tensor(FILL, dtype=x.dtype)[:, None, None]


def make(name: str, **params: Any) -> Callable[[Case], Any]:
    return lambda case: registry.make(name, params)


def make_at(name: str, **params: Any) -> Callable[[Case], Any]:
    return lambda case: registry.make(name, {"at": case.site, **params})


def on_input(name: str, **arguments: Any) -> Callable[[Case], Tensor]:
    """A method of Captum that needs the model only."""
    return lambda c: getattr(attr(), name)(c.theirs).attribute(c.x.clone(), target=c.target, **arguments).detach()


def on_layer(name: str, **arguments: Any) -> Callable[[Case], Tensor]:
    """A method of Captum that needs a layer, laid out as a picture."""

    def run(c: Case) -> Tensor:
        got = getattr(attr(), name)(c.theirs, c.layer).attribute(c.x.clone(), target=c.target, **arguments)
        return c.at_grid(got.detach())

    return run


def grad_cam(c: Case) -> Tensor:
    got = attr().LayerGradCam(c.theirs, c.layer).attribute(c.x.clone(), target=c.target, relu_attributions=True)
    return got.detach()[:, 0]


def guided_grad_cam(c: Case) -> Tensor:
    made = attr().GuidedGradCam(c.theirs, c.layer)
    return made.attribute(c.x.clone(), target=c.target, interpolate_mode="nearest").detach()


def occlusion(window: Pair, stride: Pair) -> Compared:
    """All windows of Captum in one batch; its map repeats itself over the channels."""

    def theirs(c: Case) -> Tensor:
        got = (
            attr()
            .Occlusion(c.theirs)
            .attribute(
                c.x.clone(),
                sliding_window_shapes=(3, *window),
                strides=(3, *stride),
                baselines=fill(c.x).expand(1, *c.x.shape[1:]),
                target=c.target,
                perturbations_per_eval=32,
            )
        )
        return got.detach()[:, 0]

    return Compared(
        ours=lambda c: registry.make("occlusion", {"window": window, "stride": stride, "fill": fill(c.x)}),
        theirs=theirs,
    )


def conductance_both_ways(c: Case) -> Tensor:
    """The mean of the sums over left ends and over right ends, the latter from the way back."""
    made = attr().LayerConductance(c.theirs, c.layer)
    kept: dict[str, Any] = {"target": c.target, "n_steps": STEPS, "method": "riemann_trapezoid"}
    zero = torch.zeros_like(c.x)
    there = made.attribute(c.x.clone(), zero, **kept)
    back = made.attribute(zero.clone(), c.x.clone(), **kept)
    return c.at_grid(((there - back) / 2).detach())


def layer_path(c: Case) -> Tensor:
    """Integrated gradients between the activations of a layer, all tokens included."""
    made = attr().LayerIntegratedGradients(c.theirs, c.layer)
    return made.attribute(c.x.clone(), torch.zeros_like(c.x), target=c.target, n_steps=STEPS).detach()


def neuron_gradient(c: Case) -> Tensor:
    def chosen(inner: Tensor) -> Tensor:
        return c.at_grid(inner)[(slice(None), *UNIT)]

    return attr().NeuronGradient(c.theirs, c.layer).attribute(c.x.clone(), neuron_selector=chosen).detach()


def unit(c: Case) -> Unit:
    """The unit whose gradient is compared."""
    return Unit(c.site, UNIT)


COMPARED: dict[str, Compared] = {
    "Gradient": Compared(ours=make("gradient"), theirs=on_input("Saliency", abs=False)),
    "Input × Gradient": Compared(ours=make("input_x_gradient"), theirs=on_input("InputXGradient")),
    **{
        f"Integrated Gradients, {ours.replace('_', '–').replace('gauss–l', 'Gauss–L')}": Compared(
            ours=make("integrated_gradients", steps=STEPS, rule=ours),
            theirs=on_input("IntegratedGradients", n_steps=STEPS, method=theirs),
        )
        for ours, theirs in RULES.items()
    },
    "Integrated Gradients, trapezoid": Compared(
        ours=make("integrated_gradients", steps=STEPS + 1, rule="trapezoid"),
        theirs=on_input("IntegratedGradients", n_steps=STEPS + 1, method="riemann_trapezoid"),
    ),
    "Guided Backpropagation": Compared(ours=make("guided_backprop"), theirs=on_input("GuidedBackprop")),
    "Deconvnet": Compared(ours=make("deconvnet"), theirs=on_input("Deconvolution")),
    "DeepLIFT": Compared(ours=make("deep_lift", baseline="zero"), theirs=on_input("DeepLift")),
    "Grad-CAM": Compared(ours=make_at("grad_cam"), theirs=grad_cam),
    "Guided Grad-CAM": Compared(ours=make_at("guided_grad_cam", upsample="nearest"), theirs=guided_grad_cam),
    "Occlusion": occlusion((16, 16), (8, 16)),
    "Occlusion, windows that do not fit evenly": occlusion((20, 20), (15, 15)),
    "Gradient of an inner unit": Compared(ours=make("gradient"), theirs=neuron_gradient, target=unit),
    "Input × Gradient at a layer": Compared(
        ours=make_at("input_x_gradient"), theirs=on_layer("LayerGradientXActivation")
    ),
    "Integrated Gradients at a layer": Compared(
        ours=lambda c: registry.make(
            "integrated_gradients", {"steps": STEPS, "at": Site(c.site, layout="auto" if c.grid is None else "none")}
        ),
        theirs=layer_path,
    ),
    "Conductance": Compared(
        ours=make_at("conductance", steps=STEPS),
        theirs=on_layer("LayerConductance", n_steps=STEPS, method="riemann_trapezoid"),
    ),
    "Conductance, mean of both directions": Compared(
        ours=make_at("conductance", steps=STEPS), theirs=conductance_both_ways
    ),
    "Internal Influence": Compared(
        ours=make_at("internal_influence", steps=STEPS), theirs=on_layer("InternalInfluence", n_steps=STEPS)
    ),
}
