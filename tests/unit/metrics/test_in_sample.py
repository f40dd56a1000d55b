"""An explanation is judged by the questions that it was made of only where the result says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid import api, registry
from pellucid.core.measurements import Measurements
from pellucid.metrics import Deletion, InsertionDeletion, NonSensitivity
from pellucid.ops import reference
from pellucid.regions import Cells
from pellucid.testing import tiny

MODEL = tiny.make("convnet")
X = MODEL.x


def flags(method: Any, *metrics: Any, **how: Any) -> list[bool]:
    handle = api.wrap(MODEL.module)
    e = api.explain(handle, X, [method])
    return [m.in_sample for m in api.measure(handle, e, list(metrics), inputs=X, **how)]


def ablation(**params: Any) -> Any:
    return registry.make("feature_ablation", {"regions": Cells(4), **params})


def test_one_part_at_a_time_is_what_ablation_asked() -> None:
    """Hiding single parts with one fill: method and metric share every call, and the verdict is no news."""
    handle, metric = api.wrap(MODEL.module), NonSensitivity(regions=Cells(4), fill="gray")
    e = api.explain(handle, X, [ablation(fill="gray"), ablation(fill="black")])
    same, other = api.measure(handle, e, [metric], inputs=X)
    assert same.in_sample and not other.in_sample
    assert same.mean == 0.0  # of itself it can only speak well


def test_by_default_nothing_is_in_sample() -> None:
    names = ("feature_ablation", "occlusion", "kernel_shap", "lime", "rise", "gradient", "grad_cam")
    metrics = [n for n in registry.metrics() if hasattr(registry.make_metric(n), "fill")]
    metrics = [n for n in metrics if not n.startswith("average")]  # black, which is the zero of a model without norms
    for name in names:
        few = {"regions": Cells(4), "samples": 40}
        method = registry.make(name, {key: value for key, value in few.items() if key in _fields(name)})
        assert not any(flags(method, *metrics)), name


def _fields(name: str) -> tuple[str, ...]:
    return tuple(p.name for p in registry.parameters(name))


def test_fills_are_compared_as_the_model_sees_them() -> None:
    white = torch.ones(X.shape[1:])
    assert flags(ablation(fill="white"), Deletion(fill=1.0), Deletion(fill=white), Deletion(fill=0.9)) == [
        True,
        True,
        False,
    ]
    assert flags(ablation(fill="blur"), "insertion", "deletion", InsertionDeletion()) == [True, False, True]
    assert flags(ablation(fill="mean"), "insertion", "deletion", InsertionDeletion()) == [False, True, True]


def test_what_cannot_be_told_counts_as_the_same() -> None:
    """A record keeps of a tensor its shape only."""
    assert flags(ablation(fill=torch.full(X.shape[1:], 0.3)), "deletion") == [True]


def test_a_method_within_another_hides_too() -> None:
    smooth = registry.make("smooth", {"method": ablation(fill="mean"), "samples": 2})
    assert flags(smooth, "deletion", "insertion") == [True, False]


def test_controls_and_metrics_that_hide_nothing_are_never_in_sample() -> None:
    assert flags(ablation(fill="mean"), "sparseness", "max_sensitivity") == [False, False]
    assert not any(flags(ablation(fill="mean"), "deletion", controls=True)[1:])


def test_it_is_told_and_kept(tmp_path: Any) -> None:
    handle = api.wrap(MODEL.module)
    e = api.explain(handle, X, [ablation(fill="mean")])
    got = api.measure(handle, e, ["deletion"], inputs=X)
    assert "°" in str(got)
    assert Measurements.read(got.save(tmp_path / "got"))[0].in_sample


@pytest.mark.parametrize("name", [n for n in registry.metrics() if hasattr(registry.make_metric(n), "fill")])
def test_the_usual_fill_is_the_one_that_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of usual fills, against what metrics do."""
    from pellucid.api import insample

    asked: list[Any] = []
    real = reference.References.baseline

    def spy(self: reference.References, spec: Any) -> torch.Tensor:
        asked.append(spec)
        return real(self, spec)

    handle = api.wrap(MODEL.module)
    e = api.explain(handle, X, ["input_x_gradient"])
    monkeypatch.setattr(reference.References, "baseline", spy)
    api.measure(handle, e, [name], inputs=X)
    wanted = {"mean", "blur"} if name == "insertion_deletion" else {insample.USUAL.get(name, "mean")}
    assert set(asked) == wanted
