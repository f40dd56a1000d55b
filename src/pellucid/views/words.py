"""Words for pictures: numbers as people read them, and a sentence that says what a map shows."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from pellucid.core.explanation import CHANNEL, HEIGHT, TOKEN, WIDTH, Check, Explanation, Kind
from pellucid.core.players import FEATURE, players_of, strongest
from pellucid.views.pieces import read

Noun = Literal["photo", "text", "row"]
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")
_SIGNED = (Kind.CONTRIBUTION, Kind.CAM)


def number(value: float, digits: int = 3) -> str:
    """A number with few digits, a true minus sign and a readable power of ten: `0.0341`, `−12`, `1.2 × 10⁻⁷`."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 99999.5:
        text = f"{value:.{max(digits, len(str(int(abs(value)))))}g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{power}".replace("-", "−")


def plain(text: str) -> str:
    """A text on one line, without control and direction characters, which would break a label or an SVG file."""
    none = ("Cc", "Cf", "Cs", "Zl", "Zp")
    kept = (" " if unicodedata.category(c) in none or c in "\ufffe\uffff" else c for c in text)  # XML has not these two
    return " ".join("".join(kept).split())


def percent(share: float) -> str:
    """A share as whole per cent, `< 1 %` where rounding would say nothing, `over 1000 %` where more would."""
    if not math.isfinite(share):
        return number(share)
    if abs(share) > 10:
        return "over 1000 %" if share > 0 else "below −1000 %"
    if 0 < abs(share) < 0.005:
        return "< 1 %" if share > 0 else "> −1 %"
    return f"{round(100 * share)} %".replace("-", "−")


def checked(check: Check, row: int = 0) -> str:
    """A check's number as people read it: in per cent where it is a share, with its limit where it has one."""
    shown = percent if check.share else number
    return shown(check.value[row]) + ("" if check.limit is None else f", limit {shown(check.limit)}")


def is_text(e: Explanation) -> bool:
    """Whether tokens of texts were explained."""
    return bool(e.inputs.tokens) or TOKEN in e.dims


def is_row(e: Explanation) -> bool:
    """Whether columns of rows of a table were explained, a number for each."""
    return e.dims[1:] == (FEATURE,)


def noun_of(e: Explanation) -> Noun:
    """What was explained, in a word."""
    return "text" if is_text(e) else "row" if is_row(e) or e.inputs.features else "photo"


def what(explanations: Iterable[Explanation]) -> Noun | Literal["input"]:
    """What was explained, in a word; `input` where photos stand beside texts."""
    nouns: list[Noun] = list(dict.fromkeys(noun_of(e) for e in explanations))
    return "input" if len(nouns) > 1 else nouns[0] if nouns else "photo"


def plural(count: int, noun: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def strength(row: Explanation) -> str:
    """How strongly the model says what was explained: its probability if known, else the explained number."""
    t, p = row.target, row.prediction
    if t.output == "probability":
        return f"probability {t.score[0]:.2f}"
    if p.is_probability and t.index[0] is not None and t.index[0] in p.index[0]:
        return f"probability {p.probability[0][p.index[0].index(t.index[0])]:.2f}"
    return f"{t.output.replace('_', ' ')} {number(t.score[0])}"


def describe(row: Explanation) -> str:
    """One or two sentences on the first row: where the mass lies, where the peak is, which checks failed.

    Mass is the sum of magnitudes over channels; the picture is divided into thirds both ways. Rows and columns are
    counted from 1, in the explained input's pixels, also for a map on a coarser grid (the middle of its cell).
    """
    head = f"{plain(row.title)} for ‘{plain(row.target.name[0])}’ ({strength(row)})"
    red = [plain(c.name).replace("_", " ") for c in row.checks if not c.passed[0]]
    tail = f" Failed check: {', '.join(red)}." if red else ""
    return f"{head}: {_says(row)}{tail}"


def _says(row: Explanation) -> str:
    if TOKEN in row.dims:
        return _text_says(row)
    if is_row(row):
        return _row_says(row)
    if HEIGHT not in row.dims or WIDTH not in row.dims:
        return f"{row.values[0].numel()} numbers that are not a map."
    values = row.values[0].detach().to("cpu", torch.float64)
    if not bool(values.isfinite().all()):
        return "the map has values that are not finite."
    if float(values.min()) == float(values.max()):
        return f"the map is flat, all values are {number(float(values.min()))}."
    mass = _mass(row, values)
    share, where = _fullest_third(mass)
    return f"{percent(share)} of the mass lies in the {where}; strongest at {_peak(row, mass)}.{_against(row, values)}"


def per_token(row: Explanation) -> tuple[tuple[str, ...], Tensor]:
    """The tokens of a single row as their vocabulary writes them, and one number for each, in float64.

    Vectors are summed, or where they are slopes measured by their length. Tokens nobody knows are counted from 1.
    """
    values = row.values[0].detach().to("cpu", torch.float64)
    if CHANNEL in row.dims:
        axis = row.dims.index(CHANNEL) - 1
        values = values.norm(dim=axis) if row.kind is Kind.SENSITIVITY else values.sum(axis)
    known = row.inputs.tokens[0] if row.inputs.tokens else tuple(str(i + 1) for i in range(len(values)))
    return known, values[: len(known)]


def _text_says(row: Explanation) -> str:
    """The three tokens with the largest numbers."""
    known, values = per_token(row)
    if not bool(values.isfinite().all()):
        return "some tokens have values that are not finite."
    if float(values.min()) == float(values.max()):
        return f"all tokens have the value {number(float(values.min()))}."
    best = values.abs().argsort(descending=True, stable=True)[:3].tolist()
    names = read(known)
    return "strongest at " + ", ".join(f"‘{plain(names[i].text)}’ ({number(float(values[i]))})" for i in best) + "."


def _row_says(row: Explanation) -> str:
    """The three columns with the largest numbers."""
    if not bool(row.values.isfinite().all()):
        return "some columns have values that are not finite."
    best = strongest([player for player in players_of(row) if player.weight], 3)
    said = ", ".join(f"{plain(player.says)} ({number(player.weight)})" for player in best)
    return f"strongest are {said}." if len(best) > 1 else f"only {said}." if best else "no column has a weight."


def _mass(row: Explanation, values: Tensor) -> Tensor:
    """Σ_c |x_c|, [height, width]."""
    names = row.dims[1:]
    x = values.permute([names.index(a) for a in (CHANNEL, HEIGHT, WIDTH) if a in names]).abs()
    return x.sum(0) if x.ndim == 3 else x


def _fullest_third(mass: Tensor) -> tuple[float, str]:
    """The largest share of the mass in one of nine equal parts of the picture, and the name of that part."""
    parts = _overlap(mass.shape[0]) @ mass @ _overlap(mass.shape[1]).T
    best = int(parts.argmax())
    row, column = divmod(best, 3)
    name = "middle of the picture" if best == 4 else f"{_ROWS[row]} {_COLUMNS[column]} third"
    return float(parts.flatten()[best] / mass.sum()), name


def _overlap(n: int) -> Tensor:
    """[3, n]: how much of cell j (a part of a cell at a border) lies in third k."""
    j, k = torch.arange(n, dtype=torch.float64), torch.arange(3, dtype=torch.float64)[:, None]
    return (torch.minimum(j + 1, (k + 1) * n / 3) - torch.maximum(j, k * n / 3)).clamp(min=0)


def _peak(row: Explanation, mass: Tensor) -> str:
    height, width = mass.shape
    i, j = divmod(int(mass.argmax()), width)
    full = row.inputs.shape[-2:] if len(row.inputs.shape) == 3 else (height, width)
    down, across = int((i + 0.5) * full[0] / height) + 1, int((j + 0.5) * full[1] / width) + 1
    return f"row {down} of {full[0]}, column {across} of {full[1]}"


def _against(row: Explanation, values: Tensor) -> str:
    if row.kind not in _SIGNED or not bool((values < 0).any()):
        return ""
    return f" {percent(float(-values.clamp(max=0).sum() / values.abs().sum()))} of the mass counts against."
