"""Lines for a terminal: tables, bars and paragraphs that fit its width."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from collections.abc import Sequence

import click

NARROW, WIDE = 60, 100


def width() -> int:
    """Columns to write in: those of the terminal, within reason; 80 where there is none."""
    return max(NARROW, min(WIDE, shutil.get_terminal_size((80, 24)).columns))


def clean(text: str) -> str:
    """One line without control characters: names come from files and models, and may try to steer the terminal."""
    kept = (" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join("".join(kept).split())


def fit(text: str, room: int) -> str:
    """The text, cut with an ellipsis where it is longer than the room."""
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"


def wrap(text: str, indent: str = "", first: str | None = None) -> str:
    """A paragraph of the terminal's width; words longer than a line stay whole."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def head(text: str) -> str:
    """A heading."""
    return click.style(text, bold=True)


def quiet(text: str) -> str:
    """Words of less weight."""
    return click.style(text, dim=True)


def good(text: str) -> str:
    """Passed."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Failed; always written in words too, never by colour alone."""
    return click.style(text, fg="red", bold=True)


def bar(share: float, length: int) -> str:
    """A bar of eighths: `███▌`."""
    eighths = round(max(0.0, min(1.0, share)) * length * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def fits(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), indent: str = "  ") -> bool:
    """Whether no line of such a table would be cut."""
    lines = [[len(clean(cell)) for cell in row] for row in ([heads] if heads else []) + list(rows)]
    return len(indent) + sum(max(column) + 2 for column in zip(*lines, strict=True)) - 2 <= width()


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), indent: str = "  ", right: str = "") -> str:
    """Columns two blanks apart; the last one is cut at the terminal's edge.

    right  one letter per column, `>` for those that are set to the right; the rest stand left
    """
    lines = [[clean(cell) for cell in row] for row in ([heads] if heads else []) + list(rows)]
    if not lines:
        return ""
    sizes = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    room = width() - len(indent)

    def laid(line: list[str]) -> str:
        cells = [c.rjust(n) if right[i : i + 1] == ">" else c.ljust(n) for i, (c, n) in enumerate(zip(line, sizes))]  # noqa: B905
        return indent + fit("  ".join(cells).rstrip(), room)

    out = [laid(line) for line in lines]
    if heads:
        out[0] = quiet(out[0])
    return "\n".join(out)
