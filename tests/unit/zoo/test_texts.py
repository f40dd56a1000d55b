"""Named models of texts: the configuration decides, and the tokenizer, its limits and the names come along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.unit.texts import bert

import pellucid
from pellucid import zoo
from pellucid.core.errors import InputError
from pellucid.preprocess import Tokens

TEXTS = ["the film was terribly good.", "a great film"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("bert"))


def changed(folder: Path, where: Path, **entries: object) -> Path:
    """A copy of the folder whose configuration has other entries; None takes one out."""
    for file in folder.iterdir():
        (where / file.name).write_bytes(file.read_bytes())
    config = json.loads((where / "config.json").read_text()) | entries
    (where / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return where


def test_a_folder_of_a_text_classifier(folder: Path) -> None:
    hub = pytest.importorskip("transformers")
    before = torch.get_rng_state()
    model = pellucid.load(f"hf:{folder}")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(model.preprocess, Tokens) and model.preprocess.longest == 24
    assert model.labels.names == ("bad", "good")
    module = hub.BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = hub.AutoTokenizer.from_pretrained(folder)
    wanted = module(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    e = pellucid.explain(model, TEXTS, "input_x_gradient", target="good")[0]
    assert e.outputs is not None
    torch.testing.assert_close(e.outputs, wanted.detach(), rtol=1e-5, atol=1e-6)
    assert e.target.name == ("good", "good") and e.inputs.tokens[1] == ("[CLS]", "a", "great", "film", "[SEP]")
    assert e.record.model.name == f"hf:{folder}"


def test_random_weights_need_the_configuration_only(folder: Path) -> None:
    one, two = (zoo.named(f"hf:{folder}", pretrained=p).module.state_dict() for p in (True, False))
    assert one.keys() == two.keys() and not all(torch.equal(one[k], two[k]) for k in one)


def test_without_the_class_that_was_saved_its_kind_decides(folder: Path, tmp_path: Path) -> None:
    assert isinstance(zoo.named(f"hf:{changed(folder, tmp_path, architectures=None)}").preprocess, Tokens)


@pytest.mark.parametrize(
    ("problem", "emits"),
    [("multi_label_classification", "sigmoid_logits"), ("regression", "values"), ("single_label_classification", None)],
)
def test_what_the_outputs_are(folder: Path, tmp_path: Path, problem: str, emits: str | None) -> None:
    model = zoo.named(f"hf:{changed(folder, tmp_path, problem_type=problem)}")
    assert model.emits == emits
    handle = pellucid.load(f"hf:{tmp_path}")
    prediction = pellucid.explain(handle, TEXTS[1], "gradient")[0].prediction
    assert prediction.is_probability == (emits != "values")
    total = sum(prediction.probability[0])
    assert (total == pytest.approx(1, abs=1e-5)) == (emits is None)


def test_weights_without_a_classifier_are_refused(folder: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("transformers")
    changed(folder, tmp_path, architectures=["BertModel"])
    hub.BertModel.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"without weights for classifier.*random"):
        pellucid.load(f"hf:{tmp_path}")


def test_other_tasks_and_missing_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        zoo.named(f"hf:{tmp_path / 'nothing'}")
    hub = pytest.importorskip("transformers")
    hub.SamConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a classifier of images or of texts"):
        zoo.named(f"hf:{tmp_path}")


def test_places_of_a_roberta_begin_behind_padding() -> None:
    hub = pytest.importorskip("transformers")
    config = hub.RobertaConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20,
        max_position_embeddings=12,
    )  # fmt: skip
    module = hub.RobertaForSequenceClassification(config).eval()
    most = zoo.places(module)
    assert most == 10
    module(torch.full((1, 10), 5))
    with pytest.raises((IndexError, RuntimeError)):
        module(torch.full((1, 11), 5))
    assert zoo.places(torch.nn.Linear(2, 2)) is None
