"""The verbs: every kind of input, targets given per image, waves, comparisons and plans."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.core.values import same
from tests.unit.models import Calls, Convnet, net, pictures
from torch import Tensor, nn

from pellucid import api, images, registry
from pellucid.adapters.torch import TorchModel
from pellucid.api import compare, explain, layers, measure, plan, wrap
from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.errors import (
    FileExists,
    ImageError,
    InputError,
    NonFinite,
    ParameterError,
    TargetError,
    UnsupportedModel,
)
from pellucid.core.explanation import Explanation, Explanations, Kind
from pellucid.core.method import CATALOGUE, About
from pellucid.core.store import load, save
from pellucid.core.target import Class, Contrast, Each, Score, Top, Unit
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.methods.gradient import Gradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.preprocess import Preprocess
from pellucid.views import draw

LABELS = ("cat", "dog", "cup", "car", "sky")
NET = net(Convnet(), torch.float32)
RESIZED = Preprocess(resize=(8, 8), mean=(0.5,), std=(0.25,))
MODEL = wrap(NET, RESIZED, LABELS, name="net")
PIXELS = (pictures(6, dtype=torch.float32).movedim(1, -1) * 255).round().to(torch.uint8).numpy()
"""Six pictures [8, 8, 3]."""


def first(inputs: Any, methods: Any = "gradient", model: Any = MODEL, **how: Any) -> Explanation:
    return explain(model, inputs, methods, **how)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The six pictures as files, sorted by name."""
    for i, one in enumerate(PIXELS):
        Image.fromarray(one).save(tmp_path / f"photo {i}.png")
    return tmp_path


@pytest.fixture
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """One wave holds what takes two of these pictures with one explanation."""
    monkeypatch.setattr(api.waves, "WAVE", 2 * 4 * 8 * 8 * 3 * 4)


def png(one: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(one).save(held, "png")
    return held.getvalue()


# -- inputs ------------------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda f: f,
    "a folder's name": str,
    "paths": lambda f: sorted(f.iterdir()),
    "names": lambda f: [str(p) for p in sorted(f.iterdir())],
    "an iterator of paths": lambda f: iter(sorted(f.iterdir())),
    "bytes": lambda f: [png(one) for one in PIXELS],
    "Pillow images": lambda f: [Image.fromarray(one) for one in PIXELS],
    "arrays": lambda f: list(PIXELS),
    "one array": lambda f: PIXELS,
    "a tensor of bytes": lambda f: torch.from_numpy(PIXELS),
    "photos": lambda f: [images.read(one) for one in PIXELS],
    "a mixture": lambda f: [f / "photo 0.png", png(PIXELS[1]), Image.fromarray(PIXELS[2]), *PIXELS[3:]],
    "floats": lambda f: [one.astype(np.float64) / 255 for one in PIXELS],
}


@pytest.mark.parametrize("form", FORMS)
def test_photos_come_as(form: str, folder: Path) -> None:
    got = first(FORMS[form](folder), target=1)
    wanted = first(RESIZED.rows([images.read(one) for one in PIXELS]), target=1)
    torch.testing.assert_close(got.values, wanted.values)
    assert torch.equal(got.inputs.picture, torch.from_numpy(PIXELS))  # pyright: ignore
    assert got.inputs.shape == (3, 8, 8)


@pytest.mark.parametrize(
    "one", [lambda f: f / "photo 2.png", lambda f: PIXELS[2], lambda f: Image.fromarray(PIXELS[2])]
)
def test_a_single_photo_is_a_batch_of_one(one: Callable[[Path], Any], folder: Path) -> None:
    got = first(one(folder), target=1)
    torch.testing.assert_close(got.values, first(PIXELS, target=1).values[2:3])


def test_names_are_those_of_the_files_or_numbers(folder: Path) -> None:
    assert first([folder / "photo 3.png", PIXELS[0]]).inputs.name == ("photo 3.png", "image 2")
    assert first(torch.zeros(2, 3, 8, 8)).inputs.name == ("row 1", "row 2")


def test_photos_of_different_sizes_are_brought_to_one() -> None:
    sizes = [(5, 9), (16, 8), (8, 8)]
    photos = [np.full((*size, 3), 100 + i, dtype=np.uint8) for i, size in enumerate(sizes)]
    assert first(photos).values.shape == (3, 3, 8, 8)


def test_without_a_size_photos_of_different_sizes_make_entries_of_their_own(tmp_path: Path) -> None:
    model = wrap(NET, Preprocess())
    photos = [np.full((side, 8, 3), side, dtype=np.uint8) for side in (8, 10, 8, 8, 10)]
    got = explain(model, photos, ["gradient", Occlusion(window=4)], target=1)
    wanted = [("gradient", 8), ("gradient", 10), ("occlusion", 8), ("occlusion", 10)]
    assert [(e.record.method, e.inputs.shape[1]) for e in got] == wanted
    assert [e.inputs.name for e in got[:2]] == [("image 1", "image 3", "image 4"), ("image 2", "image 5")]
    stored = explain(model, photos, ["gradient", Occlusion(window=4)], target=1, save=tmp_path / "run")
    for a, b in zip(stored, got, strict=True):
        assert torch.equal(a.values, b.values)
        assert a.inputs.name == b.inputs.name


def test_maps_of_one_size_from_pictures_of_two_stay_apart() -> None:
    """A layer's map may hide that the pictures differ."""
    photos = [np.full((side, side, 3), side, dtype=np.uint8) for side in (15, 16)]
    got = explain(wrap(NET, Preprocess()), photos, "grad_cam", target=1)
    assert [(tuple(e.values.shape), e.inputs.shape[1]) for e in got] == [((1, 8, 8), 15), ((1, 8, 8), 16)]


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ([], InputError, "no photos"),
        (torch.zeros(0, 3, 8, 8), InputError, "an empty batch"),
        (torch.zeros(8), InputError, "a batch of rows"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), InputError, "uint8"),
        (torch.full((2, 3, 8, 8), torch.nan), NonFinite, "NaN"),
        (torch.full((2, 3, 8, 8), torch.inf), NonFinite, "infinity"),
        ("nowhere.png", ImageError, "no file"),
        ([b"no picture"], ImageError, "picture|image"),
        (None, ImageError, "NoneType"),
        ([torch.zeros(3, 8, 8)], ImageError, "float"),
    ],
)
def test_inputs_that_cannot_be_used(inputs: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        first(inputs)


def test_a_picture_that_the_model_answers_with_nan_is_named() -> None:
    odd = Calls(lambda m, x: m.inner(x) / (x.amax((1, 2, 3), keepdim=False)[:, None] < 0.9), inner=NET)
    x = torch.full((3, 3, 8, 8), 0.5)
    x[1] = 1
    with pytest.raises(NonFinite, match="row 2"):
        first(x, model=odd, target=1)


def test_photos_are_read_one_after_the_other(small_waves: None) -> None:
    """When the second wave is explained, the photos of the fourth have not been opened."""
    opened: list[int] = []

    def reading() -> Iterator[Any]:
        for i in range(6):
            opened.append(i)
            yield PIXELS[i]

    seen: list[int] = []
    first(reading(), target=1, progress=lambda done, total: seen.append(len(opened)))
    assert opened == list(range(6))
    assert min(seen) == 3  # two, and one more that shows that the wave is full


def test_photos_are_forgotten_once_they_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large they were."""
    import weakref

    alive: list[int] = []
    known: weakref.WeakSet[Any] = weakref.WeakSet()
    made = images.read_each

    class Kept:
        def __init__(self, photo: Any) -> None:
            self.stored, self.name, self.notes = photo.stored, photo.name, photo.notes
            self.height, self.width, self.uint8, self.pixels = photo.height, photo.width, photo.uint8, photo.pixels

    def counted(inputs: Any) -> Iterator[Any]:
        for photo in made(inputs):
            kept = Kept(photo)
            known.add(kept)
            alive.append(len(known))
            yield kept
            del kept, photo

    monkeypatch.setattr(images, "read_each", counted)
    first(PIXELS, target=1)
    assert max(alive) <= 2


# -- waves -------------------------------------------------------------------------------------------------------

TARGETS: dict[str, Any] = {
    "the top class": None,
    "a class": "dog",
    "one per image": Each([0, 1, 2, 3, 4, 0]),
    "one per image by name": Each(["cat", "dog", "cup", "car", "sky", "cat"]),
    "a contrast per image": Contrast(Each([0, 1, 2, 3, 4, 0]), Top(1)),
    "several": [Each([0, 1, 2, 3, 4, 0]), 2, Top(2)],
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("rows", [False, True], ids=["photos", "rows"])
def test_waves_change_nothing(name: str, rows: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inputs = RESIZED.rows([images.read(one) for one in PIXELS]) if rows else PIXELS
    methods = [Gradient(), SmoothGrad(samples=3), IntegratedGradients(steps=3)]
    whole = explain(MODEL, inputs, methods, target=TARGETS[name])
    monkeypatch.setattr(api.waves, "WAVE", 1)
    calls: list[int] = []
    plain = api.explained
    monkeypatch.setattr(api, "explained", lambda h, w, t, p: (calls.append(len(w.x)), plain(h, w, t, p))[1])
    waves = explain(MODEL, inputs, methods, target=TARGETS[name])
    assert calls == [1] * 6
    stored = explain(MODEL, inputs, methods, target=TARGETS[name], save=tmp_path / "run")
    for got in (waves, stored, load(tmp_path / "run")):
        assert len(got) == len(whole)
        for a, b in zip(got, whole, strict=True):
            torch.testing.assert_close(a.values, b.values, rtol=1e-4, atol=1e-6)
            assert a.target.name == b.target.name
            assert a.inputs.name == b.inputs.name
            assert torch.equal(a.inputs.picture, b.inputs.picture)
            assert a.record.passes.forward == b.record.passes.forward


@pytest.mark.parametrize("target", [Each([0] * 5), Each([0] * 7), Contrast(Each([0] * 7), 1)])
def test_a_target_for_each_of_more_or_fewer_images_is_refused(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for wave in (api.waves.WAVE, 1):
        monkeypatch.setattr(api.waves, "WAVE", wave)
        with pytest.raises(TargetError, match="one class per image"):
            first(PIXELS, target=target)


# -- streaming ---------------------------------------------------------------------------------------------------


def test_what_is_streamed_is_what_is_returned(tmp_path: Path) -> None:
    methods = ["gradient", "grad_cam", SmoothGrad(samples=3)]
    kept = explain(MODEL, PIXELS, methods, target=["cat", Top(2)])
    streamed = explain(MODEL, PIXELS, methods, target=["cat", Top(2)], save=tmp_path / "run")
    assert isinstance(streamed, Explanations)
    for a, b in zip(streamed, kept, strict=True):
        assert torch.equal(a.values, b.values)
        assert (a.target, a.prediction, a.checks, a.dims, a.kind) == (b.target, b.prediction, b.checks, b.dims, b.kind)
        assert (a.record.params, a.record.at, a.record.cite) == (b.record.params, b.record.at, b.record.cite)
    assert all(same(a, b) for a, b in zip(load(tmp_path / "run"), streamed, strict=True))


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most numbers that live at once, in explanations and rows, for few photos and for many."""
    import gc

    monkeypatch.setattr(api.waves, "WAVE", 4 * 4 * 8 * 8 * 3 * 4)

    def alive() -> int:
        found = (o for o in gc.get_objects() if issubclass(type(o), Tensor) and o.shape[1:] in ((3, 8, 8), (8, 8, 3)))
        return sum(o.numel() for o in found)

    def most(count: int) -> int:
        peak = 0

        def look(done: int, total: int) -> None:
            nonlocal peak
            peak = max(peak, alive())

        photos = (PIXELS[i % 6] for i in range(count))
        explain(MODEL, photos, "gradient", target=1, save=tmp_path / f"{count}", progress=look)
        return peak

    few, many = most(8), most(64)

    assert many <= few * 1.2


def test_a_run_that_fails_leaves_what_was_done(tmp_path: Path, small_waves: None) -> None:
    photos = [*PIXELS[:4], b"no picture"]
    with pytest.raises(ImageError):
        explain(MODEL, photos, "gradient", target=1, save=tmp_path / "run")
    got = load(tmp_path / "run")[0]
    assert got.inputs.name == tuple(f"image {i + 1}" for i in range(len(got)))
    assert len(got) >= 2
    assert torch.equal(got.values, explain(MODEL, PIXELS[: len(got)], "gradient", target=1)[0].values)


def test_a_call_that_is_refused_leaves_the_old_results(tmp_path: Path) -> None:
    explain(MODEL, PIXELS, "gradient", target=1, save=tmp_path / "run")
    with pytest.raises(TargetError, match="no class"):
        explain(MODEL, PIXELS, "gradient", target="dgo", save=tmp_path / "run", overwrite=True)
    assert len(load(tmp_path / "run")[0]) == 6


def test_old_results_are_overwritten_only_when_asked(tmp_path: Path) -> None:
    explain(MODEL, PIXELS[:1], "gradient", save=tmp_path / "run")
    with pytest.raises(FileExists):
        explain(MODEL, PIXELS, "gradient", save=tmp_path / "run")
    explain(MODEL, PIXELS[:2], "grad_cam", save=tmp_path / "run", overwrite=True)
    assert [(e.record.method, len(e)) for e in load(tmp_path / "run")] == [("grad_cam", 2)]


# -- what is explained -------------------------------------------------------------------------------------------


def test_the_top_class_is_explained_unless_told_otherwise() -> None:
    got = first(PIXELS)
    with torch.no_grad():
        raw = NET(RESIZED.rows([images.read(one) for one in PIXELS]))
    assert got.target.index == tuple(raw.argmax(1).tolist())
    assert got.target.score == pytest.approx(raw.amax(1).tolist(), rel=1e-5)
    assert got.target.name == tuple(LABELS[i] for i in got.target.index)  # pyright: ignore
    assert got.prediction.index[0] == tuple(raw[0].argsort(descending=True).tolist())
    assert got.prediction.probability[0] == pytest.approx(
        raw[0].softmax(0).sort(descending=True).values.tolist(), rel=1e-5
    )


def test_top_k_gives_an_entry_for_every_rank() -> None:
    got = explain(MODEL, PIXELS, "gradient", top_k=3)
    assert [e.target.rank for e in got] == [0, 1, 2]
    assert [e.target.index[0] for e in got] == list(got[0].prediction.index[0][:3])


def test_versus_explains_the_difference() -> None:
    a, b, both = (first(PIXELS, target=1), first(PIXELS, target=3), first(PIXELS, target=1, versus="car"))
    torch.testing.assert_close(both.values, a.values - b.values, rtol=1e-4, atol=1e-6)
    assert both.target.name[0] == "dog − car"


def test_several_methods_and_targets_come_method_by_method() -> None:
    got = explain(MODEL, PIXELS, "gradient,grad_cam", target=["cat", "dog"])
    assert [(e.record.method, e.target.name[0]) for e in got] == [
        ("gradient", "cat"),
        ("gradient", "dog"),
        ("grad_cam", "cat"),
        ("grad_cam", "dog"),
    ]


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability", "margin"])
def test_the_output_that_was_asked_for_is_explained(output: Any) -> None:
    x = RESIZED.rows([images.read(one) for one in PIXELS])
    leaf = x.clone().requires_grad_()
    raw = NET(leaf)
    others = raw.clone()
    others[:, 1] = -torch.inf
    number = {
        "logit": raw[:, 1],
        "probability": raw.softmax(1)[:, 1],
        "log_probability": raw.log_softmax(1)[:, 1],
        "margin": raw[:, 1] - others.amax(1),
    }[output]
    wanted = torch.autograd.grad(number.sum(), leaf)[0]
    got = first(x, target=1, output=output)
    torch.testing.assert_close(got.values, wanted, rtol=1e-4, atol=1e-6)
    assert got.target.score == pytest.approx(number.tolist(), rel=1e-4)
    assert got.target.output == output


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"target": 1, "top_k": 2}, ParameterError, "one of the two"),
        ({"top_k": 2, "versus": 1}, ParameterError, "one class against another"),
        ({"top_k": 0}, TargetError, "1 or more"),
        ({"top_k": 9}, TargetError, "5 outputs"),
        ({"target": "tabby"}, TargetError, "no class 'tabby'"),
        ({"target": 5}, TargetError, "below 5"),
        ({"output": "logits"}, ParameterError, "output='logits'"),
        ({"methods": "gradcan"}, ParameterError, "no method"),
        ({"methods": "smooth"}, ParameterError, "without method"),
        ({"target": Unit("conv9", 0)}, InputError, "no layer 'conv9'"),
        ({"methods": "grad_cam", "target": Score(lambda raw: raw)}, TargetError, "one number per row"),
    ],
)
def test_wrong_arguments_are_refused(how: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        first(PIXELS, **how)


def test_what_a_wrapped_method_needs_is_asked_of_the_model_before_any_work() -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(NET)
    with pytest.raises(UnsupportedModel, match=re.escape("Smooth needs")):
        first(torch.zeros(1, 3, 8, 8), Smooth(method=CATALOGUE["grad_cam"]()), scripted)


def test_weights_without_a_shape_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"no shape yet \(1\.weight, 1\.bias\)"):
        wrap(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))


class Whole:
    """A method that gives one number for the whole picture."""

    about = About(
        name="whole",
        title="Whole",
        kind=Kind.CONTRIBUTION,
        cite=(),
        needs=Gradient.about.needs,
        keeps=frozenset(),
        output="logit",
        family="other",
        summary="",
    )
    __dataclass_fields__: ClassVar[dict[str, Any]] = {}

    async def explain(self, q: Query) -> Attribution:
        return attribution(await q.score())


def test_a_method_may_give_one_number_per_picture() -> None:
    got = first(PIXELS, Whole(), target=1)
    assert got.dims == ("batch",)
    assert got.values.tolist() == pytest.approx(got.target.score)


# -- models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [3, None, Convnet, lambda x: x])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="as a model"):
        first(PIXELS, model=model)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"labels": "cat"}, "a list of class names"),
        ({"labels": [1, 2]}, "a list of class names"),
        ({"emits": "scores"}, "emits='scores'"),
        ({"rows": 0}, "rows=0"),
        ({"rows": "many"}, "rows='many'"),
        ({"rows": True}, "rows=True"),
    ],
)
def test_wrong_arguments_of_wrap_are_refused(how: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        wrap(NET, **how)


@pytest.mark.parametrize("labels", [LABELS[:4], [*LABELS, "more"]])
def test_more_or_fewer_names_than_outputs_are_refused(labels: list[str]) -> None:
    with pytest.raises(ParameterError, match=f"{len(labels)} class names for a model with 5 outputs"):
        first(PIXELS, model=wrap(NET, RESIZED, labels))


def test_a_bare_module_takes_rows() -> None:
    x = pictures(2, dtype=torch.float32)
    assert torch.equal(first(x, model=NET, target=1).values, first(x, model=wrap(NET), target=1).values)


def test_the_record_tells_the_model_the_parameters_and_the_versions() -> None:
    record = first(PIXELS, SmoothGrad(samples=3, seed=4)).record
    assert (record.method, record.title, record.seed) == ("smooth_grad", "SmoothGrad", 4)
    assert record.params == {"samples": 3, "spread": 0.15, "statistic": "mean", "times_input": False, "seed": 4}
    assert record.model.name == "net"
    assert record.model.fingerprint == MODEL.fingerprint()
    assert record.versions["torch"] == torch.__version__


def test_fingerprints_tell_weights_apart_and_nothing_else() -> None:
    other = net(Convnet(), torch.float32)
    assert wrap(other, name="other").fingerprint() == MODEL.fingerprint()
    with torch.no_grad():
        other.fc.bias[0] += 1e-6
    assert wrap(other).fingerprint() != MODEL.fingerprint()


# -- comparing ---------------------------------------------------------------------------------------------------


def test_models_are_compared_on_the_same_photos_in_order() -> None:
    other = wrap(net(Convnet(), torch.float32), RESIZED, LABELS, name="other")
    got = compare([MODEL, other], PIXELS, "gradient,grad_cam", target=1)
    assert got.models == ("net", "other")
    assert [e.record.method for e in got] == ["gradient", "grad_cam"] * 2
    torch.testing.assert_close(got.sel(model="net", method="gradient")[0].values, first(PIXELS, target=1).values)


def test_models_of_one_name_are_numbered() -> None:
    again, taken = wrap(NET, RESIZED, name="net"), wrap(NET, RESIZED, name="net (2)")
    got = compare([MODEL, again, taken, again], PIXELS[:1], "gradient")
    assert got.models == ("net", "net (2)", "net (2) (2)", "net (3)")


def test_photos_from_an_iterator_reach_every_model() -> None:
    got = compare([MODEL, MODEL], iter(PIXELS), "gradient", target=1)
    assert [len(e) for e in got] == [6, 6]


def test_no_models_are_refused() -> None:
    with pytest.raises(InputError, match="no models"):
        compare([], PIXELS)


@pytest.mark.parametrize("inputs", [PIXELS, [*PIXELS], torch.from_numpy(PIXELS), pictures(6, dtype=torch.float32)])
@pytest.mark.parametrize("wave", [None, 1])
def test_progress_runs_once_through_all_waves(inputs: Any, wave: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if wave is not None:
        monkeypatch.setattr(api.waves, "WAVE", wave)
    seen: list[tuple[int, int]] = []
    done = explain(MODEL, inputs, SmoothGrad(samples=3), target=1, progress=lambda *now: seen.append(now))
    rows = done[0].record.passes.forward
    assert [total for _, total in seen] == [rows] * len(seen)
    assert (seen[0][0], seen[-1][0]) == (0, rows)
    assert all(before < after for (before, _), (after, _) in pairwise(seen))


def test_progress_through_images_that_nobody_counted_ends_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.waves, "WAVE", 1)
    seen: list[tuple[int, int]] = []
    explain(MODEL, iter(PIXELS), "gradient", target=1, progress=lambda *now: seen.append(now))
    assert seen == [(0, 1), *((n, n) for n in range(1, 7))]


# -- planning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wave", [None, 1])
def test_a_plan_counts_what_is_done(wave: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if wave is not None:
        monkeypatch.setattr(api.waves, "WAVE", wave)
    planned = plan(MODEL, PIXELS, "sauron,grad_cam", top_k=2)
    done = explain(MODEL, PIXELS, "sauron,grad_cam", top_k=2)[0].record.passes
    for name in ("rounds", "forward", "backward", "calls"):
        assert getattr(planned.least, name) == getattr(planned.most, name) == getattr(done, name)
    assert planned.images == 6
    assert planned.unshared.forward > planned.least.forward


def test_an_adaptive_method_is_planned_as_a_range() -> None:
    method = IntegratedGradients(steps=2, tolerance=1e-9, max_steps=16)
    planned = plan(MODEL, PIXELS, method, target=1)
    done = explain(MODEL, PIXELS, method, target=1)[0].record.passes
    assert planned.least.forward < planned.most.forward
    assert planned.least.forward <= done.forward <= planned.most.forward


def test_a_plan_does_not_run_the_model_on_the_photos() -> None:
    seen: list[int] = []
    counting = Calls(lambda m, x: (seen.append(len(x)), m.inner(x))[1], inner=NET)
    model = TorchModel(counting, RESIZED)
    planned = plan(model, PIXELS, "gradient", target=1)
    assert set(seen) == {1}
    assert len(seen) == planned.verification


def test_a_plan_is_printed() -> None:
    text = str(plan(MODEL, PIXELS, "gradient,grad_cam"))
    assert "plan for 6 images: Gradient, Grad-CAM" in text
    assert "forward rows     6   (unshared 12)" in text


def test_a_plan_shows_what_runs_inside_other_methods() -> None:
    groups = plan(MODEL, PIXELS, Smooth(Integrate(Gradient(), steps=3), samples=4)).groups
    assert len(groups) == 2
    assert groups[0].startswith("forward: 6 rows (At × 1)")
    assert re.match(
        r"inside Integrate, \d+ of 24 rows: inside Gradient, \d+ of \d+ rows: forward \+ backward: ", groups[1]
    )


NAMES = ["deletion", "insertion_deletion", "fidelity_correlation", "avg_sensitivity", "random_logit", "sparseness"]


@pytest.mark.parametrize("wave", [None, 1])
@pytest.mark.parametrize("controls", [False, True])
def test_a_plan_counts_what_is_measured(wave: int | None, controls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explaining and measuring together, and measuring alone of what is there: what is done, to the call."""
    if wave is not None:
        monkeypatch.setattr(api.waves, "WAVE", wave)
    methods = [Gradient(), registry.make("grad_cam"), registry.make("smooth_grad", {"samples": 3})]
    both = plan(MODEL, PIXELS, methods, metrics=NAMES, controls=controls)
    got = explain(MODEL, PIXELS, methods)
    alone = plan(MODEL, got, metrics=NAMES, controls=controls)
    again = measure(MODEL, got, NAMES, inputs=PIXELS, controls=controls)[0].passes
    kept = measure(MODEL, got, NAMES, controls=controls)[0].passes  # from the pictures that explanations keep
    for name in ("rounds", "forward", "backward"):
        before = getattr(got[0].record.passes, name)
        assert getattr(alone.least, name) == getattr(alone.most, name) == getattr(kept, name)
        assert getattr(both.least, name) == getattr(both.most, name) == getattr(again, name) + before
    assert alone.metrics == both.metrics and alone.methods == both.methods and alone.images == both.images == 6
    assert alone.unshared.forward > alone.least.forward


def test_a_plan_of_measuring_refuses_what_costs_nothing_or_says_nothing() -> None:
    with pytest.raises(ParameterError, match="cost nothing"):
        plan(MODEL, PIXELS, "gradient", metrics=["pointing_game"])
    with pytest.raises(ParameterError, match="metrics to measure them with"):
        plan(MODEL, explain(MODEL, PIXELS, "gradient"))


def test_a_plan_refuses_what_a_run_refuses() -> None:
    with pytest.raises(TargetError, match="no class"):
        plan(MODEL, PIXELS, "gradient", target="tabby")


# -- layers ------------------------------------------------------------------------------------------------------


def test_layers_are_listed_without_a_photo_where_the_size_is_known() -> None:
    assert layers(MODEL) == layers(MODEL, PIXELS[0])
    with pytest.raises(InputError, match="any size"):
        layers(wrap(NET, Preprocess()))


def test_a_model_without_maps_has_no_layers_to_list() -> None:
    assert layers(net(nn.Linear(4, 3)), torch.rand(1, 4, dtype=torch.float64)) == []


def test_a_class_given_as_a_target_is_that_class() -> None:
    assert first(PIXELS, target=Class("cup")).target.index == (2,) * 6


# -- what an explanation holds -----------------------------------------------------------------------------------


def test_an_explanation_holds_the_raw_outputs_of_its_rows_and_the_rows_that_ran_at_once(tmp_path: Path) -> None:
    rows = RESIZED.rows([images.read(one) for one in PIXELS])
    got = explain(MODEL, rows, [Gradient(), SmoothGrad(samples=3)])
    with torch.no_grad():
        expected = MODEL.module(rows)
    for e in (*got, *load(save(got, tmp_path / "kept"))):
        assert e.outputs is not None
        torch.testing.assert_close(e.outputs, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(e[2].outputs, expected[2:3], rtol=1e-4, atol=1e-5)
        assert e.record.rows >= 1
        assert e.record.versions["threads"] == str(torch.get_num_threads())


def test_an_explanation_is_drawn_with_the_look_it_carries(tmp_path: Path) -> None:
    (plain,) = explain(MODEL, PIXELS[:1], "input_x_gradient")
    grey = replace(plain, look="grayscale")
    (kept,) = load(save(grey, tmp_path / "grey"))
    assert kept.look == "grayscale"
    assert draw(kept)[0].palette.name == draw(plain, "grayscale")[0].palette.name != draw(plain)[0].palette.name
