"""Is an explanation judged by the questions that it was made of?

A method that hides parts was fitted to what the model says of rows whose hidden places show its fill; a metric that
hides parts asks about such rows again. Random draws are never the same, for a metric's seed is its own; but what goes
one part at a time, or all subsets of a few parts, is asked by both. Rows of different fills are never the same,
whatever is hidden: that is what is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import References
from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.method import jsonable
from pellucid.core.metric import Metric
from pellucid.metrics.flipping import negative
from pellucid.ops.controls import CONTROLS

USUAL: dict[str, Any] = {
    "insertion": "blur",
    "average_drop": "black",
    "average_increase": "black",
    "average_gain": "black",
    "pixel_flipping": negative,
}
"""What hidden places of pictures show in metrics that say `auto`, where it is not the photo's mean colour."""


def in_sample(e: Explanation, metric: Metric, x: Tensor, references: References) -> bool:
    """Whether hidden places show the same when this metric asks as when the explanation was made.

    Where it cannot be told, as for tensors that a record does not keep, it counts as the same. Never for methods that
    hide nothing.
    """
    if e.record.method in CONTROLS:
        return False
    theirs, ours = list(_fills(e.record.params)), list(_shown(metric, x))
    return any(_same(a, b, x, references) for a in theirs for b in ours)


def _fills(params: Mapping[str, Any]) -> Iterator[Any]:
    """What the method shows in hidden places; a method around another one hides what that hides."""
    for name, value in params.items():
        if name == "fill":
            yield value
        elif isinstance(value, Mapping) and "method" in value:
            yield from _fills(value)


def _shown(metric: Metric, x: Tensor) -> Iterator[Any]:
    for name in ("fill", "canvas"):
        given: Any = getattr(metric, name, None)
        if given is not None:
            usual = "blur" if name == "canvas" else USUAL.get(metric.about.name, "mean")
            auto = isinstance(given, str) and given == "auto"
            yield (usual if x.ndim == 4 else "zero") if auto else given


def _same(theirs: Any, ours: Any, x: Tensor, references: References) -> bool:
    if theirs == jsonable(ours):
        return True
    if theirs in ("region_mean", "drop") or (theirs == "auto" and x.ndim == 4):
        return False  # every region its own colour, or no tokens: no metric has that
    if not isinstance(theirs, (str, int, float)):
        return True
    try:
        return torch.allclose(references.baseline(theirs), references.baseline(ours))
    except PellucidError:  # a function's name, a background of rows
        return True
