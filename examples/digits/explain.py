"""Why the classifier reads a digit as it does: six methods on some digits, and one tree for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pellucid
from examples.digits.data import Digits
from examples.digits.model import LAST, Classifier
from pellucid.preprocess import Table
from pellucid.studies.surrogate import Surrogate

STROKES = "quickshift(kernel_size=1, max_dist=5, ratio=0.2)"
"""Regions as the digits project cuts them: small enough to follow a stroke."""
NAMES = [f"{digit}" for digit in range(10)]


def methods(training: Digits, samples: int = 1000, backgrounds: int = 40) -> list[Any]:
    """LRP, LIME, SHAP in its deep and its kernel form, Grad-CAM, integrated gradients.

    A stroke that is hidden shows paper: with the mean of its region, the usual fill, nothing of it would be hidden.

    samples      coalitions of LIME and of Kernel SHAP
    backgrounds  digits that deep SHAP compares with
    """
    others = torch.from_numpy(training.pictures[:backgrounds]).movedim(-1, 1)
    return [
        pellucid.LRP(composite="epsilon_plus"),
        pellucid.IntegratedGradients(steps=32, baseline="black"),
        pellucid.DeepLiftShap(baselines=others),
        pellucid.LIME(regions=STROKES, samples=samples, fill="black"),
        pellucid.KernelSHAP(regions=STROKES, samples=samples, fill="black"),
        pellucid.GradCAM(at=LAST),
    ]


def chosen(classifier: Classifier, held_out: Digits, digits: Sequence[int]) -> list[int]:
    """For every digit asked, the place of the first one that is read right; behind them the first read wrongly."""
    said = classifier.predict_proba(held_out.pictures).argmax(1)
    right = said == held_out.labels
    places = [int(np.flatnonzero(right & (held_out.labels == digit))[0]) for digit in digits]
    return [*places, *(int(place) for place in np.flatnonzero(~right)[:1])]


def explained(
    classifier: Classifier, held_out: Digits, places: Sequence[int], how: Sequence[Any]
) -> pellucid.Explanations:
    """Every method on every digit, for the class that the net says."""
    handle = pellucid.wrap(classifier.net, pellucid.Preprocess(), labels=NAMES, name="digits")
    photos = [
        pellucid.images.read(held_out.pictures[place], name=f"a {held_out.labels[place]}, held-out digit {place}")
        for place in places
    ]
    return pellucid.explain(handle, photos, list(how))


def surrogate(classifier: Classifier, digits: Digits, depth: int = 5) -> Surrogate:
    """A tree of questions about single pixels that says what the net says, as far as it does: see its fidelity."""
    flat = digits.pictures[..., 0].reshape(len(digits.labels), -1)

    def scores(table: NDArray[Any]) -> NDArray[np.float32]:
        grey = np.asarray(table, np.float32).reshape(-1, 28, 28, 1)
        return classifier.predict_proba(np.repeat(grey, 3, axis=3))

    names = [f"ink {row}·{column}" for row in range(28) for column in range(28)]
    model = pellucid.wrap(scores, Table.of(flat, names=names), labels=NAMES, name="digits")
    return pellucid.surrogate(model, flat, kind="tree", depth=depth, leaf=10)
