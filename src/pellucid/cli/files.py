"""What is written, and where: judged before anything is computed, written once it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pellucid.core.errors import FileExists, InputError

if TYPE_CHECKING:
    from pellucid.core.explanation import Explanation

PANEL, REPORT, STORE, MAPS = "panel.png", "report.html", "explanations.safetensors", "maps"
SINGLE = (".png", ".svg", ".html", ".safetensors")
OTHERS = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".pdf", ".htm", ".json", ".pt", ".pth", ".npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A folder or one file to write to, found free."""

    path: Path
    single: bool
    overwrite: bool = False


def goal(given: str | None, overwrite: bool = False) -> Goal | None:
    """Where to write, or None for nowhere.

    given  a name that ends in .png, .svg, .html or .safetensors is one file, any other a folder
    Raises FileExists when something is in the way and overwriting was not asked for, InputError when nothing can be
    written there, UsageError for --overwrite without a place and for files of formats that are not written.
    """
    if given is None:
        if overwrite:
            raise click.UsageError("--overwrite without --output-dir: there is nothing to write.")
        return None
    path = Path(given).expanduser()
    if path.suffix.lower() in OTHERS and not path.is_dir():
        raise click.UsageError(f"-o {given}: a folder, or a file that ends in {', '.join(SINGLE)}.")
    single = path.suffix.lower() in SINGLE and not path.is_dir()
    for taken in [path] if single else [path / name for name in (PANEL, REPORT, STORE, MAPS)]:
        if (taken.exists() or taken.is_symlink()) and not overwrite:
            raise FileExists(f"{taken} is in the way", do="choose another place with -o, or give --overwrite")
    _writable(path.parent if single else path)
    return Goal(path=path, single=single, overwrite=overwrite)


def free(given: str | None, names: Sequence[str], endings: Sequence[str], overwrite: bool = False) -> tuple[Path, ...]:
    """The files that will be written: one, or these names in a folder; none for nowhere.

    Raises FileExists for what is in the way, InputError where nothing can be written, before anything is computed.
    """
    if given is None:
        if overwrite:
            raise click.UsageError("--overwrite without --output-dir: there is nothing to write.")
        return ()
    path = Path(given).expanduser()
    single = path.suffix.lower() in endings and not path.is_dir()
    files = (path,) if single else tuple(path / name for name in names)
    for taken in files:
        if (taken.exists() or taken.is_symlink()) and not overwrite:
            raise FileExists(f"{taken} is in the way", do="choose another place with -o, or give --overwrite")
    _writable(path.parent if single else path)
    return files


def _writable(folder: Path) -> None:
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists() or p.is_symlink())
    if not above.is_dir():
        raise FileExists(f"{above} is a file", "a folder to write to", "choose another place with -o")
    if not os.access(above, os.W_OK):
        raise InputError(f"{above} may not be written to", "a folder of your own", "choose another place with -o")


def write(
    explanations: Sequence[Explanation], to: Goal, columns: Literal["methods", "models"] = "methods"
) -> list[Path]:
    """Write the one file, or panel, report, numbers and maps into the folder; gives what was written."""
    if to.single:
        to.path.parent.mkdir(parents=True, exist_ok=True)
        return [write_one(explanations, to.path, to.overwrite, columns)]
    from pellucid.views import save_maps

    to.path.mkdir(parents=True, exist_ok=True)
    written = [write_one(explanations, to.path / name, to.overwrite, columns) for name in (STORE, PANEL, REPORT)]
    return written + save_maps(explanations, to.path / MAPS, to.overwrite)


def write_one(
    explanations: Sequence[Explanation],
    path: Path,
    overwrite: bool = False,
    columns: Literal["methods", "models"] = "methods",
) -> Path:
    """Write numbers, report or panel, by the ending of the name."""
    ending = path.suffix.lower()
    if ending == ".safetensors":
        from pellucid.core import store

        return store.save(explanations, path, overwrite=overwrite)
    if ending == ".html":
        from pellucid.views.report import write_report

        return write_report(explanations, path, overwrite=overwrite)
    from pellucid.views import panel

    return panel(explanations, columns=columns).save(path, overwrite=overwrite)
