"""The way from text to rows: somebody's tokenizer, and padding to one length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import InputError

ENDLESS = 10**9
"""Tokenizers without a longest length give a number above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text as a model sees it: its ids, the pieces that they stand for, and what was decided on the way."""

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Rows of token ids, made by a tokenizer of the `transformers` library or one that is used like it.

    tokenizer  `tokenizer([text])["input_ids"]` gives the ids, `tokenizer.convert_ids_to_tokens(ids)` their pieces
    pad        the id of padding; None where the vocabulary has none
    longest    most tokens of one text; what is longer is cut by the tokenizer, and the notes say what was left out
    """

    tokenizer: Any = field(repr=False)
    pad: int | None = None
    longest: int | None = None

    @classmethod
    def of(cls, tokenizer: Any, most: int | None = None) -> Tokens:
        """What the tokenizer says of itself; most: how many places the model has, if known."""
        own = getattr(tokenizer, "model_max_length", None)
        limits = [n for n in (own, most) if n is not None and n < ENDLESS]
        return cls(tokenizer=tokenizer, pad=tokenizer.pad_token_id, longest=min(limits, default=None))

    # -- what a model's preprocessing is asked for; there are no pixels in a text -------------------------------------

    @property
    def linked(self) -> bool:
        return False

    @property
    def size(self) -> None:
        return None

    def to_rows(self, pixels: Tensor) -> Tensor:
        """Vectors of tokens have no other unit."""
        return pixels

    def to_pixels(self, rows: Tensor) -> Tensor:
        return rows

    # -- texts -------------------------------------------------------------------------------------------------------

    def read(self, texts: Any) -> list[Text]:
        """Ids and pieces of every text. Raises InputError for no texts, empty ones, or anything but strings."""
        listed: list[Any] = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        if not listed or not all(isinstance(one, str) for one in listed):
            kinds = ", ".join(sorted({type(one).__name__ for one in listed})) or "nothing"
            raise InputError(f"{kinds} for a model of texts", "a text, a list of texts, or int64 token ids")
        return [self._read(one) for one in listed]

    def _read(self, text: str) -> Text:
        if not text.strip():
            raise InputError("an empty text", "at least one word")
        ids = [int(i) for i in self.tokenizer([text])["input_ids"][0]]
        notes: tuple[str, ...] = ()
        if self.longest is not None and len(ids) > self.longest:
            whole, cut = ids, self.tokenizer([text], truncation=True, max_length=self.longest)["input_ids"][0]
            ids = [int(i) for i in cut]
            notes = (
                f"cut to {len(ids)} of {len(whole)} tokens, which is as many as the model takes; left out: "
                f"‘{shorten(self._spelled(left_out(whole, ids)), 80, placeholder=' …')}’",
            )
        if not ids:
            raise InputError(f"the text {text[:40]!r} has no tokens", "at least one token")
        return Text(text=text, ids=tuple(ids), pieces=self.pieces(ids), notes=notes)

    def pieces(self, ids: Sequence[int]) -> tuple[str, ...]:
        """The piece of text that every id stands for."""
        return tuple(str(piece) for piece in self.tokenizer.convert_ids_to_tokens(list(ids)))

    def _spelled(self, ids: Sequence[int]) -> str:
        decode = getattr(self.tokenizer, "decode", None)
        return " ".join(self.pieces(ids)) if decode is None else str(decode(list(ids)))

    def rows(self, texts: Sequence[Text]) -> Tensor:
        """int64 [batch, tokens], padded on the right to the longest. Raises InputError where padding is impossible."""
        length = max(len(one.ids) for one in texts)
        if self.pad is None and any(len(one.ids) != length for one in texts):
            raise InputError(
                "texts of different lengths, and a tokenizer without a padding token",
                "one text at a time, or a padding token",
                "tokenizer.pad_token = tokenizer.eos_token, where the model was trained so",
            )
        padded = [[*one.ids, *[self.pad or 0] * (length - len(one.ids))] for one in texts]
        return torch.tensor(padded, dtype=torch.int64)

    def unpadded(self, ids: Tensor) -> tuple[int, ...]:
        """The ids of one row without the padding behind them."""
        row = [int(i) for i in ids]
        while len(row) > 1 and row[-1] == self.pad:
            row.pop()
        return tuple(row)


def left_out(whole: Sequence[int], kept: Sequence[int]) -> list[int]:
    """The run of ids that was cut out of a text: behind the beginning that both share, before their common end."""
    start = next((i for i, (a, b) in enumerate(zip(whole, kept, strict=False)) if a != b), len(kept))
    return list(whole[start : start + len(whole) - len(kept)])


def is_tokenizer(what: object) -> bool:
    """Whether something is a tokenizer, rather than a transform of pictures."""
    return callable(what) and hasattr(what, "convert_ids_to_tokens") and hasattr(what, "pad_token_id")
