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

TOLERANCE = 1e-6
X = random(6, 1, 40, 40, seed=1)
MAPS = random(6, 40, 40, seed=2)
MASKS = random(6, 40, 40, seed=3) < 0.3
COLOURED = random(6, 3, 40, 40, seed=4) - 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """metric: ours, with `compat=` the peer; theirs: the peer's values, one per map."""

    metric: str
    peer: str
    theirs: Callable[[], Any]
    coloured: bool = False

    def __str__(self) -> str:
        return f"{self.peer}: {self.metric}"

    @property
    def there(self) -> bool:
        return find_spec(self.peer.lower()) is not None

    def apart(self) -> float:
        """The largest difference of any row."""
        maps, x = (COLOURED, X.expand(-1, 3, -1, -1)) if self.coloured else (MAPS, X)
        e = explained(Corner(), x, maps, Kind.CONTRIBUTION)
        masks = MASKS if "mask" in pellucid.registry.find_metric(self.metric).about.wants else None
        got = api.measure(api.wrap(Corner()), e, self.metric, inputs=x, masks=masks, compat=self.peer.lower())[0]
        return float(np.abs(np.asarray(got.values) - np.asarray(self.theirs(), dtype=np.float64)).max())


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


COMPARED = (
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
