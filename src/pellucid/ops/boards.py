"""Boards: who plays in a row, and what those show who are hidden. Pictures, rows of numbers, token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.ask import Query
from pellucid.core.errors import InputError, ParameterError, nearest
from pellucid.core.explanation import HEIGHT, WIDTH
from pellucid.core.points import Points
from pellucid.core.site import Stream
from pellucid.ops.dropped import patches, players_of
from pellucid.ops.imputation import imputed
from pellucid.ops.reference import NAMES, is_picture
from pellucid.regions.choice import cut

AT_ONCE = 16
"""Regions that are inpainted together."""
NOBODY = -1
"""The label of places that belong to no player; they are always shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Board:
    """Rows cut into players.

    x       [batch, ...], as the model takes them
    labels  int64 [batch, *places], each row's players 0 … n − 1; −1 for places that are nobody's. Pictures have a
            channel axis more than places
    fill    what hidden places show, [many, batch or 1, ...]; of several, a coalition's score is the mean
    dims    names of the axes of places
    pad     for rows of ids: what is hidden is taken out, and the row filled up with this id; None leaves gaps
    stream  where the tokens of those who are hidden are taken out; None where hidden places show `fill`
    """

    x: Tensor
    labels: Tensor
    fill: Tensor
    dims: tuple[str, ...]
    pad: int | None = None
    stream: Stream | None = None

    def showing(self, shown: Tensor, behind: Tensor | None = None) -> Coalitions:
        """The rows of coalitions; shown: [batch or 1, coalitions, players], bool or shares in 0 … 1.

        behind  number of the one background that every coalition is put before, int64 [batch, coalitions]; by default
                it is put before all of them
        """
        if self.stream is not None:
            raise ParameterError("fill='drop' for a method that mixes photos", "a fill that shows something")
        last = torch.where(self.labels < 0, shown.shape[2], self.labels)
        return Coalitions(self.x, shown, last, self.fill, self.pad, behind if len(self.fill) > 1 else None)


@runtime_checkable
class Cuts(Protocol):
    """A front that knows the players of its rows: words of texts, columns of tables."""

    def board(self, rows: Tensor, regions: Any, fill: Any) -> Board:
        """The board of rows as the model takes them; `auto` asks for the usual players and fill."""
        ...


def board(q: Query, regions: Any, fill: Any, pictures: tuple[Any, Any]) -> Board:
    """The board of a query.

    regions   `auto`, or what says who plays; pictures: as `as_regions` takes it; rows of numbers: the number of every
              column's player
    fill      `auto`, or what hidden players show; pictures: as a baseline, or `region_mean`, or `inpaint`, what
              surrounds a region (each by itself, and so blurred where much is hidden), or `drop`: the tokens of a
              vision transformer are taken out; rows of numbers: a reference row, or several, [many, column]; a list
              of fills is a set of backgrounds
    pictures  what `auto` means for pictures: (regions, fill)
    Raises InputError for rows that cannot be cut, ParameterError for regions and fills that do not fit.
    """
    if isinstance(q.front, Cuts):
        return q.front.board(q.clean, regions, fill)
    if q.x.ndim == 2 and q.clean.is_floating_point():
        return _columns(q, regions, fill)
    if q.x.ndim != 4:
        raise InputError(
            f"rows of shape {tuple(q.x.shape[1:])}",
            "pictures [channel, height, width], rows of numbers [column], or texts with their tokenizer",
            "wrap(model, tokenizer) says what the token ids mean" if not q.clean.is_floating_point() else "",
        )
    if _is(fill, "drop"):
        return _tokens(q, regions)
    labels = cut(_or(regions, pictures[0]), q.pixels().detach()).to(q.x.device)
    chosen = _or(fill, pictures[1])
    each: Sequence[Any] = chosen if isinstance(chosen, (list, tuple)) else (chosen,)
    if not each:
        raise ParameterError("an empty list of fills", "at least one")
    own = {"region_mean": region_mean, "inpaint": inpainted}
    for one in each:
        _known(one, (*own, "drop"))
    fills = [own[one](q, labels) if isinstance(one, str) and one in own else q.baseline(one) for one in each]
    return Board(x=q.x, labels=labels, fill=torch.stack(fills), dims=(HEIGHT, WIDTH))


def _known(fill: Any, own: Sequence[str]) -> None:
    """Raise ParameterError for a name that is none."""
    if not isinstance(fill, str) or fill in (*own[:-1], *NAMES) or is_picture(fill):
        return
    if fill == "drop":
        raise ParameterError("fill 'drop' among others", "'drop' alone: tokens that are taken out show nothing")
    near = nearest(fill, (*own, *NAMES))
    raise ParameterError(
        f"fill {fill!r}",
        f"one of {', '.join((*own, *NAMES))}, a number, a tensor, a picture",
        f"perhaps {near}" if near else "",
    )


def _tokens(q: Query, regions: Any) -> Board:
    """The patches of a vision transformer, or regions of whole patches; who is hidden is taken out as tokens."""
    stream, size = q.stream, q.x.shape[-2:]
    if _is(regions, "auto"):
        labels = patches(stream, *size).to(q.x.device).expand(len(q.x), -1, -1)
    else:
        labels = cut(regions, q.pixels().detach()).to(q.x.device)
    players_of(labels, stream)
    return Board(x=q.x, labels=labels, fill=q.x.new_zeros(1, 1, 1, 1, 1), dims=(HEIGHT, WIDTH), stream=stream)


def _columns(q: Query, regions: Any, fill: Any) -> Board:
    """Rows of numbers, one player per column or group of columns."""
    labels = grouped(regions, q.x.shape[1]).to(q.x.device).expand(len(q.x), -1)
    given = _or(fill, "zero")
    if isinstance(given, str) or not hasattr(given, "__len__"):
        return Board(x=q.x, labels=labels, fill=q.baseline(given)[None], dims=("feature",))
    rows = torch.as_tensor(given).to(q.x)
    return Board(x=q.x, labels=labels, fill=backgrounds(rows, q.x.shape[1])[:, None], dims=("feature",))


def grouped(regions: Any, columns: int) -> Tensor:
    """The player of every column, int64 [columns]: each its own for `auto`, or the groups given.

    Raises ParameterError for anything but one whole number per column.
    """
    if _is(regions, "auto"):
        return torch.arange(columns)
    try:
        given = torch.as_tensor(regions)
    except (TypeError, ValueError, RuntimeError):
        given = torch.zeros(0, 0)
    if given.shape != (columns,) or given.is_floating_point() or given.dtype == torch.bool:
        raise ParameterError(f"regions {str(regions)[:60]!r}", f"the number of every column's group, {columns} numbers")
    return torch.unique(given, return_inverse=True)[1]


def backgrounds(rows: Tensor, columns: int) -> Tensor:
    """Reference rows, [many, columns], of one row or several. Raises ParameterError for other shapes."""
    many = rows[None] if rows.ndim == 1 else rows
    if many.ndim != 2 or many.shape[1] != columns or not len(many):
        raise ParameterError(f"a fill of shape {tuple(rows.shape)}", f"one row of {columns} numbers, or several")
    return many


def region_mean(q: Query, labels: Tensor) -> Tensor:
    """Every region in its mean colour, taken in pixels; in the units of x."""
    pixels = q.pixels().detach()
    means: list[Tensor] = []
    for picture, where in zip(pixels.double().cpu().flatten(2), labels.cpu().flatten(1), strict=True):
        size = torch.bincount(where).double()
        means.append(torch.stack([(torch.bincount(where, one) / size)[where] for one in picture]))
    return q.front.to_rows(torch.stack(means).to(pixels).view_as(pixels))


def inpainted(q: Query, labels: Tensor) -> Tensor:
    """Every region as what surrounds it makes likely, each for itself; in the units of x."""
    made = q.x.detach().clone()
    for b, where in enumerate(labels):
        for some in torch.arange(int(where.max()) + 1).split(AT_ONCE):
            gone = where == some.to(where.device)[:, None, None]
            found = imputed(q.x[b : b + 1].detach().expand(len(some), *q.x.shape[1:]), gone)
            made[b] = torch.where(gone.any(0), (found * gone[:, None]).sum(0), made[b])
    return made


def _is(given: Any, word: str) -> bool:
    return isinstance(given, str) and given == word


def _or(given: Any, usual: Any) -> Any:
    return usual if _is(given, "auto") else given


@dataclass(frozen=True, slots=True, eq=False)
class Coalitions(Points):
    """Rows of which coalitions of players are shown: m ⊙ x + (1 − m) ⊙ fill, m the share at which they are shown.

    Fields as in `Board`, but that places of nobody's have the label after the last player's; shown: [batch or 1,
    coalitions, players]. Point k is coalition k // many before background k % many; with `behind`, int64 [batch,
    coalitions], it is coalition k before that background alone.
    """

    own = True
    x: Tensor
    shown: Tensor
    labels: Tensor
    fill: Tensor
    pad: int | None = None
    behind: Tensor | None = None

    @property
    def many(self) -> int:
        """Backgrounds of every coalition."""
        return 1 if self.behind is not None else len(self.fill)

    @property
    def members(self) -> Tensor | None:
        """The coalitions, [count, players]; None where rows have coalitions of their own."""
        return self.shown[0] if len(self.shown) == 1 else None

    def kin(self, other: Points) -> bool:
        """Whether both are about the same players on the same rows."""
        return isinstance(other, Coalitions) and self.of(other.shown[0]) == other

    def of(self, members: Tensor) -> Coalitions:
        """The same game with other coalitions."""
        return replace(self, shown=members[None])

    @property
    def count(self) -> int:
        return self.shown.shape[1] * self.many

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x, many = self.x[b0:b1], self.many
        if many > 1 and k1 - k0 >= 4 * many:  # whole coalitions, each spread over the places once for all backgrounds
            first, last = k0 // many, -(-k1 // many)
            mask = self._mask(torch.arange(first, last), b0, b1)[:, None]
            fill = self._fill(torch.arange(many), b0, b1)[None]
            here = slice((k0 - first * many) * len(x), (k1 - first * many) * len(x))
        else:
            k, here = torch.arange(k0, k1), slice(None)
            mask, fill = self._mask(k // many, b0, b1), self._fill(k, b0, b1)
        made = torch.where(mask, x, fill) if mask.dtype == torch.bool else torch.lerp(fill, x, mask)
        leading = made.ndim - x.ndim
        if self.pad is None:
            return made.flatten(0, leading)[here]
        return _closed(made.flatten(0, leading)[here], mask.expand_as(made).flatten(0, leading)[here], self.pad)

    def _mask(self, number: Tensor, b0: int, b1: int) -> Tensor:
        """The share at which every place of rows b0..b1 is shown in these coalitions, [coalitions, rows, ...]."""
        x, labels = self.x[b0:b1], self.labels[b0:b1]
        shown = (self.shown if len(self.shown) == 1 else self.shown[b0:b1])[:, number].to(x.device)
        shown = torch.nn.functional.pad(shown, (0, 1), value=1)  # what is nobody's
        if shown.dtype != torch.bool or (x.ndim == 4 and x.is_floating_point()):  # pictures, which are finite: to blend
            shown = shown.to(x.dtype)  # takes half the time of to choose, and is exact where shares are 0 and 1
        if len(shown) == 1:
            mask = _spread(shown[0], labels)
        else:
            mask = torch.stack([_spread(one, where) for one, where in zip(shown, labels, strict=True)], 1)
        deep = (1,) * (x.ndim - labels.ndim)
        behind = labels.ndim == 2  # vectors stand behind their tokens, channels before height and width
        return mask.view(*mask.shape, *deep) if behind else mask.unflatten(1, (-1, *deep))

    def _fill(self, k: Tensor, b0: int, b1: int) -> Tensor:
        """What points k of rows b0..b1 show where they are hidden, [points or 1, rows or 1, ...]."""
        if self.behind is not None:
            row = torch.arange(b0, b1) if self.fill.shape[1] > 1 else torch.zeros(b1 - b0, dtype=torch.int64)
            return self.fill[self.behind[b0:b1, k].mT, row]
        fill = self.fill[:1] if self.many == 1 else self.fill[k % self.many]
        return fill if fill.shape[1] == 1 else fill[:, b0:b1]


def _spread(shown: Tensor, labels: Tensor) -> Tensor:
    """The share at which every place is shown, [coalitions, *places], of that of its player, [coalitions, players]."""
    places = labels.flatten().expand(len(shown), -1)  # a gather takes a third of the time of an index
    return shown.gather(1, places).view(len(shown), *labels.shape)


def _closed(rows: Tensor, kept: Tensor, pad: int) -> Tensor:
    """Rows of ids [rows, places] without those not kept, filled up at the end."""
    order = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)
    return torch.where(kept.gather(1, order), rows.gather(1, order), pad)
