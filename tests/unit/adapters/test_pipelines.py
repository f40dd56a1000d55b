"""Text models that people have: pipelines of Hugging Face and of scikit-learn, functions of lists of strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.texts import bert

import pellucid
from pellucid import LIME, ExactShapley, InputXGradient, Words
from pellucid.adapters import FunctionModel, TorchModel
from pellucid.core.errors import InputError, ParameterError
from pellucid.core.players import players_of
from pellucid.preprocess import Tokens

TEXT = "The film was very good and not bad."
SAID = ["a great good film", "bad terrib film", "good good", "terrib and bad", "great", "bad and bad"]


def pipeline(where: Path, **more: Any) -> Any:
    hub = pytest.importorskip("transformers")
    folder = bert(where, **more)
    model = hub.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    return hub.pipeline("text-classification", model=model, tokenizer=hub.AutoTokenizer.from_pretrained(folder))


def told(pipe: Any, text: str = TEXT) -> dict[str, float]:
    return {one["label"]: one["score"] for one in pipe([text], top_k=None)[0]}


def test_a_pipeline_is_opened_so_that_gradients_can_be_asked_for(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    model = pellucid.wrap(pipe)
    assert isinstance(model, TorchModel) and isinstance(model.preprocess, Tokens)
    slope, game = pellucid.explain(model, TEXT, [InputXGradient(), LIME(samples=64)], target="good")
    assert slope.prediction.probability[0][0] == pytest.approx(max(told(pipe).values()), rel=1e-5)
    said = dict(zip(slope.prediction.name[0], slope.prediction.probability[0], strict=True))
    assert said == pytest.approx(told(pipe), rel=1e-5)
    assert [player.name for player in players_of(game)][:3] == ["The", "film", "was"] or len(players_of(game)) > 3
    again = pellucid.explain(pipe, TEXT, InputXGradient(), target="good")[0]  # as it is, without `wrap`
    assert torch.equal(again.values, slope.values)


def test_a_pipeline_behind_words_is_asked_for_the_scores_of_strings(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    opened, strings = pellucid.wrap(pipe), pellucid.wrap(pipe, Words())
    assert isinstance(strings, FunctionModel) and strings.labels.names == ("bad", "good")
    a, b = (
        pellucid.explain(model, "good bad film", ExactShapley(fill="remove"), target="good", output="logit")[0]
        for model in (opened, strings)
    )
    assert a.target.score == pytest.approx(b.target.score, abs=1e-5)
    assert a.extras["players"][0].tolist() == pytest.approx(b.extras["players"][0].tolist(), abs=1e-5)
    assert b.prediction.is_probability


def test_labels_that_say_nothing_are_no_names_and_a_single_output_is_a_sigmoid(tmp_path: Path) -> None:
    assert pellucid.wrap(pipeline(tmp_path / "a", labels=("LABEL_0", "LABEL_1"))).labels.names is None
    pipe = pipeline(tmp_path / "b", labels=("spam",))
    for front in (None, Words()):
        got = pellucid.explain(pellucid.wrap(pipe, front), TEXT, LIME(samples=16))[0]
        assert got.target.score == (pytest.approx(told(pipe)["spam"], rel=1e-5),)


def test_what_reads_no_texts_is_refused_before_a_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="before a pipeline"):
        pellucid.wrap(pipeline(tmp_path), pellucid.Preprocess.identity())


def test_a_pipeline_of_scikit_learn_is_asked_for_its_probabilities() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipe = make_pipeline(text.TfidfVectorizer(), LogisticRegression(C=10)).fit(SAID, [1, 0, 1, 0, 1, 0])
    model = pellucid.wrap(pipe, Words(), ["bad", "good"])
    (got,) = pellucid.explain(model, TEXT, LIME(samples=500), target="good")
    assert got.target.score == (pytest.approx(float(pipe.predict_proba([TEXT])[0, 1])),)
    weight = {player.name: player.weight for player in players_of(got)}
    assert max(weight, key=weight.__getitem__) == "good"
    assert weight["good"] > 0.02 > abs(weight["very"]) and weight["bad"] < -0.02


def test_a_function_of_strings_may_give_lists_arrays_or_tensors() -> None:
    def lists(texts: list[str]) -> list[list[float]]:
        return [[float(text.count("a")), float(len(text))] for text in texts]

    def tensors(texts: list[str]) -> torch.Tensor:
        return torch.tensor(lists(texts))

    got = [
        pellucid.explain(pellucid.wrap(fn, Words()), "a banana", ExactShapley(), target=0)[0] for fn in (lists, tensors)
    ]
    assert got[0].extras["players"].tolist() == got[1].extras["players"].tolist()


def test_a_model_of_strings_has_no_layers_to_list() -> None:
    model = pellucid.wrap(lambda texts: [float(len(text)) for text in texts], Words(), name="length")
    assert pellucid.plan(model, ["one", "two words"]).what == "text"
    both = pellucid.compare([model, model], ["one text"], LIME(samples=8))
    assert {one.record.model.name for one in both} == {"length", "length (2)"}
    with pytest.raises(InputError, match="int for a model of texts"):
        pellucid.compare([model], [3])
