"""The models on which libraries are compared: released weights where pip brings them, else from a local generator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import pellucid

Grid = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Case:
    """One model with the rows that are explained.

    site    layer of the class activation maps and of all that looks inside
    grid    brings what a peer sees there to [batch, channel, height, width]: a reshape_transform
    twin    what the peer is given instead of the module: the same function, written so that the peer understands it
    """

    name: str
    module: nn.Module
    x: Tensor
    target: int
    site: str
    grid: Grid | None = None
    twin: nn.Module | None = None
    twin_site: str = ""

    @property
    def theirs(self) -> nn.Module:
        return self.module if self.twin is None else self.twin

    @property
    def layer(self) -> nn.Module:
        return self.theirs.get_submodule(self.twin_site or self.site)

    def at_grid(self, inner: Tensor) -> Tensor:
        return inner if self.grid is None or self.twin is not None else self.grid(inner)


def local(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(size: int, count: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=local(seed))


@torch.no_grad()
def filled(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model built without a random draw, then filled from a local generator; norms far from the identity."""
    with torch.device("meta"):
        module = build()
    module = module.to_empty(device="cpu").double().eval()
    draw = local(seed)
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if not p.is_floating_point():
            p.zero_()
            continue
        noise = torch.randn(p.shape, dtype=p.dtype, generator=draw)
        if p.ndim in (2, 4):
            p.copy_(noise * (2 / p[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            p.copy_(1 + noise.square() / 4)
        elif p.ndim == 1 and name.endswith("weight"):
            p.copy_(1 + noise / 5)
        else:
            p.copy_(noise / 5)
    return module


def vgg11() -> nn.Module:
    """Torchvision's features; a head of a hundredth of the size, which is enough here."""
    from torchvision.models import vgg11 as build

    module = build(num_classes=10)
    module.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return module


def resnet18() -> nn.Module:
    from torchvision.models import resnet18 as build

    return build(num_classes=10)


def densenet121() -> nn.Module:
    from torchvision.models import densenet121 as build

    return build(num_classes=10)


def vit_tiny() -> nn.Module:
    import timm

    return timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10)


def vit_narrow() -> nn.Module:
    """The architecture of torchvision's vit_b_16, a quarter as deep and an eighth as wide."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=3, hidden_dim=96, mlp_dim=192, num_classes=10
    )


def behind_class_token(tokens: Tensor) -> Tensor:
    """[batch, 1 + height · width, channel] to [batch, channel, height, width], for square pictures."""
    patches = tokens[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    return patches.transpose(1, 2).reshape(len(tokens), -1, side, side)


@cache
def case(name: str) -> Case:
    """A model by the name it has in the table."""
    return CASES[name]()


def _bundled() -> Case:
    loaded = pellucid.load(BUNDLED)
    cat, _ = pellucid.zoo.sample_photos()
    x = loaded.preprocess.rows([cat]).double()[..., 64:160, 64:160].contiguous()
    return _case(BUNDLED, copy.deepcopy(loaded.module).double().eval(), x, "_bn1")


@torch.no_grad()
def _case(name: str, module: nn.Module, x: Tensor, site: str) -> Case:
    """The best class of the first row is the one that is explained."""
    return Case(name=name, module=module, x=x, target=int(module(x[:1]).argmax()), site=site)


def _transformer(name: str, build: Callable[[], nn.Module], site: str) -> Case:
    """Class 1, for which no map is cut to zeros."""
    return Case(name=name, module=filled(build), x=rows(64, 2), target=1, site=site, grid=behind_class_token)


BUNDLED = "efficientnet_lite0"
CASES: dict[str, Callable[[], Case]] = {
    BUNDLED: _bundled,
    "vgg11": lambda: _case("vgg11", filled(vgg11), rows(48), "features.19"),
    "resnet18": lambda: _case("resnet18", filled(resnet18), rows(64, 2), "layer4"),
    "densenet121": lambda: _case("densenet121", filled(densenet121), rows(64), "features"),
    "vit_tiny_patch16": lambda: _transformer("vit_tiny_patch16", vit_tiny, "blocks.11.norm1"),
    "vit_b_16 (narrow)": lambda: _transformer("vit_b_16 (narrow)", vit_narrow, "encoder.layers.encoder_layer_2.ln_1"),
}
CONVOLUTIONAL = (BUNDLED, "vgg11", "resnet18", "densenet121")
TRANSFORMERS = ("vit_tiny_patch16", "vit_b_16 (narrow)")


def plain(module: nn.Module) -> Any:
    """Our handle, without any preparation."""
    return pellucid.wrap(module, evaluate="plain", emits="logits")


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest value of the two. Maps of zeros compare nothing."""
    if a.shape != b.shape or not (a.any() or b.any()):
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)}, or nothing but zeros")
    return float((a - b).abs().max() / max(a.abs().max(), b.abs().max()))


# -- twins: the same function, written so that a peer sees what it has to see ---------------------------------------


class SeenReLU6(nn.ReLU):
    """ReLU6 that passes for a ReLU: Captum clips what flows back through modules of that type only."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(x)


def with_seen_relu6(module: nn.Module) -> nn.Module:
    """A copy in which every nn.ReLU6 is one that Captum takes for a ReLU."""
    twin = copy.deepcopy(module)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, SeenReLU6())
    return twin


class DenseNetOfModules(nn.Module):
    """DenseNet with its last rectifier as a module, and out of place."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = module.features, module.classifier
        self.relu, self.pool, self.flat = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flat(self.pool(self.relu(self.features(x)))))


class ThroughGrid(nn.Module):
    """A layer of tokens whose patches pass through a module as [batch, channel, height, width]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.picture = layer, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layer(x)
        picture = self.picture(behind_class_token(tokens))
        return torch.cat([tokens[:, :1], picture.flatten(2).transpose(1, 2)], 1)


def with_grid(module: nn.Module, site: str) -> nn.Module:
    """A copy of a vision transformer in which the tokens of one layer are laid out as a picture on their way."""
    twin = copy.deepcopy(module)
    parent, _, child = site.rpartition(".")
    setattr(twin.get_submodule(parent), child, ThroughGrid(twin.get_submodule(site)))
    return twin


def out_of_place(module: nn.Module) -> nn.Module:
    """A copy in which no activation overwrites its input."""
    twin = copy.deepcopy(module)
    for child in twin.modules():
        if getattr(child, "inplace", False):
            child.inplace = False  # pyright: ignore[reportAttributeAccessIssue]
    return twin


@cache
def twin_case(name: str) -> Case:
    """A model whose peer is given the twin."""
    one = case(name)
    if name == "vgg11":
        return replace(one, twin=out_of_place(one.module))
    if name == BUNDLED:
        return replace(one, twin=with_seen_relu6(one.module))
    if name == "densenet121":
        return replace(one, twin=DenseNetOfModules(one.module))
    return replace(one, twin=with_grid(one.module, one.site), twin_site=f"{one.site}.picture")
