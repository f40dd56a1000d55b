"""The parts of one row that have a worth of their own: superpixels, columns, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.core.errors import InputError
from pellucid.core.explanation import CHANNEL, TOKEN, Explanation, written

FEATURE = "feature"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Player:
    """One part of a row.

    number     its place among the parts of the row, from 0
    name       the number of a superpixel, the name of a column, the word
    value      the numbers of a superpixel's pixels (row × width + column, from 0), a column's value, a word's place
    says       where it is or what it says: `[0-31], [40-71]` (columns, then rows), `age = 53`, the word
    weight     what it is worth
    std_error  standard error of the weight; None where it is not known
    """

    number: int
    name: str
    value: Any
    says: str
    weight: float
    std_error: float | None = None


def players_of(row: Explanation) -> list[Player]:
    """The players of a single row, in the order of their numbers.

    Methods that play games say who plays. Without them every token and every column is a player.
    Raises InputError for maps of single pixels, and for more than one row.
    """
    if len(row) != 1:
        raise InputError(f"an explanation of {len(row)} rows", "one row", "choose one: explanation[0]")
    if "players" in row.extras and "regions" in row.extras:
        return _played(row)
    if TOKEN in row.dims or row.dims[1:] == (FEATURE,):
        return _each(row)
    raise InputError(
        f"{row.title} has a value for every place of {' × '.join(row.dims[1:])}, and no players",
        "a method of regions: LIME, Kernel SHAP, Banzhaf, feature ablation ...",
    )


def strongest(players: Sequence[Player], count: int | None = None) -> list[Player]:
    """Players by the magnitude of their weights, the largest first; at most `count`."""
    return sorted(players, key=lambda player: -abs(player.weight))[:count]


def regions_of(row: Explanation) -> Tensor:
    """The superpixel of every pixel of a single row, int64 [height, width]. Raises InputError where there are none."""
    regions = row.extras.get("regions")
    if len(row) != 1 or regions is None or regions.ndim != 3 or row.inputs.picture is None:
        raise InputError(
            f"{row.title} of {', '.join(row.inputs.name)}",
            "one picture that was cut into regions",
            "explain a picture with LIME, Kernel SHAP or another method of regions, and choose a row: explanation[0]",
        )
    return regions[0].long().cpu()


# -- games -------------------------------------------------------------------------------------------------------


def _played(row: Explanation) -> list[Player]:
    regions = row.extras["regions"][0].long().cpu()
    count = int(regions.max()) + 1
    weights = row.extras["players"][0].double().tolist()
    errors = row.extras["players_std_error"][0].double().tolist() if "players_std_error" in row.extras else None
    describe = _superpixel if regions.ndim == 2 else _word if row.inputs.tokens else _columns
    return [
        Player(
            number=i,
            **describe(row, regions == i, i),
            weight=weights[i],
            std_error=None if errors is None else errors[i],
        )
        for i in range(count)
    ]


def _superpixel(row: Explanation, mine: Tensor, number: int) -> dict[str, Any]:
    y, x = mine.nonzero(as_tuple=True)
    pixels: np.ndarray = mine.flatten().nonzero().flatten().numpy()
    says = f"[{int(x.min())}-{int(x.max())}], [{int(y.min())}-{int(y.max())}]" if len(y) else "nowhere"
    return {"name": str(number), "value": pixels, "says": says}


def _word(row: Explanation, mine: Tensor, number: int) -> dict[str, Any]:
    tokens = row.inputs.tokens[0]
    runs: list[list[str]] = []
    last = -2
    for place in [i for i in mine.nonzero().flatten().tolist() if i < len(tokens)]:
        runs = [*runs[:-1], [*runs[-1], tokens[place]]] if place == last + 1 else [*runs, [tokens[place]]]
        last = place
    word = " ".join(dict.fromkeys(map(joined, runs)))  # a word that stands there twice is named once
    return {"name": word, "value": number, "says": word}


def _columns(row: Explanation, mine: Tensor, number: int) -> dict[str, Any]:
    return _together(row, mine.nonzero().flatten().tolist())


def _together(row: Explanation, columns: Sequence[int]) -> dict[str, Any]:
    """One column, or a group of them."""
    names = [row.inputs.features[i] if row.inputs.features else f"column {i}" for i in columns]
    cells = [row.inputs.cells[0][i] for i in columns] if row.inputs.cells else []
    values = [f" = {written(cell)}" for cell in cells] or [""] * len(names)
    pairs = [_bin(row, i, name) or name + value for i, name, value in zip(columns, names, values, strict=True)]
    value = cells[0] if len(cells) == 1 else ", ".join(map(written, cells)) or None
    return {"name": ", ".join(names), "value": value, "says": ", ".join(pairs)}


def _bin(row: Explanation, column: int, name: str) -> str:
    """Between which numbers the value of a column lies, where the method said so: `4.3 < age <= 5.1`."""
    bins = row.extras.get("bins")
    if bins is None:
        return ""
    low, high = bins[0, column].double().tolist()
    above = f"{_short(low)} < " if low > -inf else ""
    below = f" <= {_short(high)}" if high < inf else ""
    return f"{above}{name}{below}" if above or below else ""


def _short(border: float) -> str:
    """Four digits, or all those before the point: `0.07294`, `2.475`, `123457`."""
    return f"{border:.{max(4, len(str(int(abs(border)))))}g}"


# -- every place a player ----------------------------------------------------------------------------------------


def _each(row: Explanation) -> list[Player]:
    values = _per_place(row, row.values)[0].double().tolist()
    known = row.std_error is not None and CHANNEL not in row.dims
    errors = row.std_error[0].double().tolist() if known and row.std_error is not None else None
    if TOKEN in row.dims:
        names = row.inputs.tokens[0] if row.inputs.tokens else [str(i) for i in range(len(values))]
        words = [joined([name]) for name in names]
        each: list[dict[str, Any]] = [{"name": word, "value": i, "says": word} for i, word in enumerate(words)]
    else:
        each = [_together(row, [i]) for i in range(len(values))]
    return [
        Player(number=i, **about, weight=values[i], std_error=None if errors is None else errors[i])
        for i, about in enumerate(each)
    ]


def _per_place(row: Explanation, values: Tensor) -> Tensor:
    return values.sum(row.dims.index(CHANNEL)) if CHANNEL in row.dims else values


def joined(tokens: Sequence[str]) -> str:
    """The word that some tokens are, without the signs with which vocabularies mark where words begin or go on."""
    bare = "".join(one.removeprefix("##") if len(one) > 2 else one for one in tokens)
    return bare.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n").strip() or bare or "␣"
