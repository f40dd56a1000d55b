"""A zoo of tiny models with known answers: every way of writing a network that has broken somebody's explanations.

All weights come from a generator of their own, so that no global random state moves. Models that are the same function
with the same weights, written differently, carry the same `group`: whatever explains functions explains them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.core.errors import InputError, nearest
from pellucid.core.points import generator
from pellucid.testing import nets, odd, transformers

CLASSES = nets.CLASSES
PICTURE = (nets.CHANNELS, nets.SIDE, nets.SIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How one model of the zoo is made, and what is known of it.

    make     builds the module; its weights are filled in afterwards, by name
    shape    one row of its input
    site     a layer with height and width that all models of the group have; None where there is none
    group    models of one group compute the same function (of the logits) with the same weights
    traits   `relu` only rectifiers between linear operators · `bias_free` · `smooth` differentiable everywhere ·
             `linear` · `stochastic` draws random numbers · `in_place` refuses to be copied · `detached` opaque to rules
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = PICTURE
    site: str | None = None
    group: str = ""
    traits: frozenset[str] = frozenset()
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiny:
    """A model of the zoo: the module, rows that it takes, and what is known of it."""

    name: str
    module: nn.Module
    x: Tensor
    """Rows in the range of pixels, [batch, ...]."""
    site: str | None
    group: str
    traits: frozenset[str]

    @property
    def pictures(self) -> bool:
        """Whether rows have height and width."""
        return self.x.ndim == 4


def _of(traits: str) -> frozenset[str]:
    return frozenset(traits.split())


ZOO: dict[str, Entry] = {
    "linear_rows": Entry(make=nets.linear_rows, shape=(6,), traits=_of("linear smooth")),
    "linear_pictures": Entry(make=nets.linear_pictures, traits=_of("linear smooth")),
    "smooth": Entry(make=nets.Smooth, site="conv", traits=_of("smooth")),
    "bias_free": Entry(make=nets.BiasFree, site="conv2", traits=_of("relu bias_free")),
    "convnet": Entry(make=nets.Modules, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_functional": Entry(make=nets.Functional, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_shared": Entry(make=nets.Shared, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_inplace": Entry(make=nets.Inplace, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_methods": Entry(make=nets.Methods, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_softmax": Entry(make=nets.SoftmaxModule, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_softmax_functional": Entry(make=nets.SoftmaxFunctional, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_tuple": Entry(make=odd.Tuple, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_dict": Entry(make=odd.Dict, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_model_output": Entry(make=odd.ModelOutput, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_uncopyable": Entry(make=odd.Uncopyable, site="bn2", group="convnet", traits=_of("relu in_place")),
    "convnet_refusing": Entry(make=odd.Refusing, site="bn2", group="convnet", traits=_of("relu in_place")),
    "convnet_frozen": Entry(make=odd.frozen, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_training": Entry(make=odd.training, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_checkpointed": Entry(make=odd.Checkpointed, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_counting": Entry(make=odd.Counting, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_rebinding": Entry(make=odd.Rebinding, site="bn2", group="convnet", traits=_of("relu")),
    "convnet_in_place_rebinding": Entry(
        make=odd.UncopyableRebinding, site="bn2", group="convnet", traits=_of("relu in_place")
    ),
    "convnet_sigmoid": Entry(make=nets.SigmoidHead, site="bn2", traits=_of("relu")),
    "residual": Entry(make=nets.ResidualModule, site="bn", group="residual", traits=_of("relu")),
    "residual_dunder": Entry(make=nets.ResidualDunder, site="bn", group="residual", traits=_of("relu")),
    "residual_inplace": Entry(make=nets.ResidualInplace, site="bn", group="residual", traits=_of("relu")),
    "dense": Entry(make=nets.DenseModules, site="conv2", group="dense", traits=_of("relu")),
    "dense_functional": Entry(make=nets.DenseFunctional, site="conv2", group="dense", traits=_of("relu")),
    "relu6": Entry(make=nets.Relu6, site="conv", group="relu6", traits=_of("relu"), scale=8.0),
    "relu6_clamp": Entry(make=nets.Relu6Clamp, site="conv", group="relu6", traits=_of("relu"), scale=8.0),
    "vit": Entry(make=transformers.ModuleAttention, site="block", group="vit", traits=_of("smooth")),
    "vit_functional": Entry(make=transformers.FunctionalAttention, site="block", group="vit", traits=_of("smooth")),
    "swin": Entry(make=transformers.Swin, site="block", traits=_of("smooth")),
    "tied": Entry(make=odd.tied, site="again", traits=_of("relu")),
    "parametrised": Entry(make=odd.parametrised, site="conv2", group="weight_norm", traits=_of("relu")),
    "weight_norm": Entry(make=odd.weight_normed, site="conv2", group="weight_norm", traits=_of("relu")),
    "stochastic": Entry(make=odd.Stochastic, site="bn2", traits=_of("relu stochastic")),
    "regression": Entry(make=odd.regression, shape=(6,), traits=_of("relu")),
}
"""Every model by name."""


def names(*, group: str | None = None, having: str = "", lacking: str = "") -> tuple[str, ...]:
    """Names of the models of a group, with all the traits `having` and none of `lacking` (words in one string)."""
    wanted, unwanted = _of(having), _of(lacking)
    return tuple(
        name
        for name, entry in ZOO.items()
        if group in (None, entry.group) and wanted <= entry.traits and not unwanted & entry.traits
    )


def make(name: str, dtype: torch.dtype = torch.float64, rows: int = 3, seed: int = 0) -> Tiny:
    """Build one model with its rows. Equal arguments give equal weights; so do the models of one group.

    name   one of `names()`
    dtype  of weights and rows; float64 shows what is rounding and what is not
    rows   how many rows come with it
    seed   of weights and rows
    Raises InputError for an unknown name.
    """
    if name not in ZOO:
        raise InputError(f"no tiny model {name!r}", f"one of {', '.join(ZOO)}", f"perhaps {nearest(name, ZOO)}")
    entry = ZOO[name]
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from the global state
        module = entry.make()
    filled(module, seed)
    draw = generator(seed, "rows", entry.shape)  # pyright: ignore[reportArgumentType]
    x = torch.rand(rows, *entry.shape, generator=draw, dtype=torch.float64) * entry.scale
    return Tiny(
        name=name,
        module=module.to(dtype),
        x=x.to(dtype),
        site=entry.site,
        group=entry.group,
        traits=entry.traits,
    )


def filled(module: nn.Module, seed: int) -> nn.Module:
    """Fill all weights and running statistics; what a tensor gets depends on the seed and its last names alone."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(_weights(name, parameter, seed))
        for name, buffer in module.named_buffers():
            last = name.rpartition(".")[2]
            if last in ("running_mean", "running_var"):
                noise = _noise(name, buffer, seed)
                buffer.copy_(0.1 * noise if last == "running_mean" else 1 + 0.3 * noise.abs())
    return module


def _weights(name: str, like: Tensor, seed: int) -> Tensor:
    noise = _noise(name, like, seed)
    if name.endswith("bias"):
        return 0.1 * noise
    if like.ndim < 2:
        return 1 + 0.2 * noise
    fan_in = like[0].numel()
    return noise * math.sqrt(2 / fan_in)


def _noise(name: str, like: Tensor, seed: int) -> Tensor:
    same = name.replace("parametrizations.weight.original0", "weight_g")
    same = same.replace("parametrizations.weight.original1", "weight_v")
    return torch.randn(like.shape, generator=generator(seed, same), dtype=torch.float64).to(like.dtype)
