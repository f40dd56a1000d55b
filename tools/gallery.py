"""`python -m tools.gallery docs/gallery.jpg`: every method on the two photos of the demo, in one figure.

Methods for transformers are left out: no vision transformer with real weights comes by pip, and maps of random weights
show nothing. So are the combinators, which need another method inside.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

import pellucid
from pellucid import registry
from pellucid.core.method import CATALOGUE

LEFT_OUT = ("transformer", "combinator")
SETTINGS: dict[str, dict[str, object]] = {
    "integrated_gradients": {"baseline": "blur"},
    "crp": {"top": 1},
    "occlusion": {"window": 48, "stride": 22},
    "score_cam": {"channels": 256},
    "lime": {"samples": 400},
    "kernel_shap": {"samples": 400},
    "banzhaf": {"samples": 400},
    "permutation_shap": {"samples": 8},
    "rise": {"samples": 1000},
    "sobol_attribution": {"samples": 8},
    "hsic_attribution": {"samples": 300},
    "conductance": {"at": "_blocks.10"},
    "internal_influence": {"at": "_blocks.10"},
}
"""Where the figure shows something else than the defaults."""
FAMILIES = ("gradient", "path", "guided", "propagation", "cam", "perturbation", "internal")


def shown() -> list[object]:
    """Every method that the bundled model can be asked, family by family."""
    named = [name for name, cls in CATALOGUE.items() if cls.about.family not in LEFT_OUT]
    order = {family: place for place, family in enumerate(FAMILIES)}
    named.sort(key=lambda name: order.get(CATALOGUE[name].about.family, len(order)))
    return [registry.make(name, SETTINGS.get(name, {})) for name in named]


def main(path: str) -> None:
    """Draw and write."""
    model, photos = pellucid.load("efficientnet_lite0"), pellucid.zoo.sample_photos()
    got = pellucid.explain(model, list(photos), shown())
    picture = Image.open(BytesIO(pellucid.panel(got, size=168, max_columns=8).png())).convert("RGB")
    smaller = picture.resize((picture.width * 3 // 5, picture.height * 3 // 5))
    smaller.save(Path(path), "JPEG", quality=82, optimize=True, progressive=True)


if __name__ == "__main__":
    main(sys.argv[1])
