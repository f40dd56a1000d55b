"""A small network that reads words, and its vocabulary, like those of `docs/tutorials/text.md`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pellucid.preprocess.boundaries import words


class Vocabulary:
    """The words of some texts by number; 0 is padding, 1 what is unknown or hidden."""

    pad_token_id, mask_token_id = 0, 1

    def __init__(self, texts: Sequence[str]) -> None:
        self.names = ["[PAD]", "[UNK]", *sorted({word for text in texts for word in self.cut(text)})]
        self.known = {name: number for number, name in enumerate(self.names)}

    @staticmethod
    def cut(text: str) -> list[str]:
        return [text[start:stop].lower() for start, stop in words(text)]

    def __call__(self, texts: Sequence[str], **more: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[self.known.get(word, 1) for word in self.cut(text)] for text in texts]}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.names[number] for number in ids]


class Network(nn.Module):
    """Vectors of words, each looking at its neighbours, the mean of them, two scores."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, 24, padding_idx=0)
        self.near = nn.Conv1d(24, 24, 3, padding=1)
        self.head = nn.Linear(24, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        there = (input_ids != 0).unsqueeze(-1)
        seen = torch.relu(self.near(self.vectors(input_ids).mT).mT) * there
        return self.head(seen.sum(1) / there.sum(1).clamp_min(1))
