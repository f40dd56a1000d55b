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
from pathlib import Path
from types import FunctionType

from pellucid import images
from pellucid.core import measurements as core_measurements
from pellucid.core import store
from pellucid.core.errors import PellucidError
from pellucid.core.measurements import Measurements
from pellucid.images import decode

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


TARGETS: dict[str, Callable[[bytes], None]] = {f.__name__: f for f in (explanations, index, measurements, pictures)}


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
    for module in (store, decode) if target != "measurements" else (core_measurements,):
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    atheris.Setup(
        [sys.argv[0], str(found), str(folder), f"-max_total_time={int(seconds)}", "-max_len=20000"],
        lambda data: tried(target, data),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
