"""Metrics that a peer has too: the same maps, the same masks, the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tests.unit.metrics.planted import Corner, explained, random
from torch import Tensor

import pellucid
from pellucid import api
from pellucid.core.explanation import Kind
from pellucid.metrics import Infidelity
from pellucid.ops.nearby import Near
from pellucid.testing import tiny

TOLERANCE = 1e-6
X = random(6, 1, 40, 40, seed=1)
MAPS = random(6, 40, 40, seed=2)
MASKS = random(6, 40, 40, seed=3) < 0.5
COLOURED = random(6, 3, 40, 40, seed=4) - 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """metric: ours, with `compat=` the peer; theirs: the peer's values, one per map; ours: those of other maps."""

    metric: str
    peer: str
    theirs: Callable[[], Any]
    coloured: bool = False
    ours: Callable[[], Any] | None = None

    def __str__(self) -> str:
        return f"{self.peer}: {self.metric}"

    @property
    def maps(self) -> str:
        if self.ours is not None:
            return "of a smooth net"
        return "in colour" if self.coloured else "grey"

    @property
    def there(self) -> bool:
        return find_spec(self.peer.lower()) is not None

    def apart(self) -> float:
        """The largest difference of any row, relative to the largest value."""
        ours, theirs = (np.asarray(one, dtype=np.float64) for one in (self.values(), self.theirs()))
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    def values(self) -> Any:
        """Ours, one per map."""
        if self.ours is not None:
            return self.ours()
        maps, x = (COLOURED, X.expand(-1, 3, -1, -1)) if self.coloured else (MAPS, X)
        e = explained(Corner(), x, maps, Kind.CONTRIBUTION)
        masks = MASKS if "mask" in pellucid.registry.find_metric(self.metric).about.wants else None
        return api.measure(api.wrap(Corner()), e, self.metric, inputs=x, masks=masks, compat=self.peer.lower())[
            0
        ].values


def quantus(name: str, maps: Tensor = MAPS, masks: bool = True, **params: Any) -> Callable[[], Any]:
    """A metric of Quantus that looks at maps (and masks) alone."""

    def run() -> Any:
        import quantus as peer  # pyright: ignore[reportMissingImports] - not among the extras

        quiet: dict[str, Any] = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
        made = getattr(peer, name)(normalise=False, **quiet, **params)
        a: NDArray[np.float64] = (maps if maps.ndim == 4 else maps[:, None]).numpy().copy()
        x = np.zeros(a.shape)
        s = {"s_batch": MASKS[:, None].numpy()} if masks else {}
        return made(model=torch.nn.Identity(), x_batch=x, y_batch=np.zeros(len(a), int), a_batch=a, **s)

    return run


# -- Captum: what it perturbs is ours, or ours is what it perturbs -----------------------------------------------------

NET = tiny.make("smooth")
DRAWS = 10
NOISE = 0.1 * random(DRAWS, *NET.x.shape[1:], seed=2)


def judged(metric: Any, **how: Any) -> Any:
    """Of the gradient of class 0, as Captum defines it."""
    handle = api.wrap(NET.module)
    e = api.explain(handle, NET.x, ["gradient"], target=0, output="logit")
    return api.measure(handle, e, metric, inputs=NET.x, compat="captum", **how)[0].values


def captum() -> Any:
    import captum.metrics

    return captum.metrics


def slope(rows: Any) -> tuple[Tensor, ...]:
    """The gradient of class 0."""
    leaf = (rows[0] if isinstance(rows, tuple) else rows).detach().clone().requires_grad_()
    with torch.enable_grad():
        return (torch.autograd.grad(NET.module(leaf)[:, 0].sum(), leaf)[0].contiguous(),)


def infidelity() -> Any:
    def moved(x: Tensor) -> tuple[Tensor, Tensor]:
        many = NOISE.repeat(len(x) // DRAWS, 1, 1, 1)
        return many, x - many

    return captum().infidelity(NET.module, moved, NET.x, slope(NET.x)[0], target=0).detach()


def max_sensitivity() -> Any:
    near = Near(NET.x, torch.full_like(NET.x, 0.02), DRAWS, 0)

    def moved(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.cat([near.rows(k, k + 1, b, b + 1) for b in range(len(NET.x)) for k in range(1, DRAWS + 1)]),)

    return captum().sensitivity_max(slope, NET.x, perturb_func=moved, n_perturb_samples=DRAWS).detach()


COMPARED = (
    Judged(
        "infidelity",
        "Captum",
        infidelity,
        ours=lambda: judged(Infidelity(perturb=lambda x: (NOISE, x - NOISE), samples=DRAWS, scaled=False)),
    ),
    Judged("max_sensitivity", "Captum", max_sensitivity, ours=lambda: judged("max_sensitivity")),
    Judged("pointing_game", "Quantus", quantus("PointingGame")),
    Judged("relevance_mass", "Quantus", quantus("RelevanceMassAccuracy")),
    Judged("relevance_rank", "Quantus", quantus("RelevanceRankAccuracy")),
    Judged("top_k_intersection", "Quantus", quantus("TopKIntersection", k=1000)),
    Judged("localisation_auc", "Quantus", quantus("AUC")),
    Judged("sparseness", "Quantus", quantus("Sparseness", masks=False)),
    Judged("sparseness", "Quantus", quantus("Sparseness", COLOURED.abs(), False), coloured=True),
    Judged("entropy", "Quantus", quantus("Complexity", masks=False)),
    Judged("entropy", "Quantus", quantus("Complexity", COLOURED.abs(), False), coloured=True),
)


def every() -> Iterator[Judged]:
    """Those whose peer is installed."""
    return (one for one in COMPARED if one.there)
