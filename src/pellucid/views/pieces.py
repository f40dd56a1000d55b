"""Tokens as people read them: without the signs with which vocabularies mark where words begin or go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORD_STARTS = ("Ġ", "▁")
"""What stands for the space before a word in vocabularies of byte pairs and of SentencePiece."""
BYTE_STARTS = ("Ġ", "Ċ")
"""What gives away a vocabulary of bytes: its letters for a space and a line's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One token as it is read: its letters, and whether it goes on with the word before it."""

    text: str
    glued: bool


def read(names: Sequence[str]) -> tuple[Piece, ...]:
    """Tokens without the signs with which vocabularies mark where words begin or go on."""
    if any(not name or name != name.strip() for name in names):
        return _as_written(names)
    marked = any(name.startswith(WORD_STARTS) for name in names)
    spelled = [_of_bytes(name) for name in names] if any(name.startswith(BYTE_STARTS) for name in names) else names
    return tuple(_piece(name, marked, first=place == 0) for place, name in enumerate(spelled))


def _as_written(names: Sequence[str]) -> tuple[Piece, ...]:
    """Words and what stands between them, in turn, which together are the text; white space is no piece to be seen."""
    ends = ["", *names]
    spaced = [
        name.strip() and (name[0].isspace() or end[-1:].isspace()) for name, end in zip(names, ends, strict=False)
    ]
    return tuple(Piece(text=" ".join(name.split()), glued=not apart) for name, apart in zip(names, spaced, strict=True))


def _of_bytes(name: str) -> str:
    """The letters of a token whose vocabulary writes every byte of UTF-8 as one letter: `cafÃ©` is `café`.

    The sign of a word's start stays. Bytes that are only a part of a letter are shown as ones that are lacking.
    """
    start = name[: len(name) - len(name.lstrip(BYTE_STARTS[0]))]
    rest = name[len(start) :]
    if not rest or any(letter not in LETTERS for letter in rest):
        return name  # a special token, or no vocabulary of bytes
    return start + bytes(LETTERS[letter] for letter in rest).decode("utf-8", "replace")


def _letters() -> dict[str, int]:
    """The letter of every byte as GPT-2 writes them: its own where that is printed, else one from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


LETTERS = _letters()


def _piece(name: str, marked: bool, first: bool) -> Piece:
    if name.startswith("##") and len(name) > 2:
        return Piece(text=name[2:], glued=not first)
    begins = name.startswith(WORD_STARTS)
    bare = name[1:] if begins else name
    special = name[:1] in "<[" and name[-1:] in ">]"
    return Piece(
        text=bare.replace("Ċ", "⏎").replace("\n", "⏎") or "␣", glued=marked and not begins and not special and not first
    )
