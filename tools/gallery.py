"""`python -m tools.gallery docs`: every method on the two photos of the demo, in three figures.

The second one is of those that hide parts of the photo. Methods for transformers stand in the third, on a small vision
transformer. None with real weights comes by pip, so its weights are random, and the figure says so: it shows what the
maps look like and where they may differ, no more. `python -m tools.gallery docs gallery_games.jpg` draws one alone.
Every picture carries the names of its methods in its comment, by which a test sees that none is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import pellucid
from pellucid import registry
from pellucid.adapters import TorchModel
from pellucid.core.method import CATALOGUE
from pellucid.methods.gradient import Gradient

TRANSFORMER, GAMES = "transformer", "perturbation"
ELSEWHERE = ("tabular_lime",)
"""Methods that explain no pictures."""
BESIDE = ("gradient", "lrp", "grad_cam", "occlusion")
"""What is shown beside the methods for transformers."""
SETTINGS: dict[str, dict[str, object]] = {
    "integrated_gradients": {"baseline": "blur"},
    "crp": {"top": 1},
    "occlusion": {"window": 48, "stride": 22},
    "score_cam": {"channels": 256},
    "lime": {"samples": 400},
    "kernel_shap": {"samples": 400},
    "banzhaf": {"samples": 400},
    "permutation_shap": {"samples": 8},
    "stratified_shapley": {"samples": 8, "regions": "slic(n=30)"},
    "owen_shapley": {"calls": 600, "regions": "slic(n=30)"},
    "shapley_interactions": {"samples": 600, "regions": "slic(n=20)"},
    "anchors": {"regions": "slic(n=30)"},
    "rise": {"samples": 1000},
    "sobol_attribution": {"samples": 16, "regions": "cells(6, 6)"},
    "hsic_attribution": {"samples": 300, "regions": "cells(6, 6)"},
    "conductance": {"at": "_blocks.10"},
    "internal_influence": {"at": "_blocks.10"},
    "smooth": {"method": Gradient()},
    "integrate": {"method": Gradient(), "times_input": True},
}
"""Where a figure shows something else than the defaults, or a method needs another one inside."""
VARIANTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("lime", {"samples": 400, "regions": "quickshift", "fill": "blur"}),
    ("kernel_shap", {"samples": 400, "regions": "cells(7, 7)", "fill": "gray"}),
    ("shapley_interactions", {"samples": 600, "regions": "slic(n=20)", "show": "own"}),
)
"""Other regions, other fills, and another view of interactions, beside the methods that hide."""
ON_TRANSFORMER: dict[str, dict[str, object]] = {"lrp": {"composite": "cp_lrp"}, "occlusion": SETTINGS["occlusion"]}
BUILT_IN = {name: cls for name, cls in CATALOGUE.items() if cls.__module__.startswith("pellucid.")}
FAMILIES = ("gradient", "path", "guided", "propagation", "cam", "perturbation", "internal", "combinator")


def named() -> dict[str, list[str]]:
    """The registry names in every picture, family by family."""
    of = {name: cls.about.family for name, cls in BUILT_IN.items() if name not in ELSEWHERE}
    order = {family: place for place, family in enumerate(FAMILIES)}
    shown = sorted((name for name in of if of[name] != TRANSFORMER), key=lambda name: order.get(of[name], len(order)))
    return {
        "gallery.jpg": [name for name in shown if of[name] != GAMES],
        "gallery_games.jpg": [name for name in shown if of[name] == GAMES],
        "gallery_transformers.jpg": [name for name in of if of[name] == TRANSFORMER],
    }


def drawn(names: list[str], more: tuple[tuple[str, dict[str, object]], ...] = ()) -> Image.Image:
    """Methods that the bundled model can be asked."""
    model, photos = pellucid.load("efficientnet_lite0"), pellucid.zoo.sample_photos()
    methods = [registry.make(name, how) for name, how in (*((n, SETTINGS.get(n, {})) for n in names), *more)]
    return picture(pellucid.panel(pellucid.explain(model, list(photos), methods), size=168, max_columns=8))


def drawn_by_hiding(names: list[str]) -> Image.Image:
    """Those that hide parts of the photo, with some variants."""
    return drawn(names, VARIANTS)


def drawn_on_transformer(names: list[str]) -> Image.Image:
    """The methods for transformers, and some others beside them."""
    photos = pellucid.zoo.sample_photos()
    methods = [registry.make(name, ON_TRANSFORMER.get(name, {})) for name in (*BESIDE, *names)]
    return picture(pellucid.panel(pellucid.explain(vision_transformer(), list(photos), methods), size=168))


def vision_transformer() -> TorchModel:
    """ViT-Ti/16 with six blocks instead of twelve; attention sharp enough to depend on what is seen."""
    import timm

    with torch.device("meta"):
        module = timm.create_model("vit_tiny_patch16_224", num_classes=10, depth=6)
    fill(module.to_empty(device="cpu").eval())
    preprocess = pellucid.Preprocess(resize=256, crop=224, mean=(0.5,), std=(0.5,))
    return pellucid.wrap(module, preprocess, name="A vision transformer with random weights", emits="logits")


@torch.no_grad()
def fill(module: nn.Module) -> None:
    """Weights from a local generator, of the size that keeps the spread of what goes through."""
    draw = torch.Generator().manual_seed(0)
    for name, p in module.named_parameters():
        if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")):
            p.fill_(1.0)
        elif p.ndim > 1 and "pos_embed" not in name:
            p.copy_(torch.randn(p.shape, generator=draw) * (2 / p[0].numel()) ** 0.5)
        else:
            p.copy_(torch.randn(p.shape, generator=draw) * 0.1)


def picture(figure: pellucid.Figure) -> Image.Image:
    """A figure as pixels, a little smaller."""
    whole = Image.open(BytesIO(figure.png())).convert("RGB")
    return whole.resize((whole.width * 3 // 5, whole.height * 3 // 5))


def in_picture(path: Path) -> list[str]:
    """The registry names of the methods in a picture."""
    with Image.open(path) as it:
        return str(it.info.get("comment", b""), "ascii").split()


def pictures(wanted: Sequence[str] = ()) -> Iterator[tuple[str, list[str], Image.Image]]:
    """Name, methods and picture of those that are wanted, or of each."""
    draw = dict(zip(named(), (drawn, drawn_by_hiding, drawn_on_transformer), strict=True))
    for path, names in named().items():
        if not wanted or path in wanted:
            yield path, names, draw[path](names)


def main(folder: str, *wanted: str) -> None:
    """Draw and write."""
    for path, names, made in pictures(wanted):
        kept = {"quality": 78, "optimize": True, "progressive": True, "comment": " ".join(names)}
        made.save(Path(folder) / path, "JPEG", **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
