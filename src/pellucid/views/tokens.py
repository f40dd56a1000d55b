"""Texts with a colour behind every token."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from pellucid.core.errors import InputError
from pellucid.core.explanation import TOKEN, Explanation
from pellucid.views.drawing import Ends, draw
from pellucid.views.figure import Box, Figure, Mark, Photo, Text, bottom
from pellucid.views.letters import fit, width
from pellucid.views.look import Look
from pellucid.views.picture import Picture
from pellucid.views.pieces import Piece, read
from pellucid.views.words import number, plain

SIZE, LINE, PAD, GAP = 12.0, 22.0, 2.0, 3.0
"""Letters, lines, the ground left and right of a token, and the space between words; logical pixels."""
DARK, LIGHT = "#101418", "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coloured:
    """A text whose tokens carry the colours of their numbers.

    pieces  the tokens as they are read.
    drawn   their colours, uint8 [1, tokens, 3], what these mean in numbers, and what is to be said of them.
    """

    pieces: tuple[Piece, ...]
    drawn: Picture

    @property
    def colours(self) -> list[tuple[int, int, int]]:
        """Red, green and blue behind every token."""
        return [(int(r), int(g), int(b)) for r, g, b in self.drawn.rgb[0].tolist()]

    def html(self) -> str:
        """Spans that keep their colours wherever they are put; needs no style sheet and no script."""
        spans = "".join(
            f'{"" if piece.glued or not place else " "}<span style="background:#{r:02x}{g:02x}{b:02x};'
            f'color:{ink((r, g, b))};padding:1px 2px;border-radius:2px">{escape(plain(piece.text))}</span>'
            for place, (piece, (r, g, b)) in enumerate(zip(self.pieces, self.colours, strict=True))
            if piece.text
        )
        return f'<span role="img" aria-label="{escape(self.drawn.alt)}" style="line-height:1.9">{spans}</span>'

    def marks(self, x: float, y: float, room: float) -> list[Mark]:
        """The text in lines of at most `room`, from y down."""
        out: list[Mark] = []
        at = x
        for piece, colour in zip(self.pieces, self.colours, strict=True):
            if not piece.text:
                continue  # white space between words
            text = fit(piece.text, room - 2 * PAD, SIZE)
            wide = width(text, SIZE) + 2 * PAD
            at += 0 if piece.glued or at == x else GAP
            if at > x and at + wide > x + room:
                at, y = x, y + LINE
            ground = "#{:02x}{:02x}{:02x}".format(*colour)
            out.append(Box(x=at, y=y, width=wide, height=LINE - 4, colour=ground))
            out.append(Text(x=at + PAD, y=y + 13, text=text, size=SIZE, colour=ink(colour)))
            at += wide
        return out

    def figure(self, across: int = 640) -> Figure:
        """The text with its scale, to be saved as PNG or SVG.

        across  width in logical pixels
        """
        marks = self.marks(16, 16, across - 32)
        end = bottom(marks) + 14
        low, high = (number(value) for value in self.drawn.scale)
        marks += [
            Photo(x=16, y=end, width=160, height=7, rgb=self.drawn.palette.table[None]),
            Text(x=16, y=end + 20, text=low, size=11, colour="#626c77"),
            Text(x=176, y=end + 20, text=high, size=11, colour="#626c77", anchor="r"),
        ]
        return Figure(
            width=across, height=round(end + 36), marks=tuple(marks), alt=self.drawn.alt, note=self.drawn.note
        )

    def png(self, across: int = 640) -> bytes:
        """The figure as a PNG file."""
        return self.figure(across).png()

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the figure as a PNG or an SVG file. Raises FileExists if there is one and `overwrite` is False."""
        return self.figure().save(path, overwrite)

    def _repr_html_(self) -> str:
        return self.html()


def tokens(
    explanation: Explanation, look: Look | str | None = None, *, scale: float | Ends | None = None
) -> list[Coloured]:
    """Texts of an explanation, one per row, with a colour behind every token. The explanation stays as it is.

    look   how to draw, as for maps: vectors of tokens are reduced like channels; None chooses by kind.
    scale  what the ends of the palette mean: a pair, or the largest magnitude; None takes it from each row.
    Raises InputError where the values are not those of tokens.
    """
    if TOKEN not in explanation.dims:
        raise InputError(
            f"an explanation with the axes {', '.join(explanation.dims)} is no text", "the axis token, perhaps channel"
        )
    return [
        Coloured(pieces=pieces_of(row), drawn=drawn)
        for row, drawn in zip(explanation, draw(explanation, look, scale=scale), strict=True)
    ]


def pieces_of(row: Explanation) -> tuple[Piece, ...]:
    """The tokens of a single row; numbers where only ids were explained."""
    known = row.inputs.tokens
    return read(known[0]) if known else read([str(i + 1) for i in range(row.values.shape[row.dims.index(TOKEN)])])


def ink(ground: tuple[int, int, int]) -> str:
    """Letters that can be read on a ground: dark on light, light on dark."""
    red, green, blue = ((c / 255) ** 2.2 for c in ground)
    return DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else LIGHT
