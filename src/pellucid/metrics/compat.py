"""Metrics as other libraries define them: our metric with their parameters, where theirs is sound.

Where theirs is not, there is the reason instead. What is left of a difference stands with each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import ParameterError, nearest
from pellucid.core.target import Output
from pellucid.regions.cells import Cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A metric of another library in our words.

    metric   ours
    theirs   what it is called there
    params   of ours
    output   the number of the model that is looked at; None for that of our metric
    differs  what is not the same even so
    """

    metric: str
    theirs: str
    params: Mapping[str, Any] = field(default_factory=dict)
    output: Output | None = None
    differs: str = ""


def rise_blur(pixels: Tensor) -> Tensor:
    """The substrate of RISE's insertion: 11 × 11, a spot blurred by σ = 5 that its frame reflects; edges repeat."""
    kernel = _reflected(11, 5.0).to(pixels)
    for axis in (-2, -1):
        shape, pad = [1, 1, 1, 1], [0, 0, 0, 0]
        shape[axis] = len(kernel)
        pad[0 if axis == -1 else 2] = pad[1 if axis == -1 else 3] = len(kernel) // 2
        weight = kernel.view(shape).expand(pixels.shape[1], 1, *shape[2:])
        pixels = F.conv2d(F.pad(pixels, pad, mode="replicate"), weight, groups=pixels.shape[1])
    return pixels


def _reflected(size: int, sigma: float) -> Tensor:
    """A Gaussian around the middle of `size` places, folded back at both ends; sums to 1."""
    found = [0.0] * size
    for off in range(-int(4 * sigma), int(4 * sigma) + 1):
        at = (size // 2 + off) % (2 * size)
        found[at if at < size else 2 * size - 1 - at] += math.exp(-((off / sigma) ** 2) / 2)
    return torch.tensor(found, dtype=torch.float64) / math.fsum(found)


_CURVE: dict[str, Any] = {"steps": 10, "fill": "zero", "reduce": "sum"}
_ROUNDED = "the number of places in a step is rounded down there, and all steps count alike"
_TIES = "equal values go in an order drawn from the seed, and not by their place"

PRESETS: dict[str, tuple[Preset, ...]] = {
    "captum": (
        Preset(
            metric="infidelity",
            theirs="infidelity",
            params={"samples": 10, "scaled": False},
            output="logit",
            differs="Captum has no perturbation of its own: give `perturb`, else squares are hidden",
        ),
        Preset(
            metric="max_sensitivity",
            theirs="sensitivity_max",
            params={"samples": 10, "radius": 0.02, "radius_of": "units"},
            differs="other draws; a map of zeros has no value here, and the best one there",
        ),
    ),
    "rise": (
        Preset(
            metric="deletion",
            theirs="CausalMetric('del')",
            params={"steps": 224, "fill": "zero", "reduce": "sum"},
            output="probability",
            differs=_TIES,
        ),
        Preset(
            metric="insertion",
            theirs="CausalMetric('ins')",
            params={"steps": 224, "fill": rise_blur, "reduce": "sum"},
            output="probability",
            differs=f"{_TIES}; the blurred photo's outermost five pixels, which RISE lets fade to zero",
        ),
    ),
    "xplique": (
        Preset(metric="deletion", theirs="Deletion", params=_CURVE, output="logit", differs=_ROUNDED),
        Preset(metric="insertion", theirs="Insertion", params=_CURVE, output="logit", differs=_ROUNDED),
        Preset(
            metric="fidelity_correlation",
            theirs="MuFidelity",
            params={
                "samples": 200,
                "hidden": 0.2,
                "sets": "own",
                "correlation": "spearman",
                "regions": Cells(9, 9),
                "fill": "zero",
                "reduce": "sum",
            },
            output="logit",
            differs="other draws; where the score does not move there is no value here, and 0 there",
        ),
        Preset(
            metric="sparseness", theirs="Sparseness", params={"reduce": "abs"}, differs="a map of zeros is −1 there"
        ),
        Preset(metric="entropy", theirs="Complexity", params={"reduce": "abs"}, differs="a map of zeros is 0 there"),
    ),
    "quantus": (
        Preset(metric="sparseness", theirs="Sparseness", params={"reduce": "each"}),
        Preset(metric="entropy", theirs="Complexity", params={"reduce": "each"}, differs="no NaN for negative values"),
        Preset(
            metric="max_sensitivity",
            theirs="MaxSensitivity",
            params={"samples": 200, "radius": 0.2, "radius_of": "units"},
            differs="other draws",
        ),
        Preset(
            metric="avg_sensitivity",
            theirs="AvgSensitivity",
            params={"samples": 200, "radius": 0.2, "radius_of": "units"},
            differs="other draws",
        ),
        Preset(
            metric="pointing_game",
            theirs="PointingGame",
            params={"within": 0, "reduce": "sum"},
            differs="of several highest places the share that hits; an empty mask has no value",
        ),
        Preset(
            metric="relevance_mass",
            theirs="RelevanceMassAccuracy",
            params={"reduce": "sum"},
            differs="negative values count as none; there they cancel positive ones",
        ),
        Preset(metric="relevance_rank", theirs="RelevanceRankAccuracy", params={"reduce": "sum"}, differs=_TIES),
        Preset(
            metric="top_k_intersection",
            theirs="TopKIntersection",
            params={"top": 1000, "reduce": "sum"},
            differs=_TIES,
        ),
        Preset(metric="localisation_auc", theirs="AUC", params={"reduce": "sum"}),
    ),
}

_FEATURES = "its features are single channels of pixels; here a place goes with all its channels"
UNSOUND: dict[str, dict[str, str]] = {
    "captum": {},
    "rise": {},
    "xplique": {
        "avg_sensitivity": "AverageStability adds noise of one sign only, and is not relative to the map's size",
        "parameter_randomisation": "weights are drawn from [0, 1), variances of norms among them",
    },
    "quantus": {
        "infidelity": "squares pile up over the steps, and all ten draws are the same",
        "monotonicity": "it replaces the baseline by the baseline: every map is monotone",
        "sensitivity_n": "it correlates images instead of subsets, and reads the first batch alone",
        "road": "it reads the first batch alone, and fails for colour",
        "irof": "it fails for colour, and divides by a mean over the whole batch",
        "sufficiency": "its score depends on the size of the batch",
        "completeness_gap": "Completeness compares floats with ==",
        "attribution_localisation": "its weight is that of the batch axis",
        "random_logit": "it counts 1000 classes, and compares maps as one line of numbers",
        "effective_complexity": "maps are scaled by the largest value of the whole batch",
        "pixel_flipping": f"{_FEATURES}; its area is not relative to the number of steps",
        "fidelity_correlation": _FEATURES,
    },
}


def preset(peer: str, metric: str) -> Preset:
    """A metric by our registry name, as `peer` defines it.

    Raises ParameterError for unknown peers, and with the reason where the peer has none, or none that is sound.
    """
    known = PRESETS.get(peer.strip().lower())
    if known is None:
        near = nearest(peer, PRESETS)
        raise ParameterError(f"compat={peer!r}", f"one of {', '.join(PRESETS)}", f"perhaps {near}" if near else "")
    name = peer.strip().lower()
    for one in known:
        if one.metric == metric:
            return one
    why = UNSOUND[name].get(metric)
    has = f"one of {', '.join(one.metric for one in known)}"
    if why:
        raise ParameterError(
            f"{metric} as {name} has it, which is not sound: {why}", has, "measure ours, without compat"
        )
    raise ParameterError(f"{metric} as {name} has it", has)
