"""Texts from strings to explanations: the vectors of tokens against the same model fed with vectors by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net
from tests.unit.texts import WIDTH, WORDS, Encoder, Splitter, encoder
from torch import Tensor, nn

from pellucid import views
from pellucid.api import audit, compare, explain, layers, plan, report, wrap
from pellucid.core.errors import InputError, ParameterError, PellucidError, SiteError, UnsupportedModel
from pellucid.core.explanation import Explanation
from pellucid.core.store import load, save
from pellucid.methods.attention_rollout import AttentionRollout
from pellucid.methods.cam import GradCAM
from pellucid.methods.chefer import GenericAttention
from pellucid.methods.combinators import Smooth
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.le_grad import LeGrad
from pellucid.methods.lrp import LRP
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.preprocess import Tokens
from pellucid.preprocess.tokens import left_out

TEXTS = ["the film was very terrib ##ly good and not bad", "a great film"]
IDS = torch.tensor([[1, 2, 3, 4, 7, 9, 8, 5, 11, 10, 6, 15], [1, 14, 13, 3, 15, 0, 0, 0, 0, 0, 0, 0]])
LABELS = ["bad", "so so", "good"]
EVERY: tuple[Any, ...] = (
    Gradient(), InputXGradient(), IntegratedGradients(steps=4), SmoothGrad(samples=2),
    Smooth(method=Gradient(), samples=2), AttentionRollout(), GenericAttention(), LeGrad(),
)  # fmt: skip


def handle(**more: Any) -> Any:
    return wrap(encoder(), Splitter(), LABELS, **more)


def close(got: Tensor, wanted: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(got, wanted.detach(), rtol=rtol, atol=1e-12)


def slope(vectors: Tensor, ids: Tensor, target: int) -> Tensor:
    leaf = vectors.detach().clone().requires_grad_()
    return torch.autograd.grad(encoder().of_vectors(leaf, (ids != 0).long())[:, target].sum(), leaf)[0]


def one(method: Any, target: Any = 2, texts: Any = TEXTS) -> Explanation:
    return explain(handle(), texts, method, target=target)[0]


# -- numbers -----------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_vectors() -> None:
    e = one(Gradient())
    assert e.dims == ("batch", "token", "channel") and e.record.at is None
    close(e.values, slope(encoder().word(IDS), IDS, 2))
    assert any("vectors, from layer word" in each for each in e.record.decisions)


@pytest.mark.parametrize("composite", ["zero", "cp_lrp"])
def test_the_books_of_a_text_close_at_the_vectors(composite: str) -> None:
    books = audit(handle(), TEXTS[1], LRP(composite=composite), target=2)
    assert books.started is not None and books.arrived is not None
    relevance = explain(handle(), TEXTS[1], LRP(composite=composite), target=2)[0].values
    assert books.arrived == pytest.approx(float(relevance.sum()), rel=1e-9)
    assert books.started == pytest.approx(books.arrived + books.to_constants + books.leaked, rel=1e-9)


@pytest.mark.parametrize("at", [None, "word"])
def test_input_times_gradient_at_the_input_and_at_the_layer_that_makes_it(at: str | None) -> None:
    vectors = encoder().word(IDS)
    close(one(InputXGradient(at=at), target=0).values, vectors * slope(vectors, IDS, 0))


def test_integrated_gradients_begin_at_vectors_of_zeros_and_are_complete() -> None:
    vectors = encoder().word(IDS)
    e = one(IntegratedGradients(steps=64, rule="midpoint"))
    points = [(i + 0.5) / 64 for i in range(64)]
    close(e.values, vectors * torch.stack([slope(t * vectors, IDS, 2) for t in points]).mean(0))
    mask = (IDS != 0).long()
    whole = encoder().of_vectors(vectors, mask) - encoder().of_vectors(torch.zeros_like(vectors), mask)
    torch.testing.assert_close(e.values.sum((1, 2)), whole[:, 2].detach(), rtol=1e-3, atol=1e-4)


class Bag(nn.Module):
    """The mean of all tokens' scores: linear in the vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.head = nn.Embedding(9, 4), nn.Linear(4, 2, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.word(ids)).mean(1)


def test_in_a_bag_of_words_every_word_has_its_own_score() -> None:
    bag, ids = net(Bag()), torch.tensor([[3, 4, 4, 0], [8, 1, 2, 2]])
    wanted = bag.word(ids) * bag.head.weight[1] / 4  # pyright: ignore
    for method in (InputXGradient(), IntegratedGradients(steps=2)):
        close(explain(bag, ids, method, target=1)[0].values, wanted)
    close(explain(bag, ids.int(), InputXGradient(), target=1)[0].values, wanted)


def test_attention_of_texts_is_a_number_for_every_token() -> None:
    model = encoder()
    tokens = model.word(IDS) + model.place(torch.arange(12))
    scores = model.q(tokens) @ model.k(tokens).transpose(1, 2) / WIDTH**0.5
    shares = scores.masked_fill((IDS == 0)[:, None], -1e30).softmax(-1)
    e = one(AttentionRollout())
    assert e.dims == ("batch", "token")
    close(e.values, (shares[:, 0] + torch.eye(12, dtype=shares.dtype)[0]) / 2)
    assert not bool(e.values[1, 5:].any())


@pytest.mark.parametrize("method", EVERY, ids=lambda m: type(m).__name__)
def test_padding_gets_nothing_and_changes_nothing(method: Any) -> None:
    if isinstance(method, (SmoothGrad, Smooth)):
        pytest.skip("noise is drawn for a row of its own length")
    whole, alone = one(method).values, one(method, texts=TEXTS[1]).values
    close(whole[1, :5], alone[0])
    if not isinstance(method, Gradient):
        assert not bool(whole[1, 5:].any())


@pytest.mark.parametrize("method", EVERY, ids=lambda m: type(m).__name__)
def test_chunks_and_neighbours_do_not_matter(method: Any) -> None:
    e = one(method)
    close(explain(handle(rows=1), TEXTS, method, target=2)[0].values, e.values)
    close(explain(handle(), TEXTS, [Gradient(), method], target=2)[1].values, e.values)
    close(explain(handle(), IDS, method, target=2)[0].values, e.values)


def test_the_model_is_left_as_it_was() -> None:
    model = encoder().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    explain(wrap(model, Splitter()), TEXTS, EVERY)
    assert model.training and all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


# -- from strings, and back --------------------------------------------------------------------------------------


def test_tokens_are_kept_and_survive_a_file(tmp_path: Path) -> None:
    e = one(InputXGradient())
    assert e.inputs.name == tuple(TEXTS) and e.inputs.shape == (12,)
    assert e.inputs.tokens[1] == ("[CLS]", "a", "great", "film", "[SEP]")
    assert e.target.name == ("good", "good")
    back = load(save(e, tmp_path / "texts"))[0]
    assert back.inputs == e.inputs and torch.equal(back.values, e.values)
    assert back[1].inputs.tokens == (e.inputs.tokens[1],)
    streamed = explain(handle(), TEXTS, "gradient", target=2, save=tmp_path / "many")[0]
    assert streamed.inputs.tokens == e.inputs.tokens


def test_rows_of_ids_are_read_by_the_tokenizer_too() -> None:
    assert explain(handle(), IDS, "gradient")[0].inputs.tokens == one(Gradient()).inputs.tokens
    assert explain(encoder(), IDS[:1], "gradient")[0].inputs.tokens == ()


def test_what_is_longer_than_the_model_takes_is_cut_and_said() -> None:
    e = one(Gradient(), texts=["the film " * 10])
    assert e.values.shape[1] == 12
    ((note,),) = e.inputs.notes
    assert note.startswith("cut to 12 of 22 tokens, which is as many as the model takes; left out: ")
    assert note.endswith("‘" + " ".join(["the", "film"] * 5) + "’")


@pytest.mark.parametrize(
    ("whole", "kept", "lost"),
    [
        ([1, 5, 6, 7, 8, 2], [1, 5, 6, 2], [7, 8]),  # cut on the right, the end put back
        ([1, 5, 6, 7, 8, 2], [1, 7, 8, 2], [5, 6]),  # cut on the left
        ([5, 6, 7], [5, 6], [7]),
        ([5, 6, 7], [6, 7], [5]),
    ],
)
def test_what_a_cut_left_out(whole: list[int], kept: list[int], lost: list[int]) -> None:
    assert left_out(whole, kept) == lost


@pytest.mark.parametrize("empty", ["", "  \n\t"])
def test_empty_texts_are_refused(empty: str) -> None:
    with pytest.raises(InputError, match="an empty text"):
        explain(handle(), [TEXTS[0], empty], "gradient")


def test_texts_that_begin_alike_are_told_apart() -> None:
    same = " ".join(["film"] * 40)
    e = one(Gradient(), texts=[TEXTS[1], same, same + " bad", TEXTS[1]])
    assert len(set(e.inputs.name)) == 4 and e.inputs.name[3] == "a great film (2)"


def test_models_without_a_mask_are_fed_with_ids_alone() -> None:
    class Bare(Encoder):
        def forward(self, ids: Tensor) -> Tensor:  # pyright: ignore
            return self.of_vectors(self.word(ids), torch.ones_like(ids))

    e = explain(wrap(net(Bare()), Splitter()), TEXTS[1], Gradient(), target=2)[0]
    assert e.values.shape == (1, 5, WIDTH)


def test_plan_and_progress_know_texts() -> None:
    ahead = plan(handle(), TEXTS, "integrated_gradients")
    seen: list[tuple[int, int]] = []
    e = explain(handle(), TEXTS, "integrated_gradients", progress=lambda *rows: seen.append(rows))[0]
    assert ahead.most.forward == e.record.passes.forward == seen[-1][0] == seen[-1][1]
    assert len(explain(handle(), TEXTS[0], "gradient", progress=lambda *_: None)[0]) == 1


def test_the_default_methods_suit_texts() -> None:
    them = explain(handle(), TEXTS)
    assert them.methods == ("integrated_gradients", "input_x_gradient")
    assert plan(handle(), TEXTS).methods == ("Integrated Gradients", "Input × Gradient")


def test_models_of_texts_can_be_compared() -> None:
    both = compare([handle(), handle()], TEXTS, "input_x_gradient", target=2)
    assert [e.record.model.name for e in both] == ["Encoder", "Encoder (2)"]
    close(both[0].values, both[1].values)


# -- refusals ----------------------------------------------------------------------------------------------------


def test_what_is_no_text_is_refused() -> None:
    for wrong in ([], [3], [TEXTS[0], None], 7.5):
        with pytest.raises(InputError, match="a text, a list of texts"):
            explain(handle(), wrong, "gradient")
    with pytest.raises(InputError, match=r"token ids .* for a model with an nn.Embedding"):
        explain(net(Convnet()), IDS, "gradient")
    with pytest.raises(InputError, match="takes texts"):
        layers(handle())


def test_a_tokenizer_without_padding_takes_texts_of_one_length() -> None:
    splitter = Splitter()
    splitter.pad_token_id = None
    model = wrap(encoder(), splitter)
    assert explain(model, [TEXTS[1], TEXTS[1]], "gradient")[0].values.shape[:2] == (2, 5)
    with pytest.raises(InputError, match="without a padding token"):
        explain(model, TEXTS, "gradient")


class Lookup(nn.Module):
    """Vectors by hand: no layer makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Embedding(2, 2)
        self.table = nn.Parameter(torch.zeros(16, 3))

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids].sum(1)


def test_methods_and_models_that_have_no_meaning_for_texts_say_so() -> None:
    with pytest.raises(UnsupportedModel, match="turns them into vectors"):
        explain(net(Lookup()), IDS, "gradient")
    with pytest.raises(SiteError, match="no layer of the model has height and width"):
        explain(handle(), TEXTS, GradCAM())
    with pytest.raises(InputError):
        explain(handle(), TEXTS, Occlusion())
    with pytest.raises((ParameterError, PellucidError), match="blur"):
        explain(handle(), TEXTS, IntegratedGradients(baseline="blur"))


# -- pictures ----------------------------------------------------------------------------------------------------


def test_texts_are_drawn_in_panel_report_and_notebook(tmp_path: Path) -> None:
    them = explain(handle(), TEXTS, ["gradient", "input_x_gradient", "attention_rollout"], target=2)
    svg = views.panel(them).svg()
    assert all(word in svg for word in ("great", "terrib", ">ly<", "[CLS]"))
    assert "pixel" not in svg
    page = report(them, tmp_path / "texts.html").read_text()
    assert page.count('<p class="words"') == 6 and page.count(">ly</span>") == 3
    seen = re.sub(r"<[^>]*>", " ", page.partition("<body>")[2].partition('id="methods"')[0]).lower()
    assert not {"photo", "photos", "picture", "pixel", "map", "maps"} & set(re.findall(r"\w+", seen))
    assert "text 1 of 2" in seen and "terribly good" in seen
    bundle = them._repr_mimebundle_()
    assert "great</span>" in str(bundle["text/html"]) and "image/png" in bundle


def test_a_tokens_object_can_be_given_as_it_is() -> None:
    model = wrap(encoder(), Tokens.of(Splitter(), most=8), LABELS)
    assert explain(model, ["the film " * 10], "gradient")[0].values.shape[1] == 8
    assert len(WORDS) == 16


# -- Hugging Face ------------------------------------------------------------------------------------------------


def test_a_bert_with_its_tokenizer() -> None:
    hub, tok = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate([*WORDS, "[UNK]"])}
    raw = tok.Tokenizer(tok.models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = tok.pre_tokenizers.BertPreTokenizer()
    raw.post_processor = tok.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 15)]
    )
    tokenizer = hub.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
    config = hub.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=17
    )
    model = hub.BertForSequenceClassification(config).double().eval()
    texts = ["the film was terribly good.", "a great film"]
    them = explain(wrap(model, tokenizer), texts, EVERY, target=1)
    assert them[0].inputs.tokens[0] == ("[CLS]", "the", "film", "was", "terrib", "##ly", "good", ".", "[SEP]")
    ids = tokenizer(texts, padding=True, return_tensors="pt")
    vectors = model.get_input_embeddings()(ids["input_ids"]).detach().requires_grad_()
    score = model(inputs_embeds=vectors, attention_mask=ids["attention_mask"]).logits[:, 1].sum()
    (wanted,) = torch.autograd.grad(score, vectors)
    close(them[0].values, wanted)
    close(them[1].values, vectors * wanted)


class Choosy(Encoder):
    """Refuses rows without an end, as sequence to sequence models of Hugging Face do."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if not bool((input_ids == 15).any(1).all()):
            raise ValueError("each example must have an end")
        return super().forward(input_ids, attention_mask)


def test_models_are_looked_at_with_a_row_that_they_take() -> None:
    model = wrap(net(Choosy()), Splitter())
    assert plan(model, TEXTS, "input_x_gradient").images == 2
    close(explain(model, TEXTS, AttentionRollout())[0].values, one(AttentionRollout(), None).values)
