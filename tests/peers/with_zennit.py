"""The presets of zennit, on models that its canonizers know.

zennit merges a batch norm into the layer before it and leaves the norm's ε in what is then no norm any more. The model
that it is given has the ε in the variance instead, which is the same function; `as_it_stands` is the other row.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from tests.peers.models import Case
from tests.peers.with_captum import Compared
from torch import Tensor, nn

from pellucid import registry
from pellucid.propagation.lrp import presets

MODELS = ("vgg11", "resnet18")
PRESETS = {
    "EpsilonPlus": "epsilon_plus",
    "EpsilonPlusFlat": "epsilon_plus_flat",
    "EpsilonAlpha2Beta1": "epsilon_alpha2_beta1",
    "EpsilonAlpha2Beta1Flat": "epsilon_alpha2_beta1_flat",
    "EpsilonGammaBox": "epsilon_gamma_box",
}
NORMS_AS_THEY_STAND = "LRP EpsilonPlusFlat, batch norms as they stand"


def box(x: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds that hold for every row."""
    return torch.full_like(x[:1], float(x.min()) - 1), torch.full_like(x[:1], float(x.max()) + 1)


def ours(name: str) -> Callable[[Case], Any]:
    def made(c: Case) -> Any:
        rules = presets.epsilon_gamma_box(*box(c.x)) if name == "epsilon_gamma_box" else name
        return registry.make("lrp", {"composite": rules})

    return made


@torch.no_grad()
def without_epsilon(module: nn.Module) -> nn.Module:
    """The same function: ε moved into the variance."""
    module = copy.deepcopy(module)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_var is not None
            norm.running_var += norm.eps
            norm.eps = 0.0
    return module


def relevance(preset: str, module: nn.Module, x: Tensor, target: int) -> Tensor:
    """zennit's map of one class, started from its logit."""
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    canonizer = ResNetCanonizer() if type(module).__name__ == "ResNet" else VGGCanonizer()
    bounds = box(x) if preset == "EpsilonGammaBox" else ()
    composite = getattr(composites, preset)(*bounds, canonizers=[canonizer])
    start = torch.zeros(1, 10, dtype=x.dtype)
    start[0, target] = 1
    with Gradient(model=copy.deepcopy(module), composite=composite) as attributor:
        _, found = attributor(x.clone(), lambda output: output * start)
    return found.detach()


COMPARED: dict[str, Compared] = {
    f"LRP {theirs}": Compared(
        ours=ours(name),
        theirs=lambda c, theirs=theirs: relevance(theirs, without_epsilon(c.theirs), c.x, c.target),
        models=MODELS,
    )
    for theirs, name in PRESETS.items()
} | {
    NORMS_AS_THEY_STAND: Compared(
        ours=ours("epsilon_plus_flat"),
        theirs=lambda c: relevance("EpsilonPlusFlat", c.theirs, c.x, c.target),
        models=("resnet18",),
    )
}
