"""What holds for every metric, whoever wrote it: found by the registry, tried on a planted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid import api, registry
from pellucid.core.explanation import Kind
from pellucid.core.measurements import Measurement
from pellucid.core.metric import Metric
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.ops.controls import centre, edges

from .planted import Corners, close, pictures, random

SIDE = 8
X = pictures(3, side=SIDE)
SMALL = {"samples": 48, "steps": 4}
"""So that all are quick."""
MASKS = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
MASKS[:, :2, :2] = True


def quick(name: str) -> Metric:
    cls = registry.find_metric(name)
    return cls(**{f.name: SMALL[f.name] for f in fields(cls) if f.name in SMALL})


def kind_of(name: str) -> Kind:
    return next(k for k in (Kind.CONTRIBUTION, Kind.SENSITIVITY) if k in registry.find_metric(name).about.kinds)


def judged(name: str, x: Tensor, values: Tensor | None, masks: Tensor, rows: Any = "auto") -> Measurement:
    """One metric of SmoothGrad's map, or of other numbers in its place where the metric takes any."""
    handle = api.wrap(Corners(), rows=rows)
    e = api.explain(handle, x, SmoothGrad(samples=3, spread=0.1), target=0)[0]
    e = replace(e, kind=kind_of(name))
    again = "method" in registry.find_metric(name).about.wants
    e = e if values is None or again else replace(e, values=values, std_error=None)
    other = replace(e, values=random(1, *e.values.shape[1:], seed=99).expand_as(e.values))  # to compare with
    return api.measure(handle, [e, other], [quick(name)], inputs=x, masks=masks).sel(place=0)[0]


@pytest.fixture(params=registry.metrics())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_rows_chunks_and_order_do_not_matter(name: str) -> None:
    values = random(3, 3, SIDE, SIDE, seed=11) - 0.4
    whole = judged(name, X, values, MASKS)
    back = judged(name, X.flip(0), values.flip(0), MASKS.flip(0))
    close(back.values[::-1], whole.values, 1e-6)
    alone = [judged(name, X[i : i + 1], values[i : i + 1], MASKS[i : i + 1]) for i in range(3)]
    close([v for m in alone for v in m.values], whole.values, 1e-6)
    close(judged(name, X, values, MASKS, rows=2).values, whole.values, 1e-6)
    scaled = values * torch.tensor([1e3, 1.0, 1.0]).double().view(-1, 1, 1, 1)
    close(judged(name, X, scaled, MASKS).values[1:], whole.values[1:], 1e-6)


def test_values_are_in_the_declared_range_with_reasons_elsewhere(name: str) -> None:
    got = judged(name, X, random(3, 3, SIDE, SIDE, seed=12) - 0.4, MASKS)
    low, high = got.range
    assert all(math.isnan(v) or low - 1e-9 <= v <= high + 1e-9 for v in got.values)
    assert [bool(why) for why in got.reasons] == [math.isnan(v) for v in got.values]
    assert any(not math.isnan(v) for v in got.values), got.reasons
    about = registry.find_metric(name).about
    if about.sampled and not about.summary.startswith("max_"):  # the largest of the draws has no error of its own
        assert got.std_error is not None


SAMPLED = [n for n in registry.metrics() if registry.find_metric(n).about.sampled and not n.startswith("max_")]


@pytest.mark.parametrize("name", SAMPLED)
def test_standard_errors_are_how_far_other_seeds_are(name: str) -> None:
    """What a metric says of its own error, against the spread of 30 values with other draws."""
    handle, cls = api.wrap(Corners()), registry.find_metric(name)
    again = "method" in cls.about.wants
    e = api.explain(handle, X[:1], SmoothGrad(samples=2, spread=0.3), target=0, output="probability")[0]
    e = replace(e, kind=kind_of(name), **({} if again else {"values": random(1, 3, SIDE, SIDE, seed=11) - 0.4}))
    small = {"samples": 4 if again else 48, **({"steps": 4} if "steps" in {f.name for f in fields(cls)} else {})}
    got = api.measure(handle, e, [cls(**small, seed=s) for s in range(30)], inputs=X[:1])
    if got[0].std_error is None:
        assert "max" in cls.about.summary  # the largest of the draws has no error of its own
        return
    values = torch.tensor([m.values[0] for m in got]).double()
    errors = torch.tensor([m.std_error[0] for m in got if m.std_error is not None]).double()
    assert 0.55 < float(values.std() / errors.square().mean().sqrt()) < 1.8


def test_degenerate_maps_never_get_a_value(name: str) -> None:
    """B26, and Captum's perfect score of a map of zeros. A NaN in one map is nobody else's (B14)."""
    about = registry.find_metric(name).about
    if about.flat or "method" in about.wants:
        pytest.skip("says something about flat maps, or explains again")
    values = random(3, 3, SIDE, SIDE, seed=13)
    whole = judged(name, X, values, MASKS)
    broken = values.clone()
    broken[0], broken[1, 0, 0, 0] = 0, torch.nan
    got = judged(name, X, broken, MASKS)
    assert got.reasons[0] == "the map is zero" and got.reasons[1] == "the map is not finite"
    assert math.isnan(got.values[0]) and math.isnan(got.values[1])
    close(got.values[2], whole.values[2], 1e-6)


def test_nothing_is_changed_and_the_same_comes_out_twice(name: str) -> None:
    """B15, B18, B19, B32, B33: neither arrays nor the global random state move."""
    values, state = random(3, 3, SIDE, SIDE, seed=14), torch.get_rng_state()
    before = values.clone(), X.clone(), MASKS.clone()
    one = judged(name, X, values, MASKS)
    assert all(map(torch.equal, before, (values, X, MASKS))) and torch.equal(state, torch.get_rng_state())
    assert one.values == judged(name, X, values, MASKS).values or any(map(math.isnan, one.values))


# -- the right map against wrong ones ------------------------------------------------------------------------------


RANKING = [n for n in registry.metrics() if registry.find_metric(n).about.family in ("faithfulness", "localisation")]
EXEMPT = {"monotonicity": "a yes or no, and no wherever something speaks against the class"}
PLANTED = 40
WRONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "shuffled": lambda x, right: right.flatten(2).gather(2, _order(x)).view_as(right),
    "random": lambda x, right: random(*right.shape, seed=8) - 0.5,
    "edges": lambda x, right: _wide(edges((x.movedim(1, -1) * 255).to(torch.uint8))),
    "centre": lambda x, right: _wide(centre(SIDE, SIDE).expand(len(x), -1, -1)),
}
"""Maps that know nothing of the model; the last three are the controls that `measure` sets beside explanations."""


def _order(x: Tensor) -> Tensor:
    return random(len(x), SIDE * SIDE, seed=6).argsort(1)[:, None].expand(-1, 3, -1)


def _wide(values: Tensor) -> Tensor:
    return values[:, None].expand(-1, 3, -1, -1).to(X.dtype)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", RANKING)
def test_a_wrong_map_is_found_out(name: str, wrong: str) -> None:
    """Forty pictures, a bright corner for the class and one against it: the right map against another, by a paired
    t-test at 1 %.
    """
    if name in EXEMPT:
        pytest.skip(EXEMPT[name])
    x = 0.6 * pictures(PLANTED, side=SIDE, seed=3)
    for corner in (slice(0, 2), slice(-2, None)):
        x[..., corner, corner] = 0.7 + 0.5 * x[..., corner, corner]
    right = 0.01 * random(PLANTED, 3, SIDE, SIDE, seed=5)
    right[..., :2, :2] += 1 + 0.1 * random(PLANTED, 3, 2, 2, seed=4)
    right[..., -2:, -2:] -= 1
    masks = torch.zeros(PLANTED, SIDE, SIDE, dtype=torch.bool)
    masks[:, :2, :2] = True
    about = registry.find_metric(name).about
    good, bad = (torch.tensor(judged(name, x, v, masks).values) for v in (right, WRONG[wrong](x, right)))
    difference = (good - bad if about.better == "higher" else bad - good).double()
    difference = difference[~difference.isnan()]
    t = difference.mean() / (difference.std() / len(difference) ** 0.5)
    assert len(difference) >= PLANTED / 2 and t > 2.8, (name, float(t), good, bad)
