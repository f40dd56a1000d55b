"""Files: never half written, never over another one unless told, never outside the folder that was named."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from pellucid.core.errors import FileExists, InputError, ParameterError

LONGEST = 128


def write_bytes(path: Path, content: bytes, overwrite: bool = False) -> Path:
    """Write a file at once: it appears complete or not at all.

    Raises FileExists if something is there and `overwrite` is False, InputError if its folder does not exist.
    """
    refuse_existing([path], overwrite)
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist", do="make it first")
    beside = path.with_name(f".{path.name[:80]}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        if overwrite:
            os.replace(beside, path)
        else:
            _link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def page_at(path: str | Path) -> Path:
    """Where a page is written. Raises ParameterError for the ending of another kind of file."""
    where = Path(path)
    if where.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(
            f"a report as {where.name!r}", "a name that ends in .html", "panel(...).save for a picture"
        )
    return where


def _link(beside: Path, path: Path) -> None:
    """Give a finished file its name, unless somebody took the name meanwhile."""
    try:
        os.link(beside, path)
    except FileExistsError as taken:
        raise _in_the_way(path) from taken
    except OSError:  # a file system without hard links
        with path.open("xb") as out:
            out.write(beside.read_bytes())


def refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Raises FileExists for the first path that is taken (a dangling link counts), unless told to overwrite."""
    taken = [p for p in paths if p.exists() or p.is_symlink()]
    if taken and not overwrite:
        raise _in_the_way(taken[0])


def _in_the_way(path: Path) -> FileExists:
    return FileExists(f"{path} exists already", do="choose another name, or overwrite=True")


def safe_name(*parts: str, suffix: str = "") -> str:
    """A file name of the given parts that matches `^[A-Za-z0-9._-]{1,128}$` and is no path, no hidden file.

    Parts are joined by `--`; runs of other characters become one `-`. A name that would be too long is cut, and
    carries a digest of what was cut away.
    """
    clean = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-._") or "unnamed" for part in parts]
    name = "--".join(clean)
    room = LONGEST - len(suffix)
    if len(name) > room:
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        name = f"{name[: room - 13]}-{digest}"
    return name + suffix


def unlike(names: list[str], suffix: str) -> list[str]:
    """The same names with `-2`, `-3` ... where one would come again (letter case aside, as some file systems do)."""
    taken: set[str] = set()
    out: list[str] = []
    for name in names:
        stem, count, fresh = name.removesuffix(suffix), 1, name
        while fresh.lower() in taken:
            count += 1
            tail = f"-{count}{suffix}"
            fresh = stem[: LONGEST - len(tail)] + tail
        taken.add(fresh.lower())
        out.append(fresh)
    return out


def make_folder(folder: Path) -> None:
    """Make a folder with those above it. Raises InputError if a file has its name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as taken:
        raise InputError(f"{folder} cannot be a folder: a file has that name", do="choose another folder") from taken
