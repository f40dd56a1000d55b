"""Every map as its own PNG file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pellucid.core.explanation import TOKEN, Explanation, listed
from pellucid.views.columns import columns
from pellucid.views.drawing import draw
from pellucid.views.grid import variants
from pellucid.views.look import Look
from pellucid.views.tokens import tokens
from pellucid.views.words import is_row
from pellucid.views.write import make_folder, refuse_existing, safe_name, unlike, write_bytes


def save_maps(
    explanations: Explanation | Iterable[Explanation],
    folder: str | Path,
    overwrite: bool = False,
    *,
    look: Look | str | None = None,
) -> list[Path]:
    """Write one PNG per image, method and target; gives their paths in the order of the explanations.

    folder     made if it does not exist. Nothing is written outside it, whatever images and classes are called.
    overwrite  whether files of the same names may be replaced.
    look       how to draw; None draws each by its kind.
    Raises FileExists before anything is written if a file is in the way and `overwrite` is False.
    """
    them = listed(explanations)
    paths = [Path(folder) / name for name in map_names(them)]
    refuse_existing(paths, overwrite)
    make_folder(Path(folder))
    rows = (row for e in them for row in e)
    return [write_bytes(path, _png(row, look), overwrite) for path, row in zip(paths, rows, strict=True)]


def _png(row: Explanation, look: Look | str | None) -> bytes:
    drawing = tokens if TOKEN in row.dims else columns if is_row(row) else draw
    return drawing(row, look)[0].png()


def map_names(explanations: Iterable[Explanation]) -> list[str]:
    """A file name for every row: image, method and target, and the model if there are several. No two are the same."""
    them = list(explanations)
    several = len({e.record.model.name for e in them}) > 1
    names = [
        safe_name(*((e.record.model.name,) if several else ()), image, variant, target, suffix=".png")
        for e, variant in zip(them, variants(them, lambda e: e.record.method), strict=True)
        for image, target in zip(e.inputs.name, e.target.name, strict=True)
    ]
    return unlike(names, ".png")
