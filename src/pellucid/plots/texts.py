"""Texts whose words are highlighted by what they weigh, as R's lime shows them."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import TOKEN, Explanation
from pellucid.core.frame import probability_of
from pellucid.core.players import players_of, strongest
from pellucid.plots.rows import Asked, rows_of
from pellucid.plots.tiles import AGAINST, FOR
from pellucid.views.cell import INK, QUIET, RED, SMALL
from pellucid.views.figure import Box, Figure, Mark, Text, bottom
from pellucid.views.letters import fit, width
from pellucid.views.tokens import ink, pieces_of
from pellucid.views.words import number, percent, plain
from pellucid.views.write import write_bytes

LEVELS = 5
"""Intensities of each sign; one more for every fifth of the sum of all magnitudes."""
FAINT = 0.02
"""Words below this part of the strongest one's weight stay without colour."""
MARGIN, LETTERS, LINE, PAD, GAP = 24, 14.0, 26.0, 3.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One piece of a text.

    glued   it goes on with what stands before it
    weight  what it weighs; nothing for what has no part in the explanation
    level   1 … 5, of the colour that supports; −5 … −1, of the one that contradicts; 0 for none
    """

    text: str
    glued: bool
    weight: float = 0.0
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One text under one label.

    says  the label with its probability
    fit   how well the linear model fits; empty for methods without one; before it, where several methods stand
          together, which one it is. low: the fit failed its check
    """

    says: str
    fit: str
    low: bool
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlighted:
    """Texts with highlighted words: shown in notebooks, written as a picture or as a page that scrolls."""

    passages: tuple[Passage, ...]

    def html(self, title: str = "What the words weigh") -> str:
        """A page that needs nothing else and runs no script."""
        digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'"
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(plain(title))}</title><style>{STYLE}</style></head>"
            f'<body class="pellucid-page">{self.fragment()}</body></html>\n'
        )

    def fragment(self) -> str:
        """The texts and what the colours mean, to stand in a page that holds `STYLE`."""
        return f'<div class="pellucid-texts" tabindex="0">{"".join(map(_passage, self.passages))}{_LEGEND}</div>'

    def figure(self, across: int = 720) -> Figure:
        """The same as a picture. across: logical pixels."""
        marks: list[Mark] = []
        for passage in self.passages:
            top = MARGIN if not marks else bottom(marks) + 20
            marks += _head(passage, top, across)
            marks += _lines(passage.words, MARGIN, top + 42, across - 2 * MARGIN)
        marks += _scale(bottom(marks) + 18)
        return Figure(width=across, height=round(bottom(marks)) + MARGIN, marks=tuple(marks), alt=self.alt)

    @property
    def alt(self) -> str:
        """The strongest words of every text."""
        return " ".join(map(_alt, self.passages))

    def png(self) -> bytes:
        """The figure as a PNG file."""
        return self.figure().png()

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a page (`.html`) or a picture (`.png`, `.svg`), by the ending.

        Raises ParameterError for another ending, FileExists if there is a file and `overwrite` is False.
        """
        if Path(path).suffix.lower() in (".html", ".htm"):
            return write_bytes(Path(path), self.html().encode(), overwrite)
        return self.figure().save(path, overwrite)

    def _repr_html_(self) -> str:
        return f"<style>{STYLE}</style>{self.fragment()}"


def plot_text_explanations(explanations: Asked, n_features: int | None = None) -> Highlighted:
    """Texts whose words are highlighted: blue supports the label, red contradicts it.

    There are five intensities, one more for every 20 % that a word has of the sum of all magnitudes in its text; words
    with less than 2 % of the strongest one's weight have no colour. Above every text stand the label with its
    probability and, where there is one, the linear model's fit; where there are several methods, which one it is.

    explanations  of texts; one row for every text and label
    n_features    words highlighted, at most, the strongest ones; None for all that weigh something
    Raises InputError for what is no text, ParameterError for a number below 1.
    """
    if n_features is not None and n_features < 1:
        raise ParameterError(f"n_features={n_features}", "1 or more, or None for all")
    rows = rows_of(explanations)
    passages = [passage_of(row, n_features) for row in rows]
    if len({row.record.method for row in rows}) > 1:
        each = zip(rows, passages, strict=True)
        passages = [replace(one, fit=" · ".join(filter(None, (row.title, one.fit)))) for row, one in each]
    return Highlighted(passages=tuple(passages))


def passage_of(row: Explanation, most: int | None) -> Passage:
    """What is shown of a single row. Raises InputError for what is no text."""
    if TOKEN not in row.dims:
        raise InputError(f"{row.title} of {', '.join(map(plain, row.inputs.name))}, which is no text", "a text")
    players = players_of(row)
    total = sum(abs(player.weight) for player in players)
    least = FAINT * max((abs(player.weight) for player in players), default=0.0)
    kept = {player.number: player.weight for player in strongest(players, most) if abs(player.weight) > least}
    regions = row.extras.get("regions")
    places = list(range(len(players))) if regions is None else regions[0].tolist()
    words = [
        _word(piece.text, piece.glued, kept.get(int(who), 0.0), total)
        for piece, who in zip(pieces_of(row), places, strict=False)
    ]
    chance, r2 = probability_of(row), row.check("r2")
    name = plain(row.target.name[0])
    return Passage(
        says=f"Predicted: {number(row.target.score[0])}" + (f" ({name})" if name else "")
        if chance is None
        else f"Label predicted: {name} ({percent(chance)})",
        fit="" if r2 is None else f"Explainer fit: {r2.value[0]:.2f}".replace("-", "−"),
        low=r2 is not None and not r2.passed[0],
        words=tuple(words),
    )


def level(weight: float, total: float) -> int:
    """1 … 5 by the fifth of the sum of magnitudes that a weight's share falls into, with the weight's sign."""
    if not weight or not total or not math.isfinite(weight):
        return 0
    steps = min(LEVELS, max(1, math.ceil(abs(weight) / total * LEVELS - 1e-9)))
    return steps if weight > 0 else -steps


def _word(text: str, glued: bool, weight: float, total: float) -> Word:
    return Word(text=plain(text), glued=glued, weight=weight, level=level(weight, total))


def _alt(passage: Passage) -> str:
    best = sorted((w for w in passage.words if w.level), key=lambda word: -abs(word.weight))
    each = dict.fromkeys(f"‘{word.text}’ ({signed(word.weight)})" for word in best)  # equal words may weigh together
    said = ", ".join(list(each)[:3]) or "no word"
    return f"{passage.says}; strongest: {said}."


def signed(weight: float) -> str:
    """A weight with its sign."""
    return f"+{number(weight, 2)}" if weight > 0 else number(weight, 2)


# -- colours -----------------------------------------------------------------------------------------------------


def ground(steps: int) -> tuple[int, int, int]:
    """The colour behind words of a level."""
    end = FOR if steps > 0 else AGAINST
    part = 0.12 + 0.88 * (abs(steps) / LEVELS)
    red, green, blue = (round(255 + part * (c - 255)) for c in end)
    return red, green, blue


def _hex(steps: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*ground(steps))


def _name(steps: int) -> str:
    return f"{'p' if steps > 0 else 'n'}{abs(steps)}"


_BOTH = [*range(-LEVELS, 0), *range(1, LEVELS + 1)]

STYLE = (
    ".pellucid-page{margin:0;padding:16px;font:16px/1.5 system-ui,sans-serif;color:#1c2127;background:#fff}"
    ".pellucid-texts{max-height:32em;overflow:auto;padding:4px 8px}"
    ".pellucid-texts section{margin:0 0 1.4em}.pellucid-texts h2{font-size:1em;margin:0}"
    ".pellucid-texts .fit{margin:0 0 .4em;color:#626c77;font-size:.9em}"
    ".pellucid-texts .low{color:#a61b12}"
    ".pellucid-texts .words{margin:0;line-height:1.9;overflow-wrap:anywhere}"
    ".pellucid-texts mark{padding:1px 3px;border-radius:3px;border-bottom:2px solid}"
    ".pellucid-texts .legend{color:#626c77;font-size:.85em}"
    + "".join(
        f".pellucid-texts .{_name(s)}{{background:{_hex(s)};color:{ink(ground(s))};"
        f"border-bottom-color:{_hex(LEVELS if s > 0 else -LEVELS)};"
        f"border-bottom-style:{'solid' if s > 0 else 'dashed'}}}"
        for s in _BOTH
    )
)
"""The style sheet of highlighted texts."""

_LEGEND = (
    '<p class="legend">Contradicts '
    + " ".join(f'<mark class="{_name(s)}">{abs(s) * 20}</mark>' for s in _BOTH if s < 0)
    + " · "
    + " ".join(f'<mark class="{_name(s)}">{s * 20}</mark>' for s in _BOTH if s > 0)
    + " Supports; up to so many per cent of all weight</p>"
)

# -- parts -------------------------------------------------------------------------------------------------------


def _passage(passage: Passage) -> str:
    words = "".join(
        ("" if word.glued or not place else " ") + _marked(word) for place, word in enumerate(passage.words)
    )
    low = " low" if passage.low else ""
    said = f'<p class="fit{low}">{escape(passage.fit)}{" (low)" if passage.low else ""}</p>' if passage.fit else ""
    return f'<section><h2>{escape(passage.says)}</h2>{said}<p class="words" dir="auto">{words}</p></section>'


def _marked(word: Word) -> str:
    if not word.level:
        return escape(word.text)
    return f'<mark class="{_name(word.level)}" title="{signed(word.weight)}">{escape(word.text)}</mark>'


def _head(passage: Passage, y: float, across: float) -> list[Mark]:
    room = across - 2 * MARGIN
    title = fit(passage.says, room, 15, "Medium")
    marks: list[Mark] = [Text(x=MARGIN, y=y + 13, text=title, size=15, colour=INK, weight="Medium")]
    if passage.fit:
        said, colour = (f"{passage.fit} (low)", RED) if passage.low else (passage.fit, QUIET)
        marks.append(Text(x=MARGIN, y=y + 32, text=said, size=SMALL, colour=colour))
    return marks


def _lines(words: Sequence[Word], x: float, y: float, room: float) -> list[Mark]:
    """The words in lines of at most `room`, from y down."""
    marks: list[Mark] = []
    at = x
    for word in _runs(words):
        pad = PAD if word.level else 0.0
        text = fit(word.text, room - 2 * pad, LETTERS)
        wide = width(text, LETTERS) + 2 * pad
        at += 0 if word.glued or at == x else GAP
        if at > x and at + wide > x + room:
            at, y = x, y + LINE
        colour = INK
        if word.level:
            marks.append(Box(x=at, y=y, width=wide, height=LINE - 5, colour=_hex(word.level), radius=2))
            colour = ink(ground(word.level))
        marks.append(Text(x=at + pad, y=y + 15, text=text, size=LETTERS, colour=colour))
        at += wide
    return marks


def _runs(words: Sequence[Word]) -> list[Word]:
    """The words; those without colour with the signs that follow them, so that they are set as one."""
    out: list[Word] = []
    for word in (w for w in words if w.text):
        if word.glued and not word.level and out and not out[-1].level:
            out[-1] = replace(out[-1], text=out[-1].text + word.text)
        else:
            out.append(word)
    return out


def _scale(y: float) -> list[Mark]:
    """What the colours mean."""
    said = "Contradicts"
    at = MARGIN + width(said, SMALL) + 8
    marks: list[Mark] = [Text(x=MARGIN, y=y + 12, text=said, size=SMALL, colour=QUIET)]
    for steps in _BOTH:
        at += 6 if steps == 1 else 0
        marks.append(Box(x=at, y=y, width=26, height=16, colour=_hex(steps)))
        text = str(20 * abs(steps))
        marks.append(Text(x=at + 13, y=y + 12, text=text, size=10.5, colour=ink(ground(steps)), anchor="m"))
        at += 26
    tail = "Supports; up to so many per cent of all weight"
    return [*marks, Text(x=at + 8, y=y + 12, text=tail, size=SMALL, colour=QUIET)]
