"""A small model of texts, a tokenizer that is used like those of the transformers library, and both by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.unit.models import net
from torch import Tensor, nn

SEQUENCE = "[PAD] [CLS] the film was good bad very ##ly terrib not and . great a [SEP]"
WORDS = SEQUENCE.split(" ")
WIDTH, CLASSES = 6, 3


class Splitter:
    """Words of a small vocabulary, in capitals or not; what it does not know is left out."""

    pad_token_id: int | None = 0
    model_max_length = 12

    def __call__(
        self, texts: Sequence[str], truncation: bool = False, max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        rows = [[1, *(WORDS.index(word) for word in text.lower().split() if word in WORDS), 15] for text in texts]
        return {"input_ids": [[*row[: max_length - 1], 15] if truncation and max_length else row for row in rows]}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [WORDS[i] for i in ids]


class Encoder(nn.Module):
    """Vectors of tokens and places, one block of attention, the class token's vector through a head."""

    def __init__(self, most: int = 12) -> None:
        super().__init__()
        self.place = nn.Embedding(most, WIDTH)
        self.word = nn.Embedding(len(WORDS), WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def of_vectors(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The scores of given vectors of tokens, [batch, tokens, width]."""
        tokens = vectors + self.place(torch.arange(vectors.shape[1]))
        scores = self.q(tokens) @ self.k(tokens).transpose(1, 2) / WIDTH**0.5
        shares = scores.masked_fill(mask[:, None] == 0, -1e30).softmax(-1)
        return self.head(torch.tanh(self.norm(tokens + shares @ self.v(tokens))[:, 0]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.of_vectors(self.word(input_ids), mask)


def encoder() -> Encoder:
    """Seeded weights in float64."""
    made = net(Encoder())
    assert isinstance(made, Encoder)
    return made


def bert(where: Path, labels: Sequence[str] = ("bad", "good"), most: int = 24) -> Path:
    """A folder with a small BERT that classifies texts and its tokenizer, as `save_pretrained` writes it."""
    hub, tok = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    raw = tok.Tokenizer(tok.models.WordPiece({w: i for i, w in enumerate([*WORDS, "[UNK]"])}, unk_token="[UNK]"))
    raw.pre_tokenizer = tok.pre_tokenizers.BertPreTokenizer()
    raw.post_processor = tok.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 15)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    hub.PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(where)
    config = hub.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=17,
        max_position_embeddings=most,
    )  # fmt: skip
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hub.BertForSequenceClassification(config).eval().save_pretrained(where)
    return where
