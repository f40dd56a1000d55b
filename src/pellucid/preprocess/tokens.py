"""The way from text to rows: somebody's tokenizer, and padding to one length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import TOKEN
from pellucid.ops.boards import NOBODY, Board, grouped
from pellucid.preprocess.plain import NoPixels

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
class Tokens(NoPixels):
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

    def board(self, rows: Tensor, regions: Any, fill: Any) -> Board:
        """Who plays in rows of token ids: the tokens, or `words` of several; special tokens and padding always stay.

        regions  `auto` and `words` join the pieces of a word, `tokens` does not; `vocabulary`: equal words play
                 together, as in a bag of words; or the player of every token
        fill     `mask` puts the mask token; `remove` takes tokens out and closes the row; `auto` masks where there is
                 a mask token; or a token, or its id
        Raises InputError for rows without a player, ParameterError for anything else.
        """
        ids = rows.cpu()
        labels = [self._players(row, regions) for row in ids]
        empty = [i + 1 for i, one in enumerate(labels) if int(one.max()) < 0]
        if empty:
            raise InputError(f"rows {empty} hold special tokens only", "at least one token that may be hidden")
        word = self._fill(fill)
        if word is None and self.pad is None:
            raise ParameterError("fill='remove', and a tokenizer without padding", "a token to put", "fill='mask'")
        shown = torch.full((1, 1, 1), self.pad or 0 if word is None else word, dtype=rows.dtype, device=rows.device)
        return Board(
            x=rows,
            labels=torch.stack(labels).to(rows.device),
            fill=shown,
            dims=(TOKEN,),
            pad=self.pad if word is None else None,
        )

    def _players(self, row: Tensor, regions: Any) -> Tensor:
        """The player of every token; −1 for special ones."""
        pieces = self.pieces(row.tolist())
        free = [not self._special(int(i), piece) for i, piece in zip(row, pieces, strict=True)]
        if not isinstance(regions, str):
            given = grouped(regions, len(row))
            return _numbered([int(one) if may else None for one, may in zip(given, free, strict=True)])
        if regions not in ("auto", "words", "tokens", "vocabulary"):
            wanted = "words, tokens or vocabulary, or the player of every token"
            raise ParameterError(f"regions {regions!r} of a text", wanted)
        starts = [True] * len(pieces) if regions == "tokens" else word_starts(pieces)
        word, seen = 0, []
        for place, (starting, may) in enumerate(zip(starts, free, strict=True)):
            word += starting or not may or (place > 0 and not free[place - 1])
            seen.append(word if may else None)
        return _numbered(_alike(seen, row.tolist()) if regions == "vocabulary" else seen)

    def _special(self, number: int, piece: str) -> bool:
        known = getattr(self.tokenizer, "all_special_ids", None)
        if number == self.pad:
            return True
        if known is not None:
            return number in known and number != getattr(self.tokenizer, "unk_token_id", None)
        return piece[:1] in "<[" and piece[-1:] in ">]" and len(piece) > 2

    def _fill(self, fill: Any) -> int | None:
        """The id that hidden tokens show; None where they are taken out."""
        mask = getattr(self.tokenizer, "mask_token_id", None)
        if fill == "remove" or (fill == "auto" and mask is None):
            return None
        if fill in ("mask", "auto"):
            if mask is None:
                raise ParameterError("fill='mask', and a tokenizer without a mask token", "a token", "fill='remove'")
            return int(mask)
        if isinstance(fill, str):
            find = getattr(self.tokenizer, "convert_tokens_to_ids", None)
            number = None if find is None else find(fill)
            if number is None or number == getattr(self.tokenizer, "unk_token_id", None):
                raise ParameterError(f"fill {fill!r} of a text", "mask, remove, a token of the vocabulary, or its id")
            return int(number)
        if isinstance(fill, int) and not isinstance(fill, bool) and fill >= 0:
            return fill
        raise ParameterError(f"fill {fill!r} of a text", "mask, remove, a token, or its id")

    def unpadded(self, ids: Tensor) -> tuple[int, ...]:
        """The ids of one row without the padding behind them."""
        row = [int(i) for i in ids]
        while len(row) > 1 and row[-1] == self.pad:
            row.pop()
        return tuple(row)


def word_starts(pieces: Sequence[str]) -> list[bool]:
    """Whether a piece begins a word, by the signs of vocabularies: `##` goes on; `▁` and `Ġ` begin, others go on."""
    marked = any(piece.startswith(("▁", "Ġ")) for piece in pieces)
    return [piece.startswith(("▁", "Ġ")) if marked else not piece.startswith("##") for piece in pieces]


def _numbered(players: Sequence[int | None]) -> Tensor:
    """Players numbered 0 … n − 1 in order of appearance; −1 for nobody."""
    order = {one: i for i, one in enumerate(dict.fromkeys(p for p in players if p is not None))}
    return torch.tensor([NOBODY if one is None else order[one] for one in players])


def _alike(words: Sequence[int | None], ids: Sequence[int]) -> list[int | None]:
    """Words of the same ids under the number of the first of them."""
    spelled: dict[int, tuple[int, ...]] = {}
    for word, number in zip(words, ids, strict=True):
        if word is not None:
            spelled[word] = (*spelled.get(word, ()), number)
    first = {how: word for word, how in reversed(spelled.items())}
    return [None if word is None else first[spelled[word]] for word in words]


def left_out(whole: Sequence[int], kept: Sequence[int]) -> list[int]:
    """The run of ids that was cut out of a text: behind the beginning that both share, before their common end."""
    start = next((i for i, (a, b) in enumerate(zip(whole, kept, strict=False)) if a != b), len(kept))
    return list(whole[start : start + len(whole) - len(kept)])


def is_tokenizer(what: object) -> bool:
    """Whether something is a tokenizer, rather than a transform of pictures."""
    return callable(what) and hasattr(what, "convert_ids_to_tokens") and hasattr(what, "pad_token_id")
