"""Composites by name: which rule serves which operators, in the forms that the literature compares.

All of them serve convolutional nets and transformers alike: what a model does not have is not asked for. Batch norms
are merged with the layer before them where there is one; joins, gates and residual sums need no preparation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any, Final, Literal

import torch
from torch import Tensor

from pellucid.core.errors import ParameterError, nearest
from pellucid.propagation.composite import Composite, On
from pellucid.propagation.lrp.attention import MatrixProduct, Softmax
from pellucid.propagation.lrp.box import ZBox
from pellucid.propagation.lrp.flows import Joined, Norm, Pass, Product, Quotient, Refuse
from pellucid.propagation.lrp.layers import STABILIZER, AlphaBeta, Epsilon, Flat, Gamma, ZPlus
from pellucid.propagation.lrp.norms import LayerNorm
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Manner, Rule

Gates = Literal["share", "stop"]

MANNER: Final = Manner(start="score", apart=frozenset({Kind.ATTENTION, Kind.RECURRENT}), merge=True)
"""How relevance runs: from the score, through attention and recurrent layers taken apart, with batch norms merged."""

DENSE: Final = (Kind.LINEAR,)
CONVOLUTIONS: Final = (Kind.CONVOLUTION,)
LAYERS: Final = (Kind.LINEAR, Kind.CONVOLUTION)


def flows(layer: Rule, stabilizer: float = STABILIZER, gates: Gates = "share") -> tuple[On, ...]:
    """What all composites share: the rules of everything that is no layer; `layer` serves products with constants."""
    return (
        On(Pass(), kinds=(Kind.RECTIFIER, Kind.ACTIVATION, Kind.ELEMENTWISE)),
        On(Norm(stabilizer), kinds=(Kind.ADD, Kind.MEAN_POOL, Kind.REDUCE, Kind.RESAMPLE)),
        On(Norm(stabilizer), operators=("batch_norm",)),
        On(LayerNorm(stabilizer), operators=("layer_norm", "group_norm", "instance_norm", "rms_norm")),
        On(Pass(), operators=("normalize", "local_response_norm")),
        On(Product(), kinds=(Kind.MULTIPLY,)),
        On(Quotient(), kinds=(Kind.DIVIDE,)),
        On(Softmax(stabilizer), kinds=(Kind.SOFTMAX,)),
        On(MatrixProduct(gates, layer, stabilizer), kinds=(Kind.MATMUL,)),
        On(Joined(), operators=("cat", "stack")),
        On(Refuse("joins three tensors"), operators=("addcmul", "addcdiv")),
        On(Refuse("measures how tensors vary or how long they are"), operators=("var", "std", "norm")),
    )


def composed(name: str, layer: Rule, *lines: On, stabilizer: float = STABILIZER, gates: Gates = "share") -> Composite:
    """A composite of the shared lines, then the given ones; the last one that matches serves."""
    return Composite(name, (*flows(layer, stabilizer, gates), *lines), MANNER)


def zero() -> Composite:
    """LRP-0 everywhere: on nets of ReLUs without biases this is input × gradient    [bach2015pixel]"""
    return epsilon(0.0, 0.0, name="zero")


def epsilon(epsilon: float = 1e-6, stabilizer: float = STABILIZER, *, name: str = "epsilon") -> Composite:
    """LRP-ε at every linear and convolution layer    [bach2015pixel]"""
    rule = Epsilon(epsilon)
    return composed(name, rule, On(rule, kinds=LAYERS), stabilizer=stabilizer)


def epsilon_plus(epsilon: float = 1e-6, stabilizer: float = STABILIZER) -> Composite:
    """ε at linear layers, z⁺ at convolutions    [montavon2019layer]"""
    return _presets("epsilon_plus", ZPlus(stabilizer), epsilon, stabilizer)


def epsilon_plus_flat(epsilon: float = 1e-6, stabilizer: float = STABILIZER) -> Composite:
    """ε at linear layers, z⁺ at convolutions, flat at the first layer    [lapuschkin2019unmasking]"""
    return _presets("epsilon_plus_flat", ZPlus(stabilizer), epsilon, stabilizer, flat=True)


def epsilon_alpha2_beta1(epsilon: float = 1e-6, stabilizer: float = STABILIZER) -> Composite:
    """ε at linear layers, α2β1 at convolutions    [bach2015pixel]"""
    return _presets("epsilon_alpha2_beta1", AlphaBeta(2.0, 1.0, stabilizer), epsilon, stabilizer)


def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6, stabilizer: float = STABILIZER) -> Composite:
    """ε at linear layers, α2β1 at convolutions, flat at the first layer    [lapuschkin2019unmasking]"""
    return _presets("epsilon_alpha2_beta1_flat", AlphaBeta(2.0, 1.0, stabilizer), epsilon, stabilizer, flat=True)


def epsilon_gamma_box(
    low: Tensor, high: Tensor, epsilon: float = 1e-6, gamma: float = 0.25, stabilizer: float = STABILIZER
) -> Composite:
    """ε at linear layers, γ at convolutions, zᴮ at the first convolution    [montavon2019layer]

    low, high  the lowest and highest inputs that there can be, in the units of the model's rows: [1, ...], or numbers
    """
    box = On(ZBox(low, high, stabilizer), kinds=CONVOLUTIONS, first=1)
    return _presets("epsilon_gamma_box", Gamma(gamma, stabilizer), epsilon, stabilizer, box)


def _presets(
    name: str, convolution: Rule, epsilon: float, stabilizer: float, *lines: On, flat: bool = False
) -> Composite:
    dense = Epsilon(epsilon)
    first = (On(Flat(stabilizer), kinds=LAYERS, first=1),) if flat else lines
    by_kind = (On(dense, kinds=DENSE), On(convolution, kinds=CONVOLUTIONS))
    return composed(name, dense, *by_kind, *first, stabilizer=stabilizer)


def attn_lrp(
    epsilon: float = 1e-6, gamma: float = 0.05, first_gamma: float = 0.25, stabilizer: float = STABILIZER
) -> Composite:
    """AttnLRP for vision transformers: γ at linear layers and at the patches, half for both factors of attention

    [achtibat2024attnlrp]. The paper finds plain ε too noisy on vision transformers; the strengths of γ are those that
    its authors' examples use, and worth trying out for a model.

    gamma        of linear layers; 0 is LRP-ε, which the paper uses for language models
    first_gamma  of convolutions, which cut the picture into patches
    """
    return _attentive("attn_lrp", "share", epsilon, gamma, first_gamma, stabilizer)


def cp_lrp(
    epsilon: float = 1e-6, gamma: float = 0.05, first_gamma: float = 0.25, stabilizer: float = STABILIZER
) -> Composite:
    """The same with attention held constant, so that relevance is conserved: the values take all    [ali2022xai]"""
    return _attentive("cp_lrp", "stop", epsilon, gamma, first_gamma, stabilizer)


def _attentive(
    name: str, gates: Gates, epsilon: float, gamma: float, first_gamma: float, stabilizer: float
) -> Composite:
    dense = Gamma(gamma, stabilizer) if gamma else Epsilon(epsilon)
    first = Gamma(first_gamma, stabilizer) if first_gamma else Epsilon(epsilon)
    by_kind = (On(dense, kinds=DENSE), On(first, kinds=CONVOLUTIONS))
    return composed(name, dense, *by_kind, stabilizer=stabilizer, gates=gates)


def excitation_backprop(stabilizer: float = STABILIZER) -> Composite:
    """R_i = a_i Σ_j w⁺_ij R_j / Σ_i a_i w⁺_ij: z⁺ without biases at every layer    [zhang2016excitation]"""
    rule = ZPlus(stabilizer, bias=False)
    return composed("excitation_backprop", rule, On(rule, kinds=LAYERS), stabilizer=stabilizer)


def deep_taylor(low: Tensor, high: Tensor, stabilizer: float = STABILIZER) -> Composite:
    """z⁺ without biases inside, zᴮ at the first layer, for inputs between low and high    [montavon2017explaining]"""
    rule = ZPlus(stabilizer, bias=False)
    box = On(ZBox(low, high, stabilizer), kinds=LAYERS, first=1)
    return composed("deep_taylor", rule, On(rule, kinds=LAYERS), box, stabilizer=stabilizer)


PRESETS: Final[Mapping[str, Callable[..., Composite]]] = {
    preset.__name__: preset
    for preset in (
        zero,
        epsilon,
        epsilon_plus,
        epsilon_plus_flat,
        epsilon_alpha2_beta1,
        epsilon_alpha2_beta1_flat,
        epsilon_gamma_box,
        attn_lrp,
        cp_lrp,
        excitation_backprop,
        deep_taylor,
    )
}
"""Every preset by its name."""


def composite(
    given: str | Composite,
    baseline: Callable[[str], Tensor],
    unknown: str = "error",
    **numbers: float | None,
) -> Composite:
    """A composite as users name it.

    given     a preset's name, or a Composite, which stays as it is
    baseline  gives the `black` and the `white` input, [batch, ...] in the units of the rows, to presets with a box
    unknown   what becomes of operators without a rule; `gradient` holds whatever a Composite says
    numbers   epsilon, gamma …; None leaves the preset's own

    Raises ParameterError for a name that is not there, and for numbers that a composite does not have.
    """
    wanted: dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
    if isinstance(given, Composite):
        if wanted:
            raise ParameterError(f"{', '.join(wanted)} beside a Composite", "numbers given to its rules")
        made = given
    else:
        made = _preset(given, baseline, wanted)
    return replace(made, unknown=unknown) if unknown == "gradient" else made


def _preset(name: str, baseline: Callable[[str], Tensor], wanted: dict[str, Any]) -> Composite:
    if isinstance(name, str) and name.startswith("Composite("):
        got = "a composite of your own, of which a record keeps no more than the text"
        raise ParameterError(got, "the method itself", "hand it over: methods=pellucid.LRP(composite=...)")
    if not isinstance(name, str) or name not in PRESETS:
        near = nearest(str(name), PRESETS)
        every = f"one of {', '.join(PRESETS)}, or a Composite"
        raise ParameterError(f"composite {name!r}", every, f"perhaps {near}" if near else "")
    known = signature(PRESETS[name]).parameters
    for key, value in wanted.items():
        if key not in known:
            taken = ", ".join(one for one in ("epsilon", "gamma") if one in known) or "no numbers"
            raise ParameterError(f"{key}={value!r} for the composite {name}", f"{taken}: that is all that {name} has")
    if "low" in known:
        dark, bright = baseline("black")[:1], baseline("white")[:1]  # either may be the lower, in normalised units
        wanted |= {"low": torch.minimum(dark, bright), "high": torch.maximum(dark, bright)}
    return PRESETS[name](**wanted)
