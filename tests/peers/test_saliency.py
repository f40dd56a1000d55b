"""Guided IG and XRAI against the programs of their authors, for those who have the package `saliency` installed.

Its Guided IG asks numpy for an argument that numpy 2.4 no longer has; here it gets it under the new name. It takes the
gradient at the start of every step (`rule="left"`). Its Blur IG pads pictures with black and differs by that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.unit.models import Convnet, net, pictures

from pellucid.api import explain
from pellucid.methods import xrai
from pellucid.methods.guided_ig import GuidedIG

saliency = pytest.importorskip("saliency.core")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(("steps", "fraction", "reach"), [(20, 0.25, 0.02), (10, 0.5, 0.5), (10, 0.1, 1.0)])
def test_guided_ig(steps: int, fraction: float, reach: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, quantile = net(Convnet()), pictures(2), np.quantile

    def answer(rows: Any, call_model_args: Any = None, expected_keys: Any = None) -> dict[str, Any]:
        leaf = torch.tensor(np.asarray(rows), dtype=torch.float64).requires_grad_()
        return {saliency.INPUT_OUTPUT_GRADIENTS: torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)[0].numpy()}

    monkeypatch.setattr(np, "quantile", lambda a, q, interpolation: quantile(a, q, method=interpolation))
    method = GuidedIG(steps=steps, fraction=fraction, max_dist=reach, rule="left")
    ours = explain(model, x, method, target=1)[0].values.numpy()
    for row, got in zip(x.numpy(), ours, strict=True):
        theirs = saliency.GuidedIG().GetMask(row, answer, x_steps=steps, fraction=fraction, max_dist=reach)
        assert np.abs(theirs - got).max() < 1e-12 * np.abs(theirs).max()


def test_the_order_of_xrai(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same segments, grown by us, and the same attributions."""
    draw = torch.Generator().manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 10, 12, generator=draw), size=(96, 120), mode="bicubic")[0]
    parts, cell = xrai._parts(picture, (50.0, 250.0, 1200.0), 5.0)
    a = np.random.default_rng(0).normal(size=cell.shape) + np.linspace(-1, 1, cell.shape[1])
    monkeypatch.setattr(xrai, "SLIVER", 50 * xrai.SIDE**2 / cell.size)  # theirs does not scale with the picture
    values, _ = xrai._taken(torch.from_numpy(a), parts, cell)
    theirs = saliency.XRAI().GetMask(
        np.moveaxis(picture.numpy(), 0, -1),
        None,
        segments=[part.reshape(cell.shape) for part in parts],
        base_attribution=np.repeat(a[..., None], 3, -1),
    )
    torch.testing.assert_close(values, torch.from_numpy(np.squeeze(theirs)).to(values), rtol=1e-6, atol=1e-6)
