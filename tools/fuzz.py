"""Feed broken files to everything that reads files: only Pellucid's own errors may come out.

    python tools/fuzz.py explanations 600      a target of TARGETS, and for how many seconds

With atheris installed (`pip install atheris`) branches guide the search; without it, files are broken blindly. What
breaks a reader is written to tests/data/crashes/TARGET, where tests/unit/core/test_corpus.py tries it for ever after.
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from pellucid import Preprocess, Table, images
from pellucid.cli import inputs as cli_inputs
from pellucid.cli import masks as cli_masks
from pellucid.cli import rows as cli_rows
from pellucid.core import explanation as core_explanation
from pellucid.core import measurements as core_measurements
from pellucid.core import store
from pellucid.core.errors import PellucidError
from pellucid.core.measurements import Measurements
from pellucid.images import modes, samples
from pellucid.preprocess import table as core_table
from pellucid.regions import given as regions_given

decode = import_module("pellucid.images.decode")  # a function of that name stands before it
CRASHES = Path(__file__).parents[1] / "tests" / "data" / "crashes"
WORK = Path(tempfile.mkdtemp())


def explanations(data: bytes) -> None:
    """A file of explanations."""
    file = WORK / "one.safetensors"
    file.write_bytes(data)
    list(store.load(file))


def index(data: bytes) -> None:
    """The list of parts in a folder."""
    (WORK / store.INDEX).write_bytes(data)
    list(store.load(WORK))


def measurements(data: bytes) -> None:
    """A file of measurements."""
    file = WORK / "one.json"
    file.write_bytes(data)
    list(Measurements.read(file))


def pictures(data: bytes) -> None:
    """The bytes of a picture."""
    images.read(data, limit=1_000_000)


def masks(data: bytes) -> None:
    """A picture that says where the object is, by its name on the command line."""
    folder = WORK / "masks"
    folder.mkdir(exist_ok=True)
    (folder / "one.png").write_bytes(data)
    cli_masks.masks_of(str(folder), {"one.jpg": None}, Preprocess(resize=8, crop=8))


def labels(data: bytes) -> None:
    """A label map: the first byte says of which numbers, the second how wide."""
    kinds = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "bool")
    kind, wide = np.dtype(kinds[data[0] % len(kinds)] if data else "int8"), (data[1] if len(data) > 1 else 1) % 9
    numbers = np.frombuffer(data[2 : 2 + max(0, len(data) - 2) // kind.itemsize * kind.itemsize], kind).copy()
    shaped = numbers[: len(numbers) // wide * wide].reshape(-1, wide) if wide else numbers
    found = regions_given.Labels(labels=shaped)(torch.zeros(1, 3, *(shaped.shape if shaped.ndim == 2 else (1, 1))))
    if found.numel() and found.unique().tolist() != list(range(int(found.max()) + 1)):
        raise RuntimeError("regions that are not numbered 0 … n − 1")


@cache
def _table() -> Table:
    """Columns of every type, with gaps."""
    import pandas as pd

    frame = pd.DataFrame({"a": [0.5, None, 2.0], "n": [1, 2, 3], "c": ["x", "y", None], "b": [True, False, True]})
    return Table.of(frame.assign(d=pd.to_datetime(["2026-01-01", "2026-01-02", None])))


def rows(data: bytes) -> None:
    """Comma-separated values, up to the numbers that a model is given."""
    file = WORK / "one.csv"
    file.write_bytes(data)
    _table().rows_of(cli_rows.rows_of([str(file)], _table(), "a model"))


def texts(data: bytes) -> None:
    """A file that is one text."""
    file = WORK / "one.txt"
    file.write_bytes(data)
    cli_inputs.contents(file)


TARGETS: dict[str, Callable[[bytes], None]] = {
    f.__name__: f for f in (explanations, index, measurements, pictures, masks, labels, rows, texts)
}
MODULES: dict[str, tuple[ModuleType, ...]] = {
    "explanations": (store, core_explanation),
    "index": (store, core_explanation),
    "measurements": (core_measurements,),
    "pictures": (decode, modes, samples),
    "masks": (cli_masks, decode, modes),
    "labels": (regions_given,),
    "rows": (cli_rows, core_table),
    "texts": (cli_inputs,),
}
"""Whose branches guide the search."""


def tried(target: str, data: bytes) -> None:
    """Run one input; one that breaks the reader is kept, and the error goes on."""
    try:
        TARGETS[target](data)
    except PellucidError:
        return
    except Exception:
        folder = CRASHES / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        raise


def seeds(target: str) -> list[bytes]:
    """Whole files, to break."""
    return [file.read_bytes() for file in sorted((CRASHES.parent / "seeds" / target).glob("*"))] or [b""]


def broken(data: bytes, draw: random.Random) -> bytes:
    """A file with a few bytes changed, moved, repeated or left out."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        at, size = draw.randrange(len(out) + 1), draw.choice((1, 1, 2, 4, 16))
        how = draw.randrange(4)
        if how == 0:
            out[at : at + size] = draw.randbytes(size)
        elif how == 1:
            del out[at : at + size]
        elif how == 2:
            out[at:at] = out[draw.randrange(len(out) + 1) :][:size]
        else:
            out[at : at + 1] = draw.choice((b"0", b"-1", b"null", b"[]", b"{}", b'"', b"\xff", b"1e999", b"NaN"))
    return bytes(out)


def _functions(module: ModuleType) -> list[FunctionType]:
    """Those written in a module, methods of its classes among them."""
    spaces: list[dict[str, Any]] = [dict(vars(module))]
    spaces += [dict(vars(one)) for one in vars(module).values() if isinstance(one, type)]
    every = [getattr(one, "__func__", one) for space in spaces for one in space.values()]
    return [one for one in every if isinstance(one, FunctionType) and one.__module__ == module.__name__]


def main(target: str, seconds: float) -> None:
    """Search for so long."""
    end = time.monotonic() + seconds
    try:
        import atheris
    except ImportError:
        draw, whole, count = random.Random(0), seeds(target), 0
        while time.monotonic() < end:
            tried(target, broken(draw.choice(whole), draw))
            count += 1
        sys.stdout.write(f"{target}: {count} files, none broke it\n")
        return
    folder = CRASHES.parent / "seeds" / target
    found = Path(tempfile.mkdtemp())
    for module in MODULES[target]:
        for function in _functions(module):
            atheris.instrument_func(function)
    limits = [f"-max_total_time={int(seconds)}", "-max_len=20000", "-rss_limit_mb=3000"]
    atheris.Setup(
        [sys.argv[0], str(found), str(folder), *limits],
        lambda data: tried(target, data),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
