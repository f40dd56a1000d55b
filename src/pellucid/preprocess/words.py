"""The way from text to rows for whatever scores texts: every word may be taken out, or another put in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import TOKEN, Inputs
from pellucid.ops.boards import NOBODY, Board, grouped
from pellucid.preprocess.boundaries import Split, between, characters, words
from pellucid.preprocess.plain import NoPixels

GONE = 0
"""The number of the empty string."""
SPLITS: dict[str, Split] = {"words": words, "characters": characters}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words(NoPixels):
    """Rows of the numbers of strings: words and what stands between them, in turn.

    A row joined together is the text. Hidden words are taken out, or another is put in their place.

    split      `words`, as Unicode's annex 29 cuts them; `characters`; a regular expression of what stands between
               words; or a function text -> spans (start, end) of its words
    mask       what hidden words show; the empty string takes them out
    joined_by  None keeps what stands between words; a string instead of it leaves the words alone, joined by it, as R's
               lime does with a space. The whole text is then changed too
    """

    split: str | Split = "words"
    mask: str = ""
    joined_by: str | None = None
    _strings: list[str] = field(default_factory=lambda: [""], repr=False)
    _numbers: dict[str, int] = field(default_factory=lambda: {"": GONE}, repr=False)

    dtype = torch.float64

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows_of(self, inputs: Any) -> tuple[Tensor, Inputs]:
        """Rows [text, piece], filled up with empty strings, and what they are.

        Raises InputError for no texts, texts without words, or anything but strings.
        """
        texts: list[Any] = [inputs] if isinstance(inputs, str) or not isinstance(inputs, Iterable) else list(inputs)
        if not texts or not all(isinstance(one, str) for one in texts):
            kinds = ", ".join(sorted({type(one).__name__ for one in texts})) or "nothing"
            raise InputError(f"{kinds} for a model of texts", "a text, or a list of texts")
        pieces = [self._pieces(text) for text in texts]
        longest = max(map(len, pieces))
        rows = [[self._number(p) for p in one] + [GONE] * (longest - len(one)) for one in pieces]
        about = Inputs(
            name=tuple(shorten(text, 80, placeholder=" …") for text in texts),
            picture=None,
            shape=(longest,),
            notes=((),) * len(texts),
            tokens=tuple(tuple(one) for one in pieces),
        )
        return torch.tensor(rows, dtype=self.dtype), about

    def decoded(self, rows: Tensor) -> list[str]:
        """The texts again."""
        pieces: np.ndarray[Any, Any] = np.array(self._strings, dtype=object)
        each = pieces[rows.detach().cpu().long().numpy()].tolist()
        if self.joined_by is None:
            return list(map("".join, each))
        return [self.joined_by.join(word for word in row[1::2] if word) for row in each]

    def board(self, rows: Tensor, regions: Any, fill: Any) -> Board:
        """Every word plays, what stands between words is nobody's.

        regions  `auto` and `words`: every word; `vocabulary`: equal words play together, as in a bag of words; or the
                 player of every piece
        fill     `remove`, or the string that hidden words show; `auto` is the front's own
        """
        if isinstance(regions, str) and regions not in ("auto", "words", "vocabulary"):
            raise ParameterError(f"regions {regions!r} of a text", "words, vocabulary, or the player of every piece")
        if not isinstance(fill, str):
            raise ParameterError(f"fill {fill!r} of a text", "remove, or a string")
        shown = self.mask if fill == "auto" else "" if fill == "remove" else fill
        labels = torch.stack([self._players(row, regions) for row in rows])
        number = torch.full((1, 1, 1), float(self._number(shown)), dtype=rows.dtype)
        return Board(x=rows, labels=labels, fill=number, dims=(TOKEN,))

    def _players(self, row: Tensor, regions: Any) -> Tensor:
        """Odd pieces are words."""
        if not isinstance(regions, str):
            return grouped(regions, len(row))
        numbers, seen = torch.full(row.shape, NOBODY), dict[float, int]()
        for place in range(1, len(row), 2):
            word = float(row[place])
            if word != GONE:
                key = word if regions == "vocabulary" else float(place)
                numbers[place] = seen.setdefault(key, len(seen))
        return numbers

    def _pieces(self, text: str) -> list[str]:
        """What stands before the first word, the first word, what follows it, …"""
        pieces, end = [], 0
        for start, stop in self._split(text):
            if not end <= start < stop <= len(text):
                raise ParameterError(f"words of {text[:40]!r} at {(start, stop)}", "spans in order, none of them empty")
            pieces += [text[end:start], text[start:stop]]
            end = stop
        if not pieces:
            raise InputError(f"the text {text[:40]!r} has no words", "at least one word")
        return [*pieces, text[end:]]

    def _split(self, text: str) -> Iterable[tuple[int, int]]:
        if callable(self.split):
            return self.split(text)
        return SPLITS[self.split](text) if self.split in SPLITS else between(self.split)(text)

    def _number(self, string: str) -> int:
        if string not in self._numbers:
            self._numbers[string] = len(self._strings)
            self._strings.append(string)
        return self._numbers[string]
