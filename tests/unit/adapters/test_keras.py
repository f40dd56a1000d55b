"""Keras on torch: the same numbers as the same net written in torch, layers by their Keras names, nothing changed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.checkpoint import checkpoint

from tests.unit.adapters.keras_nets import InTorch, L, classifier, keras, precision, rows, shaken  # isort: skip

import pellucid
from pellucid.adapters.keras import KerasScores
from pellucid.api import as_model
from pellucid.core.errors import InputError, RuleError, SiteError, UnsupportedModel
from pellucid.propagation.lrp.presets import PRESETS

PRESET = {"zero", "epsilon", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box"} | {
    "excitation_backprop",
    "deep_taylor",
}
METHODS = {
    "gradient": pellucid.Gradient(),
    "integrated gradients": pellucid.IntegratedGradients(steps=8),
    "smooth gradient": pellucid.SmoothGrad(samples=4),
    "guided backprop": pellucid.GuidedBackprop(),
    "deconvnet": pellucid.Deconvnet(),
    "deep lift": pellucid.DeepLift(),
    "reveal-cancel": pellucid.DeepLift(rule="reveal_cancel"),
    "full-grad": pellucid.FullGrad(),
    "occlusion": pellucid.Occlusion(),
    **{f"lrp {name}": pellucid.LRP(composite=name) for name in sorted(PRESET & set(PRESETS))},
}
DIFFERENCES = 2e-5
"""Between small differences of scores, as Keras rounds scores to float32."""
AT = {
    "grad-cam": lambda at: pellucid.GradCAM(at=at, relu=False),
    "hires-cam": lambda at: pellucid.HiResCAM(at=at, relu=False),
    "ablation-cam": lambda at: pellucid.AblationCAM(at=at, relu=False),
}


@pytest.fixture(scope="module", autouse=True)
def _exact() -> Generator[None]:
    """Where Keras computes in float64, rounding flips nothing."""
    with precision("float64"):
        yield


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    model = classifier()
    return pellucid.wrap(model), pellucid.wrap(InTorch(model), evaluate="plain")


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def told(handles: tuple[Any, Any], *methods: Any, x: np.ndarray | None = None) -> tuple[Any, Any]:
    x = rows() if x is None else x
    in_keras = pellucid.explain(handles[0], x, [methods[0]], target=[0, 3])
    return in_keras, pellucid.explain(handles[1], torch.from_numpy(x).permute(0, 3, 1, 2), [methods[-1]], target=[0, 3])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_the_same_as_in_torch(both: tuple[Any, Any], method: Any) -> None:
    for found, wanted in zip(*told(both, method), strict=True):
        assert found.dims == wanted.dims and found.values.shape == wanted.values.shape
        assert float(wanted.values.abs().max()) > 0
        assert apart(found.values, wanted.values) < (DIFFERENCES if method.about.title == "Occlusion" else 1e-6)
        np.testing.assert_allclose(found.target.score, wanted.target.score, rtol=1e-6)


@pytest.mark.parametrize("method", AT.values(), ids=AT.keys())
@pytest.mark.parametrize(("layer", "module"), [("last", "act"), ("norm", "norm")])
def test_maps_at_a_layer_by_its_name_in_keras(both: tuple[Any, Any], method: Any, layer: str, module: str) -> None:
    for found, wanted in zip(*told(both, method(at=layer), method(at=module)), strict=True):
        assert found.record.at == layer
        assert apart(found.values, wanted.values) < (DIFFERENCES if "Ablation" in found.record.title else 1e-6)


def test_a_layer_given_as_an_object(both: tuple[Any, Any]) -> None:
    layer = both[0].module.inside.get_layer("last")
    named, given = (pellucid.explain(both[0], rows(), [pellucid.GradCAM(at=at)])[0] for at in ("last", layer))
    assert torch.equal(named.values, given.values)


def test_square_maps_with_as_many_channels_are_still_read_channels_last() -> None:
    model = keras.Sequential([L.Input((8, 8, 1)), L.Conv2D(6, 3, name="c"), L.GlobalAveragePooling2D(), L.Dense(2)])
    (found,) = pellucid.explain(shaken(model), rows()[:, :8, :8, :1], [pellucid.GradCAM(at="c", relu=False)], target=0)
    kernel, top = (model.get_layer(name).get_weights()[0] for name in ("c", model.layers[-1].name))
    bias = model.get_layer("c").get_weights()[1]
    windows = np.lib.stride_tricks.sliding_window_view(rows()[:, :8, :8, 0], (3, 3), axis=(1, 2))
    maps = np.einsum("bhwij,ijc->bhwc", windows, kernel[:, :, 0]) + bias
    np.testing.assert_allclose(found.values, maps @ top[:, 0] / 36, rtol=1e-4, atol=1e-6)


def test_the_logit_is_explained_behind_a_softmax(both: tuple[Any, Any]) -> None:
    (found,) = pellucid.explain(both[0], rows(), ["gradient"])
    assert any("softmax" in line for line in found.record.decisions)
    assert found.record.model.framework == "keras"
    logits = np.log(both[0].module.inside.predict(rows(), verbose=0))
    gaps = np.asarray(found.prediction.probability) - np.sort(np.exp(logits), 1)[:, ::-1][:, :5]
    assert np.abs(gaps).max() < 1e-6


# -- what a Keras model is before, it is afterwards -----------------------------------------------------------


def state(model: Any) -> list[Any]:
    """Everything that could change: attributes, hooks, weights, gradients, flags."""
    every = [model, *model._flatten_layers(include_self=False)]
    tables = [{k: id(v) for k, v in each.__dict__.items()} for each in every]
    inside = [[len(v) for v in each.__dict__.values() if isinstance(v, dict | list | set)] for each in every]
    weights = [(v.value._version, v.value.grad, v.value.requires_grad, v.numpy().tobytes()) for v in model.variables]
    return [tables, inside, weights, [each.training for each in every]]


def test_nothing_of_the_model_changes(both: tuple[Any, Any]) -> None:
    model = both[0].module.inside
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    before, random = state(model), torch.get_rng_state()
    methods = ["gradient", "grad_cam", "ablation_cam", "guided_backprop", "lrp", "deep_lift", "lime"]
    pellucid.explain(model, rows(), methods)
    with pytest.raises(SiteError):
        pellucid.explain(model, rows(), [pellucid.GradCAM(at="nowhere")])
    assert state(model) == before and torch.equal(torch.get_rng_state(), random)


def test_losses_of_regularisers_do_not_pile_up() -> None:
    model = keras.Sequential([L.Input((12, 12, 3)), L.Flatten(), L.Dense(4, activity_regularizer="l2"), L.Dense(2)])
    model(np.zeros((1, 12, 12, 3), np.float32))
    before = [len(layer._losses) for layer in model.layers]
    pellucid.explain(model, rows(), ["gradient", "lime"])
    assert [len(layer._losses) for layer in model.layers] == before


def test_after_more_training_the_new_weights_are_explained() -> None:
    model = classifier()
    handle = pellucid.wrap(model)
    first = pellucid.explain(handle, rows(), ["gradient"], target=1)[0]
    model.get_layer("top").kernel.assign(model.get_layer("top").kernel * 2.0)
    second = pellucid.explain(handle, rows(), ["gradient"], target=1)[0]
    assert apart(second.values, 2 * first.values) < 1e-9
    assert first.record.model.fingerprint != second.record.model.fingerprint


def test_two_threads_take_turns() -> None:
    model = classifier()
    wanted = pellucid.explain(model, rows(), ["lrp"], target=1)[0].values
    found: list[torch.Tensor] = []

    def work() -> None:
        found.extend(pellucid.explain(model, rows(), ["lrp"], target=1)[0].values for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 9 and all(torch.equal(one, wanted) for one in found)


# -- models of other kinds ------------------------------------------------------------------------------------


def joined() -> Any:
    """Two branches, a sum, a join, a Lambda, a model inside the model, pools of odd sizes."""
    x = start = L.Input((13, 13, 3))
    inner = keras.Sequential([L.Input((13, 13, 3)), L.Conv2D(4, 3, padding="same", name="deep")], name="inner")
    a = L.Activation("relu", name="a")(inner(L.Lambda(lambda t: 2.0 * t - 1.0, name="lambda")(x)))
    b = L.LeakyReLU(name="leaky")(L.Conv2D(4, 1, name="b")(x))
    x = L.Concatenate(name="join")([L.Add(name="sum")([a, b]), a])
    x = L.MaxPooling2D(3, 2, padding="same", name="max")(x)
    x = L.AveragePooling2D(2, padding="same", name="mean")(x)
    x = L.Conv2DTranspose(5, 2, strides=2, name="up")(x)
    x = L.BatchNormalization(name="norm")(L.ZeroPadding2D(1, name="pad")(x))
    x = L.Activation("gelu", name="gelu")(x)
    return shaken(keras.Model(start, L.Dense(3, name="top")(L.GlobalAveragePooling2D(name="gap")(x))))


def test_branches_joins_lambdas_and_models_inside() -> None:
    model, x = joined(), np.random.default_rng(3).random((2, 13, 13, 3), dtype=np.float32)
    every = pellucid.explain(model, x, ["integrated_gradients", "deep_lift", "lrp"], target=1)
    for explanation in every[:2]:
        (check,) = (c for c in explanation.checks if c.name == "completeness")
        assert all(check.passed)
    names = [name for name, *_ in pellucid.layers(model, torch.from_numpy(x))]
    assert {"inner", "inner/deep", "lambda", "sum", "join", "max", "mean", "up", "pad", "gelu"} <= set(names)
    long, short = (pellucid.explain(model, x, [pellucid.GradCAM(at=at)])[0] for at in ("inner/deep", "deep"))
    assert long.record.at == short.record.at == "inner/deep" and torch.equal(long.values, short.values)


class Own(keras.Model):
    """A subclassed model without a `training` argument, that calls functions of keras.ops itself."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.one, self.two = L.Conv2D(4, 3, name="one"), L.Dense(3, name="two")

    def call(self, x: Any) -> Any:
        return self.two(keras.ops.mean(keras.ops.relu(self.one(x)), (1, 2)))


def test_a_subclassed_model() -> None:
    model = Own()
    model(np.zeros((1, 12, 12, 3), np.float32))
    shaken(model)
    found = pellucid.explain(model, rows().astype(np.float32), [pellucid.GradCAM(at="one"), "guided_backprop", "lrp"])
    assert found[0].values.shape == (2, 10, 10)
    wanted = keras.Sequential([L.Input((12, 12, 3)), L.Conv2D(4, 3), L.ReLU(), L.GlobalAveragePooling2D(), L.Dense(3)])
    wanted.set_weights(model.get_weights())
    again = pellucid.explain(wanted, rows().astype(np.float32), [pellucid.GradCAM(at=wanted.layers[0].name, relu=True)])
    assert again[0].values.shape == (2, 10, 10)
    for one, other in zip(found[1:], pellucid.explain(wanted, rows(), ["guided_backprop", "lrp"]), strict=True):
        assert apart(one.values, other.values) < 1e-5


def test_channels_first_models_are_fed_as_they_are() -> None:
    first = keras.Sequential(
        [
            L.Input((3, 12, 12)),
            L.Conv2D(4, 3, data_format="channels_first", name="c", activation="relu"),
            L.GlobalAveragePooling2D(data_format="channels_first"),
            L.Dense(3),
        ]
    )
    last = keras.Sequential(
        [L.Input((12, 12, 3)), L.Conv2D(4, 3, name="c", activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3)]
    )
    shaken(last)
    first.set_weights(last.get_weights())
    x = rows().astype(np.float32)
    asked = ["gradient", pellucid.GradCAM(at="c", relu=False)]
    ours = pellucid.explain(first, x.transpose(0, 3, 1, 2), asked, target=1)
    for one, other in zip(ours, pellucid.explain(last, x, asked, target=1), strict=True):
        assert apart(one.values, other.values) < 1e-5


def test_tables_go_in_as_rows() -> None:
    model = keras.Sequential([L.Input((4,)), L.Dense(3, activation="relu"), L.Dense(1, activation="sigmoid")])
    x = np.random.default_rng(0).random((5, 4))
    (found,) = pellucid.explain(shaken(model), x, ["integrated_gradients"])
    assert found.values.shape == (5, 4)


def test_photos_go_in_by_the_preprocessing_of_keras() -> None:
    scale = keras.applications.xception.preprocess_input  # to [-1, 1], and no resize
    model = shaken(keras.Sequential([L.Input((12, 12, 3)), L.Conv2D(4, 3), L.GlobalMaxPooling2D(), L.Dense(3)]))
    photo = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    (found,) = pellucid.explain(pellucid.wrap(model, scale), photo, ["gradient"], target=1)
    small = np.asarray(Image.fromarray(photo).resize((12, 12), Image.Resampling.BILINEAR))
    wanted = pellucid.explain(model, scale(small[None].astype(np.float32)), ["gradient"], target=1)[0]
    assert apart(found.values, wanted.values) < 1e-5
    assert found.inputs.picture is not None and found.inputs.picture.shape == (1, 12, 12, 3)


# -- refusals -------------------------------------------------------------------------------------------------


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"12, 12, 3"):
        pellucid.explain(classifier(), torch.zeros(1, 3, 12, 12), ["gradient"])


def test_a_model_that_is_not_built_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="not been built"):
        pellucid.wrap(keras.Sequential([L.Dense(3)]))


def test_several_inputs_are_refused() -> None:
    a, b = L.Input((4,)), L.Input((4,))
    with pytest.raises(UnsupportedModel, match="2 inputs"):
        pellucid.wrap(keras.Model([a, b], L.Add()([a, b])))


def test_errors_of_ours_are_not_dressed_up_by_keras() -> None:
    class Checkpointed(L.Layer):
        def call(self, x: Any) -> Any:
            return checkpoint(lambda t: torch.relu(t) * 2, x, use_reentrant=False)

    model = shaken(keras.Sequential([L.Input((4,)), Checkpointed(), L.Dense(2)]))
    with pytest.raises(RuleError, match="heckpoint") as refused:
        pellucid.explain(model, np.random.default_rng(0).random((2, 4)), ["guided_backprop"])
    assert "Exception encountered" not in str(refused.value) and "Arguments received" not in str(refused.value)


def test_recurrent_layers_are_followed_or_refused() -> None:
    model = shaken(keras.Sequential([L.Input((6, 4)), L.LSTM(3), L.Dense(2)]))
    x = np.random.default_rng(0).random((2, 6, 4))
    (found,) = pellucid.explain(model, x, ["integrated_gradients"], target=1)
    (check,) = (c for c in found.checks if c.name == "completeness")
    assert all(check.passed)
    for method in ("lrp", "deep_lift"):
        try:
            (found,) = pellucid.explain(model, x, [method], target=1)
        except UnsupportedModel:
            continue
        assert all(all(c.passed) for c in found.checks if c.name in ("conservation", "completeness"))


def test_noise_in_inference_is_said_and_repeats_itself() -> None:
    class Noisy(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)

    model = shaken(keras.Sequential([L.Input((4,)), Noisy(), L.Dense(3)]))
    then = model.layers[0].seeds.state.numpy()
    first, second = (pellucid.explain(model, np.ones((1, 4)), ["gradient"], target=0)[0] for _ in range(2))
    assert any("stochastic" in line and "keras" in line for line in first.record.decisions)
    assert first.target.score == second.target.score
    np.testing.assert_array_equal(model.layers[0].seeds.state.numpy(), then)


# -- another backend ------------------------------------------------------------------------------------------


def test_a_model_of_another_backend_answers_for_scores(both: tuple[Any, Any]) -> None:
    """It is called with arrays, and what it answers is read as arrays: any backend will do to show it."""
    scored = KerasScores(
        both[0].module.inside, None, list("abcde"), name="scored", outputs=None, emits=None, rows="auto"
    )
    methods = [pellucid.Occlusion(), pellucid.LIME(samples=50)]
    ours = pellucid.explain(scored, rows(), methods, target="d")
    for one, other in zip(ours, pellucid.explain(both[0], rows(), methods, target=3), strict=True):
        assert apart(one.values, other.values) < DIFFERENCES
        assert one.record.model.framework == "keras"
    assert scored.fingerprint() == scored.fingerprint()
    with pytest.raises(UnsupportedModel):
        pellucid.explain(scored, rows(), ["gradient"])
    with pytest.raises(InputError, match=r"12, 12, 3"):
        pellucid.explain(scored, torch.zeros(1, 3, 12, 12), ["lime"])


ELSEWHERE = """
import numpy as np, keras, pellucid
from keras import layers as L
model = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)])
x = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
(found,) = pellucid.explain(model, x, ["occlusion"], target=1, output="logit")
print(keras.backend.backend(), found.values.shape, found.record.model.framework)
assert np.allclose(found.target.score, np.asarray(model(x, training=False))[:, 1], rtol=1e-5)
"""


@pytest.mark.parametrize("backend", ["jax", "numpy"])
def test_jax_and_numpy(backend: str) -> None:
    pytest.importorskip("jax", reason="jax, which Keras needs for both, is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == backend and done.stdout.split()[-1] == "keras"


# -- bare models ---------------------------------------------------------------------------------------------------


def test_a_bare_model_keeps_its_handle_while_it_is_what_it_was_and_is_not_kept_alive() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(2, 3), L.BatchNormalization(), L.Flatten(), L.Dense(3)])
    x = np.random.default_rng(0).random((2, 8, 8, 3))
    handle = as_model(model)
    assert as_model(model) is handle
    (first,) = pellucid.explain(model, x, "gradient", target=0, output="logit")
    for variable in model.trainable_variables:
        variable.assign(variable * 0.5)
    (second,) = pellucid.explain(model, x, "gradient", target=0, output="logit")
    (wrapped,) = pellucid.explain(pellucid.wrap(model), x, "gradient", target=0, output="logit")
    assert torch.equal(second.values, wrapped.values)
    assert second.record.model.fingerprint == wrapped.record.model.fingerprint != first.record.model.fingerprint
    model.add(L.Dense(2))
    (third,) = pellucid.explain(model, x, ["gradient"], target=0, output="logit")
    assert third.outputs is not None
    assert third.outputs.shape == (2, 2)
    assert as_model(model) is not handle
    gone = weakref.ref(model)
    del model, handle
    gc.collect()
    assert gone() is None
