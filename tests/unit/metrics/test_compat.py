"""Metrics as other libraries define them, against slow programs of those definitions; and how far they disagree."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

import pellucid
from pellucid import api, registry
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.measurements import Measurement
from pellucid.metrics import Deletion, FidelityCorrelation, Infidelity, MaxSensitivity
from pellucid.metrics.compat import PRESETS, UNSOUND, Preset, _reflected, preset, rise_blur
from pellucid.testing import tiny

from .planted import Linear, close, explained, random

ALL = [(peer, one) for peer, them in PRESETS.items() for one in them]


def as_peer(peer: str, metric: Any, module: nn.Module, x: Tensor, values: Tensor, **how: Any) -> Measurement:
    e = explained(module, x, values, how.pop("kind", Kind.SENSITIVITY), target=0)
    return api.measure(api.wrap(module), e, metric, inputs=x, compat=peer, **how)[0]


class Bowl(nn.Module):
    """Two classes of a smooth score, in the units that rows come in."""

    def __init__(self, side: int, seed: int = 3) -> None:
        super().__init__()
        self.w = nn.Parameter((random(3, side, side, seed=seed) - 0.4) * 24 / side**2)

    def forward(self, x: Tensor) -> Tensor:
        s = (x * self.w).flatten(1).sum(1) + 0.1 * (x * self.w).flatten(1).square().sum(1)
        return torch.stack([s, -s], 1)


# -- curves --------------------------------------------------------------------------------------------------------


def order(values: Tensor) -> NDArray[np.int64]:
    """Of the sums over the channels, the highest first."""
    return np.argsort(-values.sum(1).flatten(1).numpy(), axis=1, kind="stable")


def rise(module: nn.Module, x: Tensor, values: Tensor, mode: str, step: int) -> list[float]:
    """RISE's loop: start and finish, pixels copied `step` at a time, and the sum for the area."""
    found: list[float] = []
    for row, places in zip(x, order(values), strict=True):
        blur = rise_blur(row[None])[0]
        now, then = (row.clone(), torch.zeros_like(row)) if mode == "del" else (blur.clone(), row)
        scores: list[float] = []
        for k in range((places.size + step - 1) // step + 1):
            scores.append(float(torch.softmax(module(now[None]), 1)[0, 0].detach()))
            some = torch.from_numpy(places[step * k : step * (k + 1)])
            now.view(3, -1)[:, some] = then.reshape(3, -1)[:, some]
        found.append((sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1))
    return found


@pytest.mark.parametrize(("metric", "mode"), [("deletion", "del"), ("insertion", "ins")])
def test_rise(metric: str, mode: str) -> None:
    """224 steps; on 28 × 32 places they are of four each."""
    model, x, values = Bowl(28), random(2, 3, 28, 28, seed=1), random(2, 3, 28, 28, seed=2) - 0.5
    x, values = (one.repeat(1, 1, 1, 2)[..., :32] + 0.01 * random(2, 3, 28, 32, seed=4) for one in (x, values))
    model.w = nn.Parameter(random(3, 28, 32, seed=8) * 0.02 - 0.008)
    close(as_peer("rise", metric, model, x, values).values, rise(model, x, values, mode, 4), 1e-6)


def test_the_blur_of_rise_is_that_of_its_kernel() -> None:
    """RISE blurs a spot on 11 × 11 with scipy, and convolves with that."""
    ndimage = pytest.importorskip("scipy.ndimage")
    spot = np.zeros((11, 11))
    spot[5, 5] = 1
    kernel = torch.from_numpy(ndimage.gaussian_filter(spot, 5)).expand(3, 1, 11, 11)
    x = random(2, 3, 24, 20)
    wanted = torch.nn.functional.conv2d(x, kernel, padding=5, groups=3)
    close(rise_blur(x)[..., 5:-5, 5:-5], wanted[..., 5:-5, 5:-5], 1e-12)
    close(rise_blur(torch.ones(1, 3, 16, 16).double()), torch.ones(1, 3, 16, 16))


@pytest.mark.parametrize(("metric", "keep"), [("deletion", False), ("insertion", True)])
def test_xplique_curves_are_of_logits(metric: str, keep: bool) -> None:
    """Ten steps from the photo to zeros (or back), means of neighbours."""
    model, x, values = Bowl(10), random(3, 3, 10, 10, seed=1), random(3, 3, 10, 10, seed=2) - 0.5
    wanted: list[float] = []
    for row, places in zip(x, order(values), strict=True):
        scores: list[float] = []
        for k in np.linspace(0, 100, 11).astype(int):
            gone = torch.zeros(100, dtype=torch.bool)
            gone[torch.from_numpy(places[:k].copy())] = True
            hidden = ~gone if keep else gone
            scores.append(float(model(torch.where(hidden.view(10, 10), 0.0, row)[None])[0, 0].detach()))
        both = np.asarray(scores[:-1]) + np.asarray(scores[1:])
        wanted.append(float(both.mean() / 2))
    close(as_peer("xplique", metric, model, x, values).values, wanted, 1e-6)


def test_deletion_of_logits_and_of_probabilities_disagree() -> None:
    """−3.16 against 0.03 for the same map. An area of logits has no bounds, and no zero."""
    model, x = Bowl(10), random(3, 3, 10, 10, seed=1)
    low = nn.Sequential(model, Shift(-40.0))
    values = model.w.detach().expand(3, -1, -1, -1)
    logits, shares = (as_peer(peer, "deletion", low, x, values).values for peer in ("xplique", "rise"))
    assert max(logits) < -20 and all(0 <= v <= 1 for v in shares)
    same = as_peer("rise", "deletion", model, x, values).values
    close(shares, same, 1e-6)  # adding a constant to all logits changes no probability


class Shift(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


# -- correlations ---------------------------------------------------------------------------------------------------


def test_mu_fidelity() -> None:
    """Each cell of 9 × 9 by its own coin; Spearman's correlation of what is hidden with the fall of the logit."""
    from pellucid.ops.subsets import coins

    model, x, values = Bowl(18), random(2, 3, 18, 18, seed=1), random(2, 3, 18, 18, seed=2) - 0.5
    hidden = coins(81, torch.tensor([0.2]), 200, 0).view(200, 9, 9)
    assert 0.15 < float(hidden.double().mean()) < 0.25 and len(set(hidden.sum((1, 2)).tolist())) > 5
    masks = hidden.repeat_interleave(2, 1).repeat_interleave(2, 2)
    wanted: list[float] = []
    for row, a in zip(x, values.sum(1), strict=True):
        fall = (model(row[None])[0, 0] - model(torch.where(masks[:, None], 0.0, row))[:, 0]).detach()
        wanted.append(float(np.asarray(spearmanr((a * masks).sum((1, 2)).numpy(), fall.numpy()))[0]))
    close(as_peer("xplique", "fidelity_correlation", model, x, values).values, wanted, 1e-6)


def test_subsets_of_several_sizes_praise_a_map_for_its_sign() -> None:
    """0.87 against 0.50 for one map: how many parts are gone is no news where all evidence is positive."""
    model, x = Linear(random(1, 18, 18, seed=3) + 0.5), random(6, 1, 18, 18, seed=1) + 0.5
    values = random(6, 1, 18, 18, seed=9) + 0.5
    theirs = as_peer("xplique", "fidelity_correlation", model, x, values, kind=Kind.CONTRIBUTION)
    e = explained(model, x, values, Kind.CONTRIBUTION)
    one_size = FidelityCorrelation(regions=pellucid.regions.Cells(9, 9), fill="zero", correlation="spearman")
    ours = api.measure(api.wrap(model), e, [one_size], inputs=x)[0]
    assert theirs.mean > 0.9 and abs(ours.mean) < 0.5


# -- numbers of the map alone ------------------------------------------------------------------------------------------


def gini(a: NDArray[np.float64]) -> float:
    a = np.sort(np.abs(a).ravel())
    n = len(a)
    return float(((2 * np.arange(1, n + 1) - n - 1) * a).sum() / (n * a.sum()))


def entropy(a: NDArray[np.float64]) -> float:
    p = np.abs(a).ravel() / np.abs(a).sum()
    return float(-(p * np.log(p)).sum())


@pytest.mark.parametrize(("metric", "by_hand"), [("sparseness", gini), ("entropy", entropy)])
def test_channels_by_themselves_or_by_the_place(metric: str, by_hand: Any) -> None:
    """0.432 and 0.281 for the same map of three channels, 0.417 both for its sum; 6.33 and 5.42."""
    model, x = Bowl(8), random(3, 3, 8, 8, seed=1)
    values = random(3, 3, 8, 8, seed=2) - 0.5
    quantus, xplique = (as_peer(peer, metric, model, x, values).values for peer in ("quantus", "xplique"))
    close(quantus, [by_hand(a) for a in values.numpy()])
    close(xplique, [by_hand(a) for a in values.abs().mean(1).numpy()])
    assert all(a > b + 0.1 for a, b in zip(quantus, xplique, strict=True))
    both = [as_peer(peer, metric, model, x, values.sum(1)).values for peer in ("quantus", "xplique")]
    close(both[0], both[1])


def test_a_map_of_zeros_or_with_a_nan_has_no_value_whoever_defines_it() -> None:
    """an error, −1.0039, 0 or a perfect score there; and one NaN may spoil all rows, or none."""
    model, x, values = Bowl(9), random(3, 3, 9, 9, seed=1), random(3, 3, 9, 9, seed=2) - 0.5
    values[0], values[1, 0, 3, 3] = 0, torch.nan
    masks = torch.zeros(3, 9, 9, dtype=torch.bool)
    masks[:, :4] = True
    clean = values.clone()
    clean[:2] = random(2, 3, 9, 9, seed=4)
    for peer, one in ALL:
        if one.metric in ("max_sensitivity", "avg_sensitivity"):
            continue  # these explain again: what they judge is no map made by hand
        how: dict[str, Any] = {"masks": masks} if "mask" in registry.find_metric(one.metric).about.wants else {}
        metric = one.metric if one.metric != "top_k_intersection" else registry.make_metric(one.metric, {"top": 10})
        got = as_peer(peer, metric, model, x, values, **how)
        assert got.reasons[:2] == ("the map is zero", "the map is not finite"), one
        whole = as_peer(peer, metric, model, x, clean, **how)
        close(got.values[2], whole.values[2])


# -- perturbations -----------------------------------------------------------------------------------------------------


def test_infidelity_is_captums_raw_one() -> None:
    captum = pytest.importorskip("captum.metrics")
    model = tiny.make("smooth")
    noise, values = 0.1 * random(10, 3, 8, 8, seed=2), random(3, 3, 8, 8, seed=3)

    def ours(x: Tensor) -> tuple[Tensor, Tensor]:
        return noise, x - noise

    def theirs(x: Tensor) -> tuple[Tensor, Tensor]:
        many = noise.repeat(len(x) // 10, 1, 1, 1)
        return many, x - many

    mine = Infidelity(perturb=ours, samples=10, scaled=False)
    wanted = captum.infidelity(model.module, theirs, model.x, values, target=0)  # with Captum's defaults
    got = as_peer("captum", mine, model.module, model.x, values)
    close(got.values, wanted.detach())
    scaled = api.measure(
        api.wrap(model.module),
        explained(model.module, model.x, values, Kind.SENSITIVITY),
        [Infidelity(perturb=ours, samples=10)],
        inputs=model.x,
        output="logit",
    )[0]
    assert all(a <= b for a, b in zip(scaled.values, got.values, strict=True))
    close(scaled.extras["raw"], got.values)


def test_defaults_of_max_sensitivity_disagree_tenfold() -> None:
    """0.022 … 0.145 against 0.198 … 0.254, for a radius ten times as large."""
    model = tiny.make("smooth")
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient"], target=[0])
    captum, quantus = (
        api.measure(handle, e, "max_sensitivity", inputs=model.x, compat=peer)[0] for peer in ("captum", "quantus")
    )
    assert (captum.params["radius"], quantus.params["radius"]) == (0.02, 0.2)
    assert all(3 * a < b for a, b in zip(captum.values, quantus.values, strict=True))
    aligned = MaxSensitivity(samples=200, radius=0.02, radius_of="units")
    same = api.measure(handle, e, [aligned], inputs=model.x)[0]
    assert all(a <= b * 1.0001 and b < 1.6 * a for a, b in zip(captum.values, same.values, strict=True))


def test_a_radius_in_units_of_the_model_does_not_depend_on_the_photo() -> None:
    x = tiny.make("smooth").x
    handle = api.wrap(tiny.make("smooth").module)
    e = api.explain(handle, x, ["gradient"], target=[0])
    span = float(x[0].max() - x[0].min())
    a = api.measure(handle, e, [MaxSensitivity(radius=0.1, samples=8)], inputs=x)[0]
    b = api.measure(handle, e, [MaxSensitivity(radius=0.1 * span, radius_of="units", samples=8)], inputs=x)[0]
    assert a.values[0] == pytest.approx(b.values[0], rel=1e-5)


# -- the list ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "one"), ALL, ids=[f"{peer}-{one.metric}" for peer, one in ALL])
def test_every_preset_can_be_made(peer: str, one: Preset) -> None:
    [(made, output)] = registry.compatible(one.metric, peer)
    assert made.about.name == one.metric and output == one.output
    assert all(getattr(made, name) == value for name, value in one.params.items())


def test_what_is_not_sound_there_is_refused_with_the_reason() -> None:
    for peer, them in UNSOUND.items():
        for metric, why in them.items():
            registry.find_metric(metric)
            with pytest.raises(ParameterError, match=re.escape(why)):
                registry.compatible(metric, peer)
    with pytest.raises(ParameterError, match="perhaps 'captum'"):
        registry.compatible("deletion", "captmu")
    with pytest.raises(ParameterError, match="one of deletion, insertion"):
        registry.compatible(["deletion", "iou"], "rise")


def test_instances_keep_their_parameters_and_output_is_the_callers_word() -> None:
    model, x, values = Bowl(8), random(1, 3, 8, 8, seed=1), random(1, 3, 8, 8, seed=2)
    got = as_peer("xplique", Deletion(steps=4), model, x, values)
    assert got.params["steps"] == 4 and got.output == "logit"
    assert as_peer("xplique", "deletion", model, x, values, output="probability").output == "probability"
    assert "compat" in inspect.signature(pellucid.measure).parameters


def test_rise_blurs_with_a_spot_that_its_frame_reflects() -> None:
    """The spot as SciPy makes it, which is how RISE does."""
    from scipy.ndimage import gaussian_filter1d

    for size, sigma in ((11, 5.0), (5, 1.0), (3, 2.0)):
        spot = np.zeros(size)
        spot[size // 2] = 1
        got = _reflected(size, sigma).numpy()
        np.testing.assert_allclose(
            got, gaussian_filter1d(spot, sigma) / gaussian_filter1d(spot, sigma).sum(), atol=1e-9
        )


@pytest.mark.peers
def test_captum_draws_as_often_and_as_far_as_its_signatures_say() -> None:

    theirs = pytest.importorskip("captum.metrics")
    for ours, name in (("infidelity", "infidelity"), ("max_sensitivity", "sensitivity_max")):
        params, told = preset("captum", ours).params, inspect.signature(getattr(theirs, name)).parameters
        assert params["samples"] == told["n_perturb_samples"].default
        if "perturb_radius" in told:
            assert params["radius"] == told["perturb_radius"].default
