"""Tables on the command line: files of comma-separated values, read as the model's own table is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import InputError

if TYPE_CHECKING:
    from pellucid.preprocess import Column, Table

CSV = ".csv"


def rows_of(words: Sequence[str], table: Table, model: str) -> Any:
    """The rows of all files, as a frame of the library that the model's table came from.

    Columns that the model does not take are left out; numbers that stand for names are read as names.
    Raises InputError for other words, files that cannot be read, and columns that are missing.
    """
    import narwhals as nw

    frames = [_frame(word, table, model) for word in words]
    return nw.concat(frames).to_native() if len(frames) > 1 else frames[0].to_native()


def _frame(word: str, table: Table, model: str) -> Any:
    import narwhals as nw

    path = Path(os.path.expanduser(word))
    if path.suffix.lower() != CSV or not path.is_file():
        raise InputError(f"{word[:60]!r} for {model}, which takes rows of a table", f"files that end in {CSV}")
    try:
        frame = nw.read_csv(str(path), backend=table.library)
    except Exception as error:
        raise InputError(f"{word} cannot be read: {type(error).__name__}: {error}", "comma-separated values") from error
    missing = [name for name in table.names if name not in frame.columns]
    if missing:
        raise InputError(f"{word} without {', '.join(missing[:5])}", f"the columns {', '.join(table.names)}")
    if not len(frame):
        raise InputError(f"{word} without rows", "at least one row")
    return frame.select([_read(frame[column.name], column, word) for column in table.columns])


def _read(series: Any, column: Column, word: str) -> Any:
    """Raises InputError for values that are none of the column's type, whatever the frame's library raises."""
    try:
        return _typed(series, column)
    except Exception as error:
        why = f"column {column.name} of {word} is no {column.type}: {str(error).partition(chr(10))[0][:160]}"
        raise InputError(why, "values of one form") from error


def _typed(series: Any, column: Column) -> Any:
    """A column as the model knows it: a code such as 1 or true may be the name of a category."""
    import narwhals as nw

    if column.coded and all(isinstance(value, str) for value in column.values) and series.dtype != nw.String:
        return series.cast(nw.String)
    if column.type == "date" and series.dtype == nw.String:
        return series.str.to_datetime()
    return series
