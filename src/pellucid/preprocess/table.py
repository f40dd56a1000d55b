"""The way from a table to rows of numbers and back: columns of any type, coded; what hidden columns show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import InputError, ParameterError, nearest
from pellucid.core.explanation import Cell, Inputs, written
from pellucid.core.points import generator
from pellucid.ops.boards import Board, backgrounds, grouped
from pellucid.ops.columns import Columns
from pellucid.preprocess.plain import NoPixels

if TYPE_CHECKING:
    import narwhals as nw

Type = Literal["numeric", "integer", "categorical", "boolean", "date"]
TYPES: tuple[Type, ...] = ("numeric", "integer", "categorical", "boolean", "date")
MISSING = -1.0
"""The code of a value that is not there, in columns of categories; numbers that are not there are NaN."""

REAL = "fiub"
"""Kinds of numbers that arrays hold."""
KNOWN = 100_000
"""Rows of a table that are kept, at most; every quantile is then known to about 0.2 % of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One column of a table.

    name    as the table has it
    type    `numeric`, `integer`, `categorical`, `boolean` or `date`
    values  of categories: every value once, in order; a row has its number
    """

    name: str
    type: Type
    values: tuple[Any, ...] = ()
    native: Any = field(default=None, repr=False)
    """Categories as the table has them, with one that is missing at the end; of numbers and dates, an empty series."""

    @property
    def coded(self) -> bool:
        """Whether rows hold the number of a category."""
        return self.type in ("categorical", "boolean")

    def text(self, number: float) -> str:
        """A value as people read it."""
        if number != number or (self.coded and number == MISSING):
            return "missing"
        if self.coded:
            return str(self.values[int(number)])
        if self.type == "date":
            return (
                str(np.datetime64(int(number), "us"))
                .replace("T", " ")
                .removesuffix(".000000")
                .removesuffix(" 00:00:00")
            )
        return written(number)

    def typical(self, found: Tensor) -> Tensor:
        """Of numbers and dates the median (of an even count the lower one), of categories the most frequent."""
        if not self.coded:
            return found.nanmedian()
        there = found[found != MISSING]
        return there.mode().values if len(there) else found.new_tensor(MISSING)

    def cell(self, number: float) -> Cell:
        """A value as it is kept beside an explanation: a number where it is one."""
        if self.type not in ("numeric", "integer") or not isfinite(number):
            return self.text(number)
        return int(number) if self.type == "integer" and number.is_integer() else number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table(NoPixels):
    """What the columns of a table are, and reference rows of it.

    columns     in the order in which the model takes them
    background  float64 [many, column]: what hidden columns show, the mean over all of them
    groups      columns that play together, by the name of the group; all others play alone
    like        the library that frames are made with again: `pandas`, `polars`, `pyarrow`; `numpy` for arrays
    """

    columns: tuple[Column, ...]
    background: Tensor = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    like: str = "numpy"
    training: Tensor = field(default_factory=lambda: torch.zeros(0, 0), repr=False)
    """float64 [row, column]: what is known of how columns vary; all rows, or 100,000 of them where there are more."""
    _laws: dict[tuple[Any, ...], Columns] = field(default_factory=dict, init=False, repr=False)
    """How columns vary, as it was asked for, and of which state of the rows."""

    dtype = torch.float64

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        types: Mapping[str, Type] | None = None,
        names: Sequence[str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        background: Any = 100,
        seed: int = 0,
    ) -> Table:
        """What a table shows of itself: best the one that the model was trained on.

        data        a frame of pandas, polars or pyarrow with the columns of the model, or an array [row, column]
        types       of columns that are something else than they look like: numbers that stand for categories
        names       of the columns of an array
        groups      columns that stand or fall together, such as one-hot codes, by the name of the group
        background  how many rows of the data are drawn as references, or the reference rows themselves
        seed        of that draw
        Raises InputError for what is no table, ParameterError for types, names and groups that do not fit.
        """
        frame, like = _framed(data, names)
        known = tuple(frame.columns)
        for name in [*(types or {}), *(one for group in (groups or {}).values() for one in group)]:
            _known(name, known)
        columns = tuple(_column(frame[name], (types or {}).get(name)) for name in known)
        groups = {name: tuple(group) for name, group in (groups or {}).items()}
        made = cls(columns=columns, background=torch.zeros(0, len(columns)), groups=groups, like=like)
        rows = made._encoded(frame)
        made = replace(made, training=_some(rows, KNOWN, seed, "training"))
        if isinstance(background, int) and not isinstance(background, bool):
            return replace(made, background=_some(rows, background, seed, "background"))
        return replace(made, background=made.rows_of(background)[0])

    # -- what a model's front is asked for; there are no pixels in a table -------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def library(self) -> Any:
        """The library that frames are made with: that of the table, or for arrays any that is installed."""
        return _any_backend() if self.like == "numpy" else self.like

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows_of(self, inputs: Any) -> tuple[Tensor, Inputs]:
        """Rows of numbers, float64 [row, column], and what they are.

        inputs  a frame or array with these columns, or one row as a mapping from names to values
        Raises InputError for missing columns and values that a column cannot have.
        """
        if isinstance(inputs, Tensor):
            inputs = inputs.detach().cpu().numpy()
        if isinstance(inputs, Mapping) or self._names(inputs):
            rows = self._encoded_row(dict(inputs.items()))
        elif hasattr(inputs, "shape") and not hasattr(inputs, "columns") and not hasattr(inputs, "column_names"):
            array = np.asarray(inputs)
            array = array[None] if array.ndim == 1 else array
            simple = self._plain(self.columns) and array.shape[1:] == (len(self.columns),) and array.dtype.kind in REAL
            whole = torch.from_numpy(array.astype(np.float64)) if simple else None
            rows = self._encoded(_framed(array, self.names)[0]) if whole is None else whole
        else:
            rows = self._encoded(_framed(inputs, None)[0])
        if not len(rows):
            raise InputError("a table without rows", "at least one row")
        cells = tuple(tuple(c.cell(v) for c, v in zip(self.columns, row, strict=True)) for row in rows.tolist())
        names = tuple(f"row {i + 1}" for i in range(len(rows)))
        shape, notes = (len(self.columns),), ((),) * len(rows)
        return rows, Inputs(name=names, picture=None, shape=shape, notes=notes, features=self.names, cells=cells)

    def decoded(self, rows: Tensor) -> Any:
        """Rows as a frame of the library that the table came from, with its types; or as an array."""
        numbers = rows.detach().cpu().numpy()
        if self.like == "numpy":
            if not any(column.coded for column in self.columns):
                return numbers.copy()  # a model may write into what it is given
            made = [_values(c, numbers[:, i]) if c.coded else numbers[:, i] for i, c in enumerate(self.columns)]
            return np.stack(made, 1) if made else numbers
        import narwhals as nw

        if self._alike(numbers):
            return nw.from_numpy(numbers.copy(), list(self.names), backend=self.library).to_native()
        series = [_series(c, numbers[:, i]) for i, c in enumerate(self.columns)]
        return nw.concat([one.to_frame() for one in series], how="horizontal").to_native()

    def varying(self, bins: int | None, quantiles: bool, draw: str) -> Columns:
        """How the columns vary, arguments as in `Columns.of`; found once for every way of asking."""
        rows = self.training if len(self.training) else self.background
        key = (bins, quantiles, draw, 0 if rows.is_inference() else rows._version)
        if key not in self._laws:
            self._laws[key] = Columns.of(rows, [column.type for column in self.columns], bins, quantiles, draw)
        return self._laws[key]

    @property
    def typical(self) -> Tensor:
        """The median of columns of numbers and dates, the most frequent value of all others, float64 [column]."""
        rows = self.training if len(self.training) else self.background
        return torch.stack([column.typical(found) for column, found in zip(self.columns, rows.mT, strict=True)])

    def board(self, rows: Tensor, regions: Any, fill: Any) -> Board:
        """Every column or group plays. regions: `auto`, groups by name, or the number of every column's group."""
        labels = self._groups(regions)
        auto = isinstance(fill, str) and fill == "auto"
        if isinstance(fill, str) and not auto:
            raise ParameterError(f"fill {fill!r} for a table", "auto (the background), a row, or a table of rows")
        given = self.background if auto else self.rows_of(fill)[0]
        shown = backgrounds(given.to(rows), len(self.columns))
        return Board(x=rows, labels=labels.expand(len(rows), -1), fill=shown[:, None], dims=("feature",))

    def _groups(self, regions: Any) -> Tensor:
        auto = isinstance(regions, str) and regions == "auto"
        groups = self.groups if auto else regions
        if not isinstance(groups, Mapping):
            try:
                return grouped(regions, len(self.columns))
            except ParameterError as error:
                wanted = f"{error.wanted}; or groups by name"
                raise ParameterError(error.got, wanted, "regions={'name': ['column', 'other column']}") from error
        numbers = torch.arange(len(self.columns))
        for names in groups.values():
            at = [self.names.index(_known(name, self.names)) for name in names]
            numbers[at] = min(at)
        return torch.unique(numbers, return_inverse=True)[1]

    def _encoded(self, frame: nw.DataFrame[Any]) -> Tensor:
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise InputError(f"a table without {', '.join(missing[:5])}", f"the columns {', '.join(self.names)}")
        if not len(frame):
            return torch.zeros(0, len(self.columns), dtype=torch.float64)
        plain = [column.name for column in self.columns if self._plain([column])]
        numbers = frame.select(*plain).to_numpy() if plain else np.zeros((len(frame), 0))
        if numbers.dtype.kind not in "fiu":  # some are no numbers, or hold objects: one by one
            plain = []
        at = {name: i for i, name in enumerate(plain)}
        each = [numbers[:, at[c.name]] if c.name in at else _codes(c, frame[c.name]) for c in self.columns]
        return torch.from_numpy(np.stack(each, 1, dtype=np.float64))

    @staticmethod
    def _plain(columns: Iterable[Column]) -> bool:
        """Whether rows hold the numbers that tables hold."""
        return all(column.type in ("numeric", "integer") for column in columns)

    def _alike(self, numbers: np.ndarray[Any, Any]) -> bool:
        """Whether a frame of these rows is one array of numbers."""
        if not self._plain(self.columns):
            return False
        if self.like == "pandas":  # which has a type of its own for numbers that may be missing
            return {str(c.native.to_native().dtype) for c in self.columns} == {"float64"}
        return {str(c.native.dtype) for c in self.columns} == {"Float64"} and not bool(np.isnan(numbers).any())

    def _names(self, one: Any) -> bool:
        """Whether something is a row of a frame that names its values, in any order, as a Series of pandas does."""
        return hasattr(one, "keys") and getattr(one, "ndim", 0) == 1 and any(name in one for name in self.names)

    def _encoded_row(self, row: Mapping[Any, Any]) -> Tensor:
        import narwhals as nw

        lists = {name: [value] for name, value in row.items()}
        return self._encoded(nw.from_dict(lists, backend=self.library))


def _some(rows: Tensor, count: int, seed: int, name: str) -> Tensor:
    """So many rows, drawn, in their order; all where there are no more."""
    if len(rows) <= count:
        return rows
    return rows[torch.randperm(len(rows), generator=generator(seed, name))[:count].sort().values]


def is_table(what: Any) -> bool:
    """Whether something holds rows of columns: a frame, or an array."""
    if isinstance(what, (np.ndarray, Tensor)):
        return what.ndim == 2
    return hasattr(what, "columns") or hasattr(what, "column_names")


# -- columns ---------------------------------------------------------------------------------------------------------


def _framed(data: Any, names: Sequence[str] | None) -> tuple[nw.DataFrame[Any], str]:
    """A frame that all libraries share, and whose it was."""
    import narwhals as nw

    if isinstance(data, Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise InputError(f"an array of shape {data.shape} as a table", "[row, column]")
        named = tuple(names or (f"x{i}" for i in range(data.shape[1])))
        if len(named) != data.shape[1] or len(set(named)) != len(named):
            raise ParameterError(
                f"{len(named)} names for {data.shape[1]} columns", "a name of its own for every column"
            )
        parts = data.T.tolist() if data.dtype == object else data.T  # of objects, every column's own type is found
        return nw.from_dict(dict(zip(named, parts, strict=True)), backend=_any_backend()), "numpy"
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError as error:
        raise InputError(
            f"a {type(data).__name__} as a table", "a frame of pandas, polars or pyarrow, or an array [row, column]"
        ) from error
    if names is not None:
        raise ParameterError("names for a frame", "an array", "a frame has names of its own")
    return frame, str(frame.implementation)


def _any_backend() -> Any:
    """A library that can hold columns."""
    from importlib.util import find_spec

    for name in ("pandas", "polars", "pyarrow"):
        if find_spec(name) is not None:
            return name
    raise InputError("a table, and no library of tables", "pandas, polars or pyarrow", "pip install pandas")


def _column(series: nw.Series[Any], asked: Type | None) -> Column:
    import narwhals as nw

    dtype, name = series.dtype, str(series.name)
    dated = dtype == nw.Date or dtype == nw.Datetime
    if asked is not None and asked not in TYPES:
        raise ParameterError(f"type {asked!r} of column {name!r}", f"one of {', '.join(TYPES)}", nearest(asked, TYPES))
    if asked is None:
        asked = (
            "boolean"
            if dtype == nw.Boolean
            else "integer"
            if dtype.is_integer()
            else "numeric"
            if dtype.is_numeric()
            else "date"
            if dated
            else "categorical"
        )
    if asked not in ("categorical", "boolean"):
        if asked == "date" and not dated:
            raise ParameterError(f"column {name!r} of type {dtype} as dates", "a column of dates")
        if asked != "date" and not dtype.is_numeric():
            raise ParameterError(f"column {name!r} of type {dtype} as {asked}", "a column of numbers")
        return Column(name=name, type=asked, native=series.head(0))
    once = series.unique(maintain_order=True)
    once = once.filter(~once.is_null())
    listed = once.to_list()
    order = sorted(range(len(listed)), key=lambda i: (str(type(listed[i])), listed[i]))
    gone = series.filter(series.is_null()).head(1)
    kept = nw.concat([once[order].to_frame(), gone.to_frame()])[name] if len(gone) else once[order]
    return Column(name=name, type=asked, values=tuple(listed[i] for i in order), native=kept)


def _codes(column: Column, series: nw.Series[Any]) -> np.ndarray[Any, Any]:
    """A column as float64. Raises InputError for a value that it cannot have."""
    import narwhals as nw

    if column.coded:
        number = {value: float(i) for i, value in enumerate(column.values)}
        listed = [None if gone else v for v, gone in zip(series.to_list(), series.is_null().to_list(), strict=True)]
        strange = [v for v in dict.fromkeys(listed) if v is not None and v not in number]
        if strange:
            known = ", ".join(map(str, column.values[:8]))
            near = nearest(str(strange[0]), [str(v) for v in column.values])
            raise InputError(
                f"{strange[0]!r} in column {column.name!r}", f"one of {known}", f"perhaps {near}" if near else ""
            )
        return np.array([MISSING if v is None else number[v] for v in listed], dtype=np.float64)
    if series.null_count() == len(series):  # of no type that could be told
        return np.full(len(series), np.nan)
    if column.type == "date":
        return _dates(column, series)
    if not series.dtype.is_numeric() and series.dtype != nw.Boolean:
        raise InputError(f"column {column.name!r} of type {series.dtype}", "numbers")
    return _floats(series)


def _dates(column: Column, series: nw.Series[Any]) -> np.ndarray[Any, Any]:
    """Microseconds since 1970. Raises InputError for what is no date, whatever the frame's library raises."""
    import narwhals as nw

    try:
        times = series.str.to_datetime() if series.dtype == nw.String else series
        times = times.cast(nw.Datetime("us")) if times.dtype == nw.Date else times
        return _floats(times.dt.timestamp("us"))
    except Exception as error:
        raise InputError(f"column {column.name!r} of type {series.dtype}", "dates of one form") from error


def _floats(series: nw.Series[Any]) -> np.ndarray[Any, Any]:
    if not series.null_count():
        return series.to_numpy().astype(np.float64)
    gone = series.is_null().to_list()
    return np.array([np.nan if g else float(v) for v, g in zip(series.to_list(), gone, strict=True)], dtype=np.float64)


def _values(column: Column, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values of categories by number, for arrays."""
    table = np.array([*column.values, None if column.native is None else np.nan])
    return table[codes.astype(int)]


def _series(column: Column, numbers: np.ndarray[Any, Any]) -> nw.Series[Any]:
    """A column of a frame, of the type that it had."""
    import narwhals as nw

    native, gone = column.native, np.isnan(numbers)
    if column.coded:
        return _choices(column, numbers)
    values: Iterable[Any] = numbers
    if native.dtype.is_integer() or column.type == "date":
        values = np.rint(np.where(gone, 0, numbers)).astype(np.int64)
    elif native.implementation.is_polars() or native.implementation.is_pyarrow():
        values = [None if g else n for n, g in zip(numbers.tolist(), gone, strict=True)]
    if column.type == "date":
        made = nw.new_series(column.name, values, nw.Int64(), backend=native.implementation)
        return _without(made.cast(nw.Datetime("us")).cast(native.dtype), gone)
    if native.implementation.is_pandas():  # which has more than one type of integers, with and without missing values
        like = native.to_native()
        made = nw.from_native(type(like)(values, dtype=like.dtype, name=column.name), series_only=True)
    else:
        made = nw.new_series(column.name, values, native.dtype, backend=native.implementation)
    return _without(made, gone) if native.dtype.is_integer() else made


def _choices(column: Column, codes: np.ndarray[Any, Any]) -> nw.Series[Any]:
    """A column of categories; where none is missing in the table, the library says what a missing one is."""
    gone, known = codes < 0, len(column.native) > len(column.values)
    made = column.native[np.where(gone, len(column.values) if known else 0, codes).astype(np.int64).tolist()]
    return made if known else _without(made, gone)


def _without(series: nw.Series[Any], gone: np.ndarray[Any, Any]) -> nw.Series[Any]:
    """A series with some values missing; pandas may have another type for those."""
    import narwhals as nw

    if not gone.any():
        return series
    kept = nw.new_series("kept", (~gone).tolist(), nw.Boolean(), backend=series.implementation)
    return series.to_frame().select(nw.when(kept).then(nw.col(series.name)).alias(series.name))[series.name]


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        near = nearest(str(name), names)
        raise ParameterError(f"no column {name!r}", f"one of {', '.join(names)}", f"perhaps {near}" if near else "")
    return name
