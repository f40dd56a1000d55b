"""Where the words of a text are, as Unicode and ICU cut them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

Span = tuple[int, int]
Split = Callable[[str], Iterable[Span]]

_MIDDLE = {
    **dict.fromkeys(".‘’․﹒＇．", "."),  # inside words and numbers
    **dict.fromkeys("··՟״‧", ":"),  # inside words
    **dict.fromkeys(",;;։؍٬߸⁄︐︔﹐﹔，；", ","),  # inside numbers
    "'": "'",
    '"': '"',
    "@": "A",
    "\u202f": "_",
    "\u200b": " ",
}
"""Signs by what they may join, in the letters of `_kind`."""
_SINGLE = ("CJK UNIFIED", "CJK COMPAT", "HIRAGANA", "IDEOGRAPHIC ITERATION")
"""Names of letters that are words by themselves where nobody has a dictionary."""

_ON = (
    "(?:"
    "[AH]x*(?:[.:']x*(?=[AH])|(?=[AHN_]))"  # letters; an apostrophe or a point between two of them
    '|Hx*"x*(?=H)'
    "|Nx*(?:[.,']x*(?=N)|(?=[AHN_]))"  # numbers; a comma or a point between two of them
    "|Kx*(?=[K_])"
    "|_x*(?=[AHNK_])"
    ")"
)
"""What goes on, in kinds of letters: rules 5 to 13b of Unicode's annex 29."""
_LAST = "Hx*'x*|[AHNKI]x*"
_WORD = re.compile(f"{_ON}++(?:{_LAST}|_x*)|{_LAST}")
"""A word; a single underscore is none."""


def words(text: str) -> list[Span]:
    """Where the words of a text are: Unicode's rules for word boundaries (annex 29), as ICU 72 and later know them.

    Left out is what has no letter and no number: spaces, punctuation, emoji. `don't`, `3.14`, `e.g`, `a@b.com` are one
    word, `e-mail` is two. ICU cuts Chinese, Japanese and Thai with dictionaries. Here every ideograph and every
    hiragana is a word, and so is what stands between two spaces in Thai, Lao, Khmer and Burmese.
    """
    return [match.span() for match in _WORD.finditer("".join(map(_kind, text)))]


def between(pattern: str) -> Split:
    """Words are what stands between the matches of a regular expression, as `split_expression` of Python's lime."""
    apart = re.compile(pattern)

    def split(text: str) -> list[Span]:
        ends = [0, *(place for match in apart.finditer(text) for place in match.span()), len(text)]
        return [(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=True) if start < stop]

    return split


def characters(text: str) -> list[Span]:
    """Every character is a word, but for white space."""
    return [(place, place + 1) for place, one in enumerate(text) if not one.isspace()]


@lru_cache(maxsize=4096)
def _kind(one: str) -> str:
    """A letter, H one of Hebrew, N a digit, K katakana, I a word by itself, x a mark on what goes before, _ a joint."""
    if one in _MIDDLE:
        return _MIDDLE[one]
    category = unicodedata.category(one)
    if category == "Nd":
        return "N"
    if category == "Pc":
        return "_"
    if category[0] == "M" or category == "Cf" or "\U0001f3fb" <= one <= "\U0001f3ff":
        return "x"
    if category[0] != "L" and category != "Nl":
        return " "
    name = unicodedata.name(one, "")
    if name.startswith(_SINGLE):
        return "I"
    return "K" if "KATAKANA" in name else "H" if name.startswith("HEBREW") else "A"
