"""SP-LIME: a few rows whose explanations show, together, as much as possible of what matters over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError
from pellucid.core.explanation import HEIGHT, TOKEN, WIDTH, Explanation, Explanations, listed

FEW = 5
"""Features of a row that count as shown, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picked:
    """The rows that were picked, the most telling first."""

    rows: tuple[int, ...]
    """Numbers of the rows, over all explanations in their order."""
    names: tuple[str, ...]
    curve: tuple[float, ...]
    """Share of all importance that is covered after each pick, 0 … 1."""
    features: tuple[str, ...]
    importance: Tensor
    """√Σ|W| of every feature, float64 [features]."""
    explanations: Explanations = field(repr=False)
    """The explanations of the picked rows, one each."""


def submodular_pick(
    explanations: Explanation | Sequence[Explanation], count: int = 5, *, features: int | None = FEW
) -> Picked:
    """max over V, |V| ≤ count, of Σ_j [some row of V shows j] I_j,  I_j = √Σ_i |W_ij|    [Ribeiro et al. 2016, alg. 2]

    Rows are added greedily, the first one among equals, which reaches at least 1 − 1/e of the best cover. Columns of a
    table are features, and so are the pieces of texts, wherever they stand. Regions of pictures are only if all
    pictures have the same regions, a grid or one label map.

    explanations  of many rows, such as those of LIME
    count         rows to be picked; fewer where there are fewer rows
    features      features that a row shows: its strongest ones; None takes all whose weight is not zero, of which a
                  dense explanation shows all at once
    Raises InputError for explanations whose features are not the same things in every row, ParameterError for counts
    below one.
    """
    for name, number in (("count", count), ("features", 1 if features is None else features)):
        if isinstance(number, bool) or number < 1:
            raise ParameterError(f"{name}={number!r}", "a whole number, 1 or more")
    given = tuple(listed(explanations))
    rows = [row for one in given for row in one]
    if not rows:
        raise InputError("no explanations", "explanations of at least one row")
    weights, names = _matrix(rows)
    importance = weights.abs().sum(0).sqrt()
    picked, curve = cover(_strongest(weights, features), importance, min(count, len(rows)))
    return Picked(
        rows=tuple(picked),
        names=tuple(rows[i].inputs.name[0] for i in picked),
        curve=tuple(curve),
        features=names,
        importance=importance,
        explanations=Explanations(tuple(rows[i] for i in picked)),
    )


def cover(shows: Tensor, importance: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Greedy cover: the rows, and the share of all importance covered after each.

    shows: bool [rows, features]; importance: [features].
    """
    covered, total = torch.zeros_like(shows[0]), float(importance.sum()) or 1.0
    free = torch.ones(len(shows), dtype=torch.bool)
    picked: list[int] = []
    curve: list[float] = []
    for _ in range(count):
        gain = (shows & ~covered).double() @ importance.double()
        best = int(torch.where(free, gain, -1.0).argmax())
        picked.append(best)
        free[best] = False
        covered = covered | shows[best]
        curve.append(float(importance[covered].sum()) / total)
    return picked, curve


def _strongest(weights: Tensor, features: int | None) -> Tensor:
    """Which features every row shows, bool [rows, features]."""
    size = weights.abs()
    if features is None or features >= size.shape[1]:
        return size > 0
    rank = size.argsort(dim=1, descending=True, stable=True).argsort(1)
    return (rank < features) & (size > 0)


def _matrix(rows: Sequence[Explanation]) -> tuple[Tensor, tuple[str, ...]]:
    """Weights [rows, features], float64, and the names of the features."""
    kinds = {row.dims for row in rows}
    if len(kinds) > 1:
        raise InputError(f"explanations with different axes: {sorted(kinds)}", "explanations of one kind of rows")
    dims = rows[0].dims[1:]
    if dims == (TOKEN,) and all(row.inputs.tokens for row in rows):
        return _by_piece(rows)
    if set(dims) == {HEIGHT, WIDTH}:
        return _by_region(rows)
    shapes = {tuple(row.values.shape[1:]) for row in rows}
    if len(dims) != 1 or len(shapes) > 1 or dims == (TOKEN,):
        raise InputError(
            f"explanations with the axes {', '.join(rows[0].dims)} and shapes {sorted(shapes)}",
            "one number per column of a table, per token of a text, or per region of pictures",
        )
    names = getattr(rows[0].inputs, "features", ()) or tuple(f"feature {i + 1}" for i in range(*shapes.pop()))
    return torch.cat([row.values.detach().double().cpu() for row in rows]), tuple(names)


def _by_piece(rows: Sequence[Explanation]) -> tuple[Tensor, tuple[str, ...]]:
    """Weights of pieces of text, those of the same piece in one text added up."""
    names = tuple(dict.fromkeys(piece for row in rows for piece in row.inputs.tokens[0]))
    place = {piece: i for i, piece in enumerate(names)}
    weights = torch.zeros(len(rows), len(names), dtype=torch.float64)
    for line, row in zip(weights, rows, strict=True):
        index = torch.tensor([place[piece] for piece in row.inputs.tokens[0]], dtype=torch.int64)
        line.index_add_(0, index, row.values[0, : len(index)].detach().double().cpu())
    return weights, names


def _by_region(rows: Sequence[Explanation]) -> tuple[Tensor, tuple[str, ...]]:
    """Weights of regions, which must be the same places in all pictures."""
    first = rows[0].extras.get("regions")
    if first is None or "players" not in rows[0].extras:
        raise InputError(f"{rows[0].title} gives a number per pixel", "explanations of regions, columns or tokens")
    if not all("regions" in row.extras and torch.equal(row.extras["regions"], first) for row in rows):
        raise InputError(
            "pictures cut into regions of their own: region 3 of one has nothing to do with region 3 of another",
            "the same regions in all pictures",
            "explain with regions='cells(7, 7)' or one label map",
        )
    weights = torch.cat([row.extras["players"].detach().double().cpu() for row in rows])
    return weights, tuple(f"region {i}" for i in range(weights.shape[1]))
