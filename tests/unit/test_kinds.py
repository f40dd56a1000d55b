"""Classifiers and regressors: logits are never taken for values, and the model stays itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.api import as_classifier, as_regressor, explain, wrap
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import Explanation
from pellucid.core.frame import lines_of
from pellucid.methods.lime import LIME

ROWS = torch.tensor([[0.5, -1.0, 2.0]])
QUICK = LIME(samples=16, fill=0.0)


def linear(outputs: int, *after: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(1)
    layer = nn.Linear(3, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, 3, generator=draw) * 3)
        layer.bias.zero_()
    return nn.Sequential(layer, *after)


def one(model: Any) -> Explanation:
    return explain(model, ROWS, QUICK, target=0)[0]


def kind(e: Explanation) -> str:
    return lines_of(e)[0]["model_type"]


@pytest.mark.parametrize("wrapped", [lambda m: m, wrap, as_classifier, lambda m: as_classifier(as_regressor(m))])
def test_logits_are_probabilities_of_classes_and_never_values(wrapped: Any) -> None:
    module = linear(3)
    e = one(wrapped(module))
    assert kind(e) == "classification"
    chance = module(ROWS).softmax(1)[0, 0].item()
    assert e.target.score[0] == pytest.approx(chance, rel=1e-5)
    assert e.target.output == "probability"


def test_a_single_logit_is_a_value_until_somebody_says_that_it_is_not() -> None:
    module = linear(1)
    value = module(ROWS).item()
    assert one(module).target.score[0] == pytest.approx(value)
    assert kind(one(module)) == "regression"
    e = one(as_classifier(module))
    assert kind(e) == "classification"
    assert e.target.score[0] == pytest.approx(float(torch.tensor(value).sigmoid()), rel=1e-5)
    named = one(as_classifier(module, ["cat"]))
    assert named.target.name == ("cat",)


def test_probabilities_stay_what_they_are() -> None:
    for module in (linear(3, nn.Softmax(1)), linear(1, nn.Sigmoid())):
        chance = module(ROWS)[0, 0].item()
        assert one(as_classifier(module)).target.score[0] == pytest.approx(chance, rel=1e-5)
    known = wrap(linear(3), emits="sigmoid_logits")
    assert as_classifier(known).emits == "sigmoid_logits"


def test_functions_are_classified_by_what_they_give() -> None:
    weight = np.array([1.0, -0.5, 0.25])

    def logit(x: Tensor) -> np.ndarray:
        return x.numpy() @ weight + 3

    def chance(x: Tensor) -> np.ndarray:
        return 1 / (1 + np.exp(-(x.numpy() @ weight)))

    assert kind(one(wrap(logit))) == "regression"
    at = float(logit(ROWS)[0])
    assert one(as_classifier(logit)).target.score[0] == pytest.approx(1 / (1 + np.exp(-at)), rel=1e-5)
    assert one(as_classifier(wrap(chance), ["yes"])).target.score[0] == pytest.approx(float(chance(ROWS)[0]), rel=1e-5)
    many = one(as_regressor(lambda x: np.stack([logit(x), chance(x)], 1)))
    assert kind(many) == "regression" and many.target.score[0] == pytest.approx(at, rel=1e-5)


def test_a_regressor_explains_values_even_where_they_look_like_probabilities() -> None:
    shares = linear(3, nn.Softmax(1))
    e = one(as_regressor(shares))
    assert kind(e) == "regression"
    assert e.target.score[0] == pytest.approx(shares(ROWS)[0, 0].item(), rel=1e-5)
    assert one(shares).prediction.is_probability


def test_the_model_and_its_handle_stay_as_they_are() -> None:
    module = linear(2)
    handle = wrap(module, labels=["a", "b"], name="mine")
    other = as_regressor(handle)
    assert type(other) is type(handle) and other.module is module
    assert (handle.emits, other.emits, other.name) == (None, "values", "mine")
    assert other.labels.names == ("a", "b")
    assert as_classifier(other, ["c", "d"]).labels.names == ("c", "d") and handle.labels.names == ("a", "b")
    assert one(handle).prediction.is_probability and not one(other).prediction.is_probability
    assert "emits" not in module.__dict__


def test_a_name_is_a_model_and_labels_are_names() -> None:
    kept = as_classifier(linear(2))  # nobody else holds this module
    assert one(kept).prediction.is_probability
    with pytest.raises(ParameterError, match="labels"):
        as_classifier(linear(2), "ab")
    with pytest.raises(ParameterError, match="3 class names"):
        one(as_classifier(linear(2), ["a", "b", "c"]))


def test_a_table_needs_a_model_that_was_wrapped_with_one() -> None:
    pd = pytest.importorskip("pandas")
    rows = np.array([[-1.0, 2.0], [0.5, 3.0]])
    bare = as_classifier(lambda table: table @ np.eye(2))
    for given in (rows, pd.DataFrame(rows, columns=["a", "b"])):
        with pytest.raises(InputError, match=r"pellucid\.wrap\(model, table\)"):
            explain(bare, given, "lime")
    with pytest.raises(InputError, match=r"pellucid\.wrap\(model, table\)"):
        explain(len, rows, "lime")  # pyright: ignore[reportArgumentType]
