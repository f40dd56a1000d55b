"""The way from a photo to a model's input row, and the affine link between row units and pixel units."""

from __future__ import annotations

from pellucid.preprocess.geometry import INTERPOLATIONS
from pellucid.preprocess.preprocess import Preprocess
from pellucid.preprocess.table import Column, Table, is_table
from pellucid.preprocess.tokens import Tokens, is_tokenizer
from pellucid.preprocess.words import Words


def reads_texts(front: object) -> bool:
    """Whether a model's front takes texts."""
    return isinstance(front, (Tokens, Words))


__all__ = [
    "INTERPOLATIONS",
    "Column",
    "Preprocess",
    "Table",
    "Tokens",
    "Words",
    "is_table",
    "is_tokenizer",
    "reads_texts",
]
