"""`measure`: whose explanations, of which inputs, sharing what; and what comes out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid import api, registry
from pellucid.core.ask import Attribution, Can, Query, attribution
from pellucid.core.errors import FileExists, FormatError, InputError, ParameterError, UnsupportedModel
from pellucid.core.explanation import Kind
from pellucid.core.measurements import Measurements
from pellucid.core.method import method
from pellucid.core.metric import METRICS, Map, Reading, metric, reading
from pellucid.core.target import Contrast, Each, Score, Top
from pellucid.metrics import Deletion, Insertion, InsertionDeletion
from pellucid.testing import tiny

from .planted import Corner, close, explained, measured, pictures, random


@pytest.fixture
def model() -> tiny.Tiny:
    return tiny.make("convnet")


def test_several_metrics_of_several_explanations_share_their_passes(model: tiny.Tiny) -> None:
    """The ends of all curves once, and every curve once: the difference asks nothing that the two do not ask."""
    handle = api.wrap(model.module)
    them = api.explain(handle, model.x, ["gradient", "input_x_gradient"])
    both = api.measure(handle, them, ["deletion", "insertion"], inputs=model.x)
    more = api.measure(handle, them, ["deletion", "insertion", "insertion_deletion"], inputs=model.x)
    per_image = 1 + 2 + 2 * 2 * 31  # the clean row, two fills, and two curves of two explanations
    assert both[0].passes.forward == more[0].passes.forward == 3 * per_image
    assert more[0].passes.rounds == 1
    for place in (0, 1):
        one = more.sel(place=place)
        gone, come, difference = (tuple(m.values) for m in one)
        close(difference, [c - d for c, d in zip(come, gone, strict=True)])
        assert one[2].extras["insertion"] == come


def test_inserting_is_removing_backwards(model: tiny.Tiny) -> None:
    """With one fill, the most important coming is the least important going: the same rows, asked once."""
    handle, x = api.wrap(model.module), model.x
    e = explained(model.module, x, random(3, 3, 8, 8))
    turned = replace(e, values=-e.values)
    got = api.measure(handle, [e, turned], [Deletion(), Insertion(fill="mean")], inputs=x)
    # the order among equals is drawn, and there are none
    close(got[0].values, got[3].values)
    close(got[1].values, got[2].values)
    assert got[0].passes.forward == 3 * (1 + 1 + 2 * 31)


def test_the_pictures_kept_are_inputs_enough_for_photos() -> None:
    net = Corner()
    handle = api.wrap(net.float(), pellucid.Preprocess.identity())
    photos = [np.random.default_rng(i).integers(0, 255, (6, 6, 3)).astype(np.uint8) for i in range(3)]
    e = api.explain(handle, photos, ["gradient"])
    again, kept = (api.measure(handle, e, ["deletion"], inputs=given) for given in (photos, None))
    assert again[0].values == kept[0].values and again[0].images == kept[0].images == e[0].inputs.name


def test_other_inputs_models_and_names_are_refused(model: tiny.Tiny) -> None:
    handle, x = api.wrap(model.module), model.x
    e = api.explain(handle, x, ["gradient"])
    for wrong in (x.flip(0), x + 0.2, x[:2]):
        with pytest.raises(InputError):
            api.measure(handle, e, inputs=wrong)
    with pytest.raises(InputError, match="other weights"):
        api.measure(api.wrap(tiny.make("smooth").module), e, inputs=x)
    table = tiny.make("linear_rows")
    rows = api.explain(api.wrap(table.module), table.x, ["gradient"])
    with pytest.raises(InputError, match="do not keep"):
        api.measure(api.wrap(table.module), rows)
    with pytest.raises(InputError, match="something else"):  # no pictures to compare: what the model says tells
        api.measure(api.wrap(table.module), rows, inputs=table.x * 2)
    with pytest.raises(InputError, match="nothing to measure"):
        api.measure(handle, [], inputs=x)
    with pytest.raises(ParameterError, match="perhaps 'deletion'"):
        api.measure(handle, e, "delition", inputs=x)


def test_more_inputs_than_were_explained_are_refused(model: tiny.Tiny) -> None:
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x[:2], ["gradient"])
    with pytest.raises(InputError):
        api.measure(handle, e, inputs=model.x)


def test_some_rows_of_an_explanation_with_their_inputs(model: tiny.Tiny) -> None:
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient"])[0]
    whole = api.measure(handle, e, inputs=model.x)[0]
    close(api.measure(handle, e[:2], inputs=model.x[:2])[0].values, whole.values[:2])


@pytest.mark.parametrize("target", [1, [0, 2], Top(2), Each([0, 1, 2]), Contrast(0, 1), Contrast(None, 2)])
def test_the_target_is_the_one_explained(model: tiny.Tiny, target: object) -> None:
    """One after the other, and through `target=`, the same numbers."""
    handle, x = api.wrap(model.module), model.x
    them = api.explain(handle, x, ["input_x_gradient"], target=target)
    got = api.measure(handle, them, [Deletion(steps=4)], inputs=x, output="logit")
    for e, m in zip(them, got, strict=True):
        assert m.curve is not None
        close([y[0] for _, y in m.curve], e.target.score, 1e-6)  # the start of the curve is the score explained


def test_targets_that_are_no_classes_are_given_again(model: tiny.Tiny) -> None:
    handle, total = api.wrap(model.module), Score(lambda out: out.sum(1), "total")
    e = api.explain(handle, model.x, ["gradient"], target=total)
    with pytest.raises(InputError, match="total"):
        api.measure(handle, e, inputs=model.x)
    got = api.measure(handle, e, inputs=model.x, target=total)[0]
    assert got.curve is not None
    close([y[0] for _, y in got.curve], e[0].target.score)


def test_maps_that_say_nothing_have_no_value_but_a_reason() -> None:
    x = pictures(4)
    values = random(4, 3, 6, 6)
    values[0], values[1], values[2, 0, 0, 0] = 0, 3.5, torch.nan
    got = measured(Deletion(), Corner(), x, values)
    assert got.reasons[:3] == ("the map is zero", "the map is constant", "the map is not finite")
    assert all(math.isnan(v) for v in got.values[:3]) and got.reasons[3] == ""
    close(got.values[3:], measured(Deletion(), Corner(), x[3:], values[3:]).values)
    assert "zero" in str(Measurements((measured(Deletion(), Corner(), x[:1], values[:1]),)))


def test_nothing_is_changed() -> None:
    x, values = pictures(), random(3, 3, 6, 6)
    before = x.clone(), values.clone(), torch.get_rng_state()
    measured(InsertionDeletion(), Corner(), x, values)
    assert all(map(torch.equal, before, (x, values, torch.get_rng_state())))


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_chunks_and_neighbours_do_not_matter(rows: int) -> None:
    x, values = pictures(), random(3, 3, 6, 6)
    whole = measured(InsertionDeletion(steps=5), Corner(), x, values)
    close(measured(InsertionDeletion(steps=5), Corner(), x, values, rows=rows).values, whole.values)
    back = measured(InsertionDeletion(steps=5), Corner(), x.flip(0), values.flip(0))
    close(back.values[::-1], whole.values)
    scaled = values.clone()
    scaled[0] *= 1000  # B14: no other row's scale counts
    close(measured(InsertionDeletion(steps=5), Corner(), x, scaled).values, whole.values)


def test_json_and_back(model: tiny.Tiny, tmp_path: Path) -> None:
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient", "input_x_gradient"])
    flat = replace(e[0], values=torch.zeros_like(e[0].values))
    got = api.measure(handle, [*e, flat], ["deletion", "insertion_deletion"], inputs=model.x)
    path = got.save(tmp_path / "them")
    back = Measurements.read(path)
    assert repr(back) == repr(got) and len(back) == 6
    assert back[0] == got[0] and type(back[0].curve) is tuple
    assert back[4].reasons == ("the map is zero",) * 3 and math.isnan(back[4].values[0])
    with pytest.raises(FileExists):
        got.save(path)
    got.save(path, overwrite=True)
    path.write_text("{}")
    with pytest.raises(FormatError):
        Measurements.read(path)


def test_tables(model: tiny.Tiny) -> None:
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient", "input_x_gradient"])
    got = api.measure(handle, e, ["deletion", "insertion"], inputs=model.x)
    columns = got.columns()
    assert {len(column) for column in columns.values()} == {2 * 2 * 3}
    assert columns["value"][:3] == list(got[0].values)
    lines = str(got).splitlines()
    assert "Deletion ↓" in lines[0] and "Insertion ↑" in lines[0] and sum(line.count("*") for line in lines) == 2
    assert got.sel(metric="deletion", method="gradient").entries == (got[0],)
    with pytest.raises(InputError, match="nothing measured"):
        got.sel(metric="nonsense")


def test_metrics_from_elsewhere() -> None:
    """A metric of one's own: found by name, its parameters checked, its answer too."""

    @metric(family="test", better="neither", range=(0.0, 1.0), kinds={Kind.CAM}, flat=True)
    class Peak:
        """max"""

        steps: int = 3

        async def measure(self, q: object, e: Map) -> Reading:
            return reading(e.values.flatten(1).amax(1), extras={"rows": torch.ones(len(e.values))})

    @metric(family="test", better="neither", range=(0.0, 1.0))
    class Wrong:
        """nothing"""

        async def measure(self, q: object, e: Map) -> Reading:
            return reading(torch.zeros(1))

    try:
        x, values = pictures(), random(3, 6, 6)
        got = measured("peak", Corner(), x, values, Kind.CAM)
        close(got.values, values.flatten(1).amax(1))
        unsuited = measured(Peak(), Corner(), x, values, Kind.SENSITIVITY)
        assert unsuited.reasons == ("not defined for a sensitivity",) * 3
        with pytest.raises(pellucid.core.errors.PellucidError, match=r"Wrong\.measure returned"):
            measured("wrong", Corner(), x, values)
        with pytest.raises(ParameterError, match="glossary"):
            metric(family="test", better="neither", range=(0.0, 1.0))(
                type("Odd", (), {"__annotations__": {"q": int}, "q": 1})
            )
    finally:
        METRICS.pop("peak"), METRICS.pop("wrong")


def test_every_metric_declares_itself() -> None:
    assert registry.metrics() and registry.find_metric("Insertion − deletion") is InsertionDeletion
    for name in registry.metrics():
        about = registry.find_metric(name).about
        assert about.range[0] < about.range[1] and about.summary and about.title
        assert set(about.cite) <= set(pellucid.core.cite.references()), about.cite
        assert registry.make_metric(name) == registry.make_metric(registry.find_metric(name))


def test_controls_are_measured_beside() -> None:
    """Random numbers, edges and a hill in the middle, once per output; a corner beats all of them."""
    x = pictures(6)
    x[..., :2, :2] = 0.9 + 0.1 * x[..., :2, :2]
    right = torch.zeros(6, 6, 6, dtype=torch.float64)
    right[:, :2, :2] = 1 + random(6, 2, 2)
    e = explained(Corner(), x, right)
    got = api.measure(api.wrap(Corner()), [e, e], ["insertion_deletion", "max_sensitivity"], inputs=x, controls=True)
    assert got.methods == ("gradient", "control_random", "control_edges", "control_centre") and len(got) == 2 * 5
    ours, *controls = [m.mean for m in got.sel(metric="insertion_deletion")][1:]
    assert all(ours > other + 0.05 for other in controls)
    unmade = got.sel(metric="max_sensitivity", method="Edges")[0]
    assert set(unmade.reasons) == {"not defined for a map that no method made"}
    again = api.measure(api.wrap(Corner()), e[2:], ["deletion"], inputs=x[2:], controls=True)
    assert len(again) == 4


def test_controls_stand_once_beside_methods_of_several_numbers_of_a_class() -> None:
    handle, x = api.wrap(Corner()), pictures(2)
    both = [api.explain(handle, x, "gradient", output=output)[0] for output in ("logit", "probability")]
    got = api.measure(handle, both, ["deletion"], inputs=x, controls=True)
    assert [m.judged.method for m in got] == [
        *("gradient", "gradient", "control_random", "control_edges", "control_centre"),
    ]


def test_rows_with_more_digits_than_their_pictures_have_to_be_given_again() -> None:
    handle = api.wrap(nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 3)))
    fine = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    levels = (fine * 255).round() / 255
    with pytest.raises(InputError, match=r"measure\(\.\.\., inputs=\.\.\.\)"):
        api.measure(handle, api.explain(handle, fine, "gradient"), ["deletion"])
    exact = api.explain(handle, levels, "gradient")
    shown, given = (api.measure(handle, exact, ["deletion"], inputs=i)[0].values for i in (None, levels))
    assert shown == pytest.approx(given, rel=1e-6)


def test_waves_are_joined(model: tiny.Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that do not fit at once: the same values, masks and methods going with their rows."""
    from pellucid.api import waves

    handle, masks = api.wrap(model.module), random(3, 8, 8) < 0.4
    names = ["deletion", "relevance_mass", "avg_sensitivity", "rank_agreement"]
    them = api.explain(handle, model.x, ["gradient", "input_x_gradient"])
    whole = api.measure(handle, them, names, inputs=model.x, masks=masks)
    monkeypatch.setattr(waves, "WAVE", 1)
    parts = api.measure(handle, them, names, inputs=model.x, masks=masks)
    for a, b in zip(whole, parts, strict=True):
        close(b.values, a.values)
        assert (a.images, a.judged, a.reasons) == (b.images, b.judged, b.reasons)
        assert (a.std_error is None) == (b.std_error is None) and a.extras.keys() == b.extras.keys()


def test_progress_ends_at_the_end(model: tiny.Tiny) -> None:
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient"])
    seen: list[tuple[int, int]] = []
    got = api.measure(handle, e, ["deletion", "max_sensitivity"], inputs=model.x, progress=lambda *at: seen.append(at))
    assert seen[-1] == (got[0].passes.forward,) * 2 and len(seen) == 1 + got[0].passes.calls


# -- B22: a metric that cannot be asked stops no other ------------------------------------------------------------


def test_what_the_model_cannot_be_asked_for_is_a_reason() -> None:
    w = np.random.default_rng(0).normal(size=(2, 6))
    handle = api.wrap(lambda rows: np.asarray(rows) @ w.T, name="by hand")  # no weights that could be redrawn
    x = random(3, 6).float()
    e = api.explain(handle, x, ["exact_shapley"], target=0, output="logit")
    got = api.measure(handle, e, ["random_logit", "parameter_randomisation", "deletion"], inputs=x, output="logit")
    reasons = {m.metric: set(m.reasons) for m in got}
    assert reasons["parameter_randomisation"] == {"the model cannot be asked for variant"}
    assert reasons["deletion"] == reasons["random_logit"] == {""}
    alone = api.measure(handle, e, ["parameter_randomisation"], inputs=x)[0]
    assert all(map(math.isnan, alone.values)) and len(alone.reasons) == 3


class Refused(nn.Module):
    """A network of which the method below cannot be asked at points beside the clean ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4]


@method(kind=Kind.CONTRIBUTION, needs={Can.SCORE}, family="test")
class OnlyHere:
    """x at the rows it was made for, nothing elsewhere."""

    async def explain(self, q: Query) -> Attribution:
        await q.score()
        if float(q.x.max()) != 1.0:
            raise UnsupportedModel("points elsewhere", "the clean rows")
        return attribution(q.x[None])


def test_controls_which_no_method_made_stop_no_metric_that_asks_the_method() -> None:
    model = tiny.make("convnet")
    handle = api.wrap(model.module)
    e = api.explain(handle, model.x, ["gradient"])
    names = [n for n in registry.metrics() if "method" in registry.find_metric(n).about.wants]
    for m in api.measure(handle, e, names, inputs=model.x, controls=True):
        if m.judged.method != "gradient":
            assert set(m.reasons) <= {"not defined for a map that no method made", "the method draws nothing"}


def test_a_method_that_cannot_be_asked_elsewhere_stops_no_other() -> None:
    """The robustness of two methods, asked at the same points: one has a reason, the other its number."""
    handle, x = api.wrap(Refused()), random(3, 1, 4, 4).float()
    x[:, 0, 0, 0] = 1.0
    x = x.clamp(max=1.0)
    both = [OnlyHere(), registry.make("input_x_gradient")]
    e = api.explain(handle, x, both, target=0)
    names = ["deletion", "avg_sensitivity"]
    got = api.measure(handle, e, names, inputs=x, methods=both, output="logit")
    alone = api.measure(handle, e[1:], names, inputs=x, methods=both, output="logit")
    assert [set(m.reasons) for m in got] == [{""}, {"points elsewhere"}, {""}, {""}]
    close(got[2].values, alone[0].values)
    close(got[3].values, alone[1].values)
