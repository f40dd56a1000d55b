"""Every exception of the toolkit. Each says what came, what was wanted, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PellucidError(Exception):
    """Base of all errors raised on purpose by pellucid.

    The message has up to three sentences: what is wrong with what came (`got`), what was wanted
    (`wanted`), and the remedy (`do`).
    """

    def __init__(self, got: str, wanted: str = "", do: str = "") -> None:
        self.got, self.wanted, self.do = got, wanted, do
        parts = [got, f"Wanted: {wanted}" if wanted else "", f"Do: {do}" if do else ""]
        super().__init__("\n  ".join(part for part in parts if part))


class InputError(PellucidError, ValueError):
    """An argument cannot be used; nothing was computed."""


class ImageError(InputError):
    """A picture cannot be read, or is refused."""


class TargetError(InputError):
    """The output to be explained does not exist or is ambiguous."""


class SiteError(InputError):
    """The layer asked for does not exist, is ambiguous, or has no height and width."""


class ParameterError(InputError):
    """A parameter of a method is outside its range or unknown."""


class UnsupportedModel(PellucidError):
    """The model cannot answer this kind of question."""


class RuleError(UnsupportedModel):
    """A backward rule has no meaning for an operation on the path."""


class NonFinite(PellucidError, ArithmeticError):
    """The model returned NaN or infinity for a clean input."""


class OutOfMemory(PellucidError, MemoryError):
    """One row at a time still does not fit into memory."""


class FileExists(PellucidError, FileExistsError):
    """A file is in the way and overwriting was not asked for."""


class FormatError(PellucidError, ValueError):
    """A stored file is damaged, of another version, or not ours."""


def nearest(word: str, among: Iterable[str], count: int = 3) -> str:
    """The closest names to a misspelt one, for error messages: `'tabby', 'tiger cat'` or an empty string."""
    by_lower = {name.lower(): name for name in among}
    hits = get_close_matches(word.lower(), by_lower, n=count, cutoff=0.5)
    starts = [low for low in by_lower if word and word.lower() in low and low not in hits]
    return ", ".join(repr(by_lower[low]) for low in (hits + starts)[:count])
